"""What may be written into a proxy's configuration: addresses, host names, header names, durations. Checks only.

A configuration is text, and a value with syntax of its own in it could become configuration. So every value is of a
narrow grammar before it is written, and what is not is refused with a ValueError that names the setting and the value.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ELSEWHERE: Final = (
    "x-forwarded-method",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
)
"""Headers that some Gateways take for the path or method that was meant: what is decided about is the request line."""

CLIENTS_WORD: Final = (
    *ELSEWHERE,
    "forwarded",
    "x-extauthz-peer",
    "x-forwarded-client-cert",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-real-ip",
)
"""These, and headers that say where a request comes from."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"[0-9.]+")
_GATEWAY = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLAIN_TOKEN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_PATH = re.compile(r"[^\x00-\x1f\x7f]+")
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+")
_URL_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
_MAX_NAME = 253  # RFC 1035
_MAX_SOCKET_PATH = 107  # Linux: 108 bytes with the closing zero
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address to listen on or to connect to."""

    host: str
    """An IPv4 or IPv6 address without brackets, or a host name."""
    port: int

    @property
    def is_address(self) -> bool:
        """Whether `host` is an address, not a name that must be resolved."""
        return _address(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        """Whether `host` is an address of this machine alone."""
        found = _address(self.host)
        return found is not None and found.is_loopback


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A unix domain socket, by its absolute path."""

    path: str


def host_port(value: str, setting: str) -> HostPort:
    """Read `host:port` or `[IPv6]:port`.

    Raises:
        ValueError: it is neither, or the port is not between 1 and 65535.
    """
    host, colon, digits = value.rpartition(":")
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= len(str(_MAX_PORT)) else 0
    if not colon or not 1 <= port <= _MAX_PORT:
        raise _refused(setting, value, "host:port or [IPv6]:port with a port between 1 and 65535")
    if host.startswith("[") and host.endswith("]"):
        bare = host[1:-1]
        if isinstance(_address(bare), ipaddress.IPv6Address):
            return HostPort(bare, port)
    elif isinstance(_address(host), ipaddress.IPv4Address) or _is_name(host):
        return HostPort(host.lower(), port)
    raise _refused(setting, value, "host:port or [IPv6]:port; the host is an address without a zone, or a host name")


def listener(value: str, setting: str) -> HostPort:
    """Read the `address:port` that a server listens on; the address is no name, so that nothing is left to a resolver.

    Raises:
        ValueError: it is not of that form.
    """
    found = host_port(value, setting)
    if not found.is_address:
        raise _refused(setting, value, "an address to listen on, such as 127.0.0.1:8080 or [::]:8080, not a name")
    return found


def endpoint(value: str, setting: str) -> HostPort | UnixSocket:
    """Read `host:port`, `[IPv6]:port` or `unix:/absolute/path`.

    Raises:
        ValueError: it is none of them, or the path is longer than a unix socket's may be.
    """
    if not value.startswith("unix:"):
        return host_port(value, setting)
    path = value.removeprefix("unix:")
    if not path.startswith("/") or not _PATH.fullmatch(path) or len(path.encode()) > _MAX_SOCKET_PATH:
        raise _refused(setting, value, f"unix: and an absolute path of at most {_MAX_SOCKET_PATH} bytes")
    return UnixSocket(path)


def domain(value: str, setting: str) -> str:
    """Return a host name, an address, `*.` and a name, or `*` alone, in lower case. It has no port: ports are ignored.

    Raises:
        ValueError: it is none of them.
    """
    bare = value.removeprefix("*.")
    if value == "*" or _is_name(bare):
        return value.lower()
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else ""
    if isinstance(_address(value), ipaddress.IPv4Address) or isinstance(_address(inner), ipaddress.IPv6Address):
        return value.lower()
    raise _refused(setting, value, "a host name without a port, *.name, or * alone")


def gateway_id(value: str, setting: str) -> str:
    """Return the id of a gateway: a DNS label in lower case.

    Raises:
        ValueError: it is not one.
    """
    if not _GATEWAY.fullmatch(value):
        raise _refused(setting, value, "a DNS label: a-z, 0-9 and -, at most 63")
    return value


