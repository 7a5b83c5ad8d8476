"""Where a probe is sent: a URL, or the host and port of a Gateway, checked. Text only; nothing is resolved here."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from extauthz.proxies import values

_PORTS: Final = {"http": 80, "https": 443}
_TARGET: Final = re.compile(r"/[!-~]*")
_MAX_TARGET: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address, and what is asked of it."""

    scheme: str
    """`http` or `https`."""
    host: str
    """An address without brackets, or a host name."""
    port: int
    authority: str
    """What goes into Host."""
    path: str = "/"
    """The path and query."""

    @property
    def tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine alone."""
        return self.host == "localhost" or values.HostPort(self.host, self.port).is_loopback

    def __str__(self) -> str:
        """Return the URL without its query, which may be a secret."""
        return f"{self.scheme}://{self.authority}{self.path.partition('?')[0]}"


def parse_url(url: str) -> Target:
    """Read the URL of a deployment.

    Raises:
        ValueError: it is no http:// or https:// URL, has a user or a fragment in it, or a path that cannot be sent.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it cannot be read; wanted is https://host[:port]/path") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("wanted is https://host[:port]/path, or http:// of this host")
    if "@" in parts.netloc or "#" in url:
        raise ValueError("a user, a password or a #fragment has no place in it: sign in with --header-file")
    port = _PORTS[parts.scheme] if port is None else port
    path = parse_path((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    bracketed = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = values.host_port(f"{bracketed}:{port}", "its host")
    authority = bracketed if port == _PORTS[parts.scheme] else f"{bracketed}:{port}"
    return Target(scheme=parts.scheme, host=where.host, port=where.port, authority=authority, path=path)


def parse_path(path: str) -> str:
    """Return a path and query that can be sent as they are.

    Raises:
        ValueError: it cannot.
    """
    if not _TARGET.fullmatch(path) or len(path) > _MAX_TARGET:
        raise ValueError(f"a path begins with /, is percent-encoded, and has {_MAX_TARGET} signs at most")
    return path


def parse_gateway(address: str, front: Target) -> Target:
    """Read the `host:port` of a Gateway, which is asked by plain HTTP for what the deployment is asked for.

    Raises:
        ValueError: it is not of that form.
    """
    where = values.host_port(address, "it")
    return Target(scheme="http", host=where.host, port=where.port, authority=front.authority, path=front.path)
