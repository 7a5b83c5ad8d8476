"""The Origin of a browser's request: how it is read, and what it is compared with (rules.md, "Step 12")."""

import re
from typing import Final, NamedTuple

from extauthz.core.address import Address, Network, parse_address
from extauthz.core.text import fold, trim

_FORM: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?P<slash>/?)",
    re.ASCII,
)
_DEFAULT_PORT: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_LONGEST_ORIGIN_CHARACTERS: Final = 512
_HIGHEST_PORT: Final = 65_535

# RFC 1918, RFC 3927, RFC 6598 (where Tailscale numbers its hosts), RFC 4193, RFC 4291. Loopback is not among them:
# a page on the visitor's own machine is no sign of being the Gateway's.
_PRIVATE: Final = (
    Network(4, 0x0A000000, 8),
    Network(4, 0xAC100000, 12),
    Network(4, 0xC0A80000, 16),
    Network(4, 0xA9FE0000, 16),
    Network(4, 0x64400000, 10),
    Network(6, 0xFC00 << 112, 7),
    Network(6, 0xFE80 << 112, 10),
)


class Origin(NamedTuple):
    """An origin as compared: lower case, without its scheme's default port (RFC 6454).

    Attributes:
        text: scheme://host[:port].
        host_port: host[:port], to compare with a Host header.
    """

    text: str
    host_port: str


def parse_origin(value: str) -> Origin | None:
    """Read an Origin header or a configured origin; None for what is none: `null`, user info, a path, a list."""
    value = trim(value)
    if len(value) > _LONGEST_ORIGIN_CHARACTERS:
        return None
    found = _FORM.fullmatch(fold(value))
    if found is None:
        return None
    scheme, host, port = found["scheme"], found["host"], found["port"]
    if host.startswith("[") and parse_address(host) is None:
        return None
    if port is not None:
        number = int(port)
        if number > _HIGHEST_PORT:
            return None
        if number != _DEFAULT_PORT.get(scheme):
            host = f"{host}:{number}"
    return Origin(f"{scheme}://{host}", host)


def parse_configured_origin(entry: str) -> str:
    """Read an `allowedOrigins` entry and return it as compared.

    Raises:
        ValueError: The entry is no scheme://host[:port].
    """
    origin = parse_origin(entry)
    if origin is None or trim(entry).endswith("/"):
        raise ValueError(f"{entry!r} is no origin: write scheme://host or scheme://host:port, without a path")
    return origin.text


def is_private_host(host: str) -> bool:
    """Tell whether a Host (lower case, port allowed) is a private IP literal, *.local or *.ts.net."""
    address = parse_address(host_name(host))
    if address is not None:
        return is_private(address)
    return host_name(host).endswith((".local", ".ts.net"))


def is_private(address: Address) -> bool:
    """Tell whether an address is of the private ranges that cannot be reached from the Internet."""
    return any(
        network.version == address.version and network.first <= address.number <= network.last for network in _PRIVATE
    )


def host_name(host: str) -> str:
    """Return a Host header without its port, in lower case; the brackets of an IPv6 literal are kept."""
    host = fold(host)
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