def header_name(value: str, setting: str) -> str:
    """Return the name of a header that may be set by an authorizer, in lower case.

    Raises:
        ValueError: it is no header name, or a header by which proxies route, frame or trust.
    """
    name = value.strip().lower()
    if not _TOKEN.fullmatch(name):
        raise _refused(setting, value, "a header name")
    if name in _NOT_OURS or name.startswith("x-envoy-"):
        raise _refused(setting, value, "a header that says who the user is; this one steers proxies")
    return name


def plain_header_name(value: str, setting: str) -> str:
    """Return the name of a header that may be set by an authorizer, in lower case, of letters, digits and `-` only.

    Other signs are dropped by nginx, and are an alias of this name to what stands behind other proxies.

    Raises:
        ValueError: it is no such name, or a header by which proxies route, frame or trust.
    """
    name = header_name(value, setting)
    if not _PLAIN_TOKEN.fullmatch(name) or name in _OF_PROXIES:
        raise _refused(setting, value, "a header of letters, digits and - that says who the user is")
    return name


def network(value: str, setting: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read an address or a range in CIDR form; bits of the host part are dropped.

    Raises:
        ValueError: it is neither.
    """
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise _refused(setting, value, "an address or a range such as 10.0.0.0/24") from None


def file_path(value: str, setting: str) -> str:
    """Return the path of a file. Whether it exists is known only where the configuration will be used.

    Raises:
        ValueError: it is empty or has a control character.
    """
    if not _PATH.fullmatch(value):
        raise _refused(setting, value, "the path of a file")
    return value


def plain_path(value: str, setting: str) -> str:
    """Return the absolute path of a file, of signs that mean nothing in any configuration.

    Raises:
        ValueError: it has other signs, or is not absolute.
    """
    if not _PLAIN_PATH.fullmatch(value):
        raise _refused(setting, value, "an absolute path of letters, digits and ._+@-")
    return value


def url_path(value: str, setting: str) -> str:
    """Return the path of a URL, without a query, percent signs or segments that begin with a dot.

    Raises:
        ValueError: it is not one.
    """
    if not value.startswith("/") or not _URL_PATH.fullmatch(value):
        raise _refused(setting, value, "a path such as /oauth2/auth")
    return value


def http_url(value: str, setting: str) -> tuple[HostPort, str]:
    """Read `http://host:port/path`; the port and the path may be left out.

    Raises:
        ValueError: it is not of that form.
    """
    scheme, _, rest = value.partition("://")
    where, slash, path = rest.partition("/")
    if scheme != "http":
        raise _refused(setting, value, "http://host:port/path")
    if ":" not in where.rpartition("]")[2]:
        where += ":80"
    return host_port(where, setting), url_path(slash + path or "/", setting)


def one_of(value: str, words: Mapping[str, str], setting: str) -> str:
    """Return what a setting's word is called in the proxy's configuration.

    Raises:
        ValueError: it is none of the words.
    """
    if value not in words:
        raise _refused(setting, value, " or ".join(words))
    return words[value]


def within(value: float, low: float, high: float, setting: str) -> float:
    """Return a number of seconds, connections or the like that lies between two bounds, both included.

    Raises:
        ValueError: it does not, or is no number.
    """
    if not low <= value <= high:  # NaN too
        raise _refused(setting, value, f"between {low:g} and {high:g}")
    return value


# Set by an authorizer's answer, each of these would change where a request goes, how long it is, or what Envoy does.
_NOT_OURS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# Proxies write these anew for each request, or for each question to an authorizer, and remove the others' copies.
_OF_PROXIES = frozenset(
    {
        "authorization",
        "cookie",
        "x-forwarded-for",
        "x-forwarded-proto",
        *CLIENTS_WORD,
    }
)


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in value:  # a zone names an interface of one machine
        return None
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def _is_name(value: str) -> bool:
    # All digits and dots would be an address written wrongly (10.0.0.256), which some resolver may well understand.
    return len(value) <= _MAX_NAME and bool(_NAME.fullmatch(value)) and not _NUMERIC.fullmatch(value)


def _refused(setting: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{setting}: {value!r} is refused, wanted {wanted}")
