"""The kinds of value a configuration has, each with the check that says what is wanted.

A check raises ValueError with a text that continues "path: ...". Nothing here knows where a value stands.
"""

import re
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator, Field

from extauthz.config.peer_names import check_proxy_entry, check_server, refuse_name
from extauthz.core.address import parse_address, parse_entry
from extauthz.core.origin import parse_configured_origin
from extauthz.core.principals import check_entry
from extauthz.core.text import fold, has_control, trim
from extauthz.refusals import RateLimit

UNIX: Final = "unix"
UNIX_PREFIX: Final = "unix:"

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_LABEL: Final = re.compile(r"[a-z0-9-]{1,63}")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_DURATION: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour)")
_RATE_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600}
_ENDPOINT: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_HIGHEST_PORT: Final = 65_535
# sun_path of unix(7) has 108 bytes with the one that ends it.
LONGEST_SOCKET_PATH_BYTES: Final = 107

# Names that an answer must never set: they steer the proxy or frame the message instead of naming a user.
NEVER_SET: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
NEVER_SET_PREFIX: Final = "x-envoy-"

# A required header's name is sent as part of a reason, and Envoy takes no value over 16 KiB: far below that.
LONGEST_HEADER_NAME_CHARACTERS: Final = 256


def check_header_name(name: str) -> str:
    """Check a name under which a header is sent to the Gateway."""
    trimmed = trim(name)
    _check_length(name)
    if not _TOKEN.fullmatch(trimmed):
        raise ValueError(f"{name!r} is no header name: letters, digits and - are wanted (RFC 9110)")
    if fold(trimmed) in NEVER_SET or fold(trimmed).startswith(NEVER_SET_PREFIX):
        raise ValueError(f"{name!r} steers the proxy or the connection and is never set: choose a name of your own")
    return name


def _check_length(name: str) -> None:
    if len(name) > LONGEST_HEADER_NAME_CHARACTERS:
        raise ValueError(
            f"{name[:40]!r}... has {len(name)} characters: a header name has {LONGEST_HEADER_NAME_CHARACTERS} at most"
        )


def _check_user_header(name: str) -> str:
    # A blank one loads and denies, as the rules say; it is reported as an incomplete gateway.
    return name if not trim(name) else check_header_name(name)


def _check_required_header(name: str) -> str:
    _check_length(name)
    if has_control(name):
        raise ValueError(f"{name!r} holds a control character: no header has such a name")
    return name


def _check_address_or_unix(entry: str) -> str:
    if entry != UNIX:
        refuse_name(entry)
        parse_entry(entry)
    return entry


def _check_address(entry: str) -> str:
    refuse_name(entry)
    if parse_address(entry) is None:
        raise ValueError(f"{entry!r} is no IP address: write one address, without a prefix length, or use `auto`")
    return entry


def _check_origin(entry: str) -> str:
    if trim(entry) != "*":
        parse_configured_origin(entry)
    return entry


def _check_host(host: str) -> str:
    name = fold(host)
    bracketed = name.startswith("[") and name.endswith("]") and parse_address(name) is not None
    if not bracketed and not _HOST.fullmatch(name):
        raise ValueError(
            f"{host!r} is no host: write a name such as gateway.example.com, or *.example.com for all below it, "
            "without scheme, port or path"
        )
    return host


def _check_host_name(host: str) -> str:
    if host.startswith("*"):
        raise ValueError(f"{host!r} is a wildcard: write out each name under which the address is reached")
    return _check_host(host)


def _check_gateway_id(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError(f"{name!r} is no gateway id: use a-z, 0-9 and -, at most 63 characters")
    return name


def _check_principal(name: str) -> str:
    if not trim(name) or has_control(name):
        raise ValueError(
            f"{name!r} is no principal: write a SAN of the client certificate, e.g. spiffe://cluster/proxy"
        )
    return name


def _check_path(name: str) -> str:
    if has_control(name):
        raise ValueError(f"{name!r} holds a control character: no file of a configuration has such a name")
    return name


# Longer than any issuer, audience or claim's name; the longest known are ARNs and URLs.
LONGEST_ASSERTION_TEXT_CHARACTERS: Final = 512


def _check_assertion_text(text: str) -> str:
    if not trim(text) or text != trim(text) or has_control(text):
        raise ValueError(f"{text[:80]!r} is blank, has white space around it, or holds a control character")
    if len(text) > LONGEST_ASSERTION_TEXT_CHARACTERS:
        raise ValueError(f"has {len(text)} characters: {LONGEST_ASSERTION_TEXT_CHARACTERS} at most")
    return text


def _check_jwks(location: str) -> str:
    """Check where keys are fetched, by what fetches them."""
    from extauthz.assertion.location import check_location  # noqa: PLC0415 - of no interest without an assertion

    check_location(_check_path(location))
    return location


def _check_duration(text: str) -> str:
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration: write a whole number and a unit (ms, s, m, h, d), e.g. 60s")
    return text


def seconds(duration: str) -> float:
    """Return a checked duration in seconds."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration")
    return int(found[1]) * _SECONDS[found[2]]


class Endpoint(NamedTuple):
    """An address to listen on.

    Attributes:
        host: An IP address or a name; "" for a unix socket.
        port: The port; 0 lets the system choose one.
        path: The unix socket's path; "" for TCP.
    """

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read host:port, [v6]:port or unix:/path.

        Raises:
            ValueError: Saying what is wanted.
        """
        if text.startswith(UNIX_PREFIX):
            path = text.removeprefix(UNIX_PREFIX)
            if len(path.encode()) > LONGEST_SOCKET_PATH_BYTES:
                raise ValueError(f"{text!r}: the path of a unix socket has {LONGEST_SOCKET_PATH_BYTES} bytes at most")
            if not path.startswith("/") or "\0" in path:
                raise ValueError(
                    f"{text!r}: the path of a unix socket starts with /, e.g. unix:/run/extauthz/grpc.sock"
                )
            return cls("", 0, path)
        found = _ENDPOINT.fullmatch(text)
        if found is None or int(found["port"]) > _HIGHEST_PORT:
            raise ValueError(f"{text!r} is no address to listen on: write host:port, [v6]:port or unix:/path")
        host = found["host"]
        if host.startswith("["):
            if parse_address(host) is None:
                raise ValueError(f"{text!r}: {host} is no IPv6 address")
            host = host[1:-1]
        return cls(host, int(found["port"]), "")

    @property
    def is_local(self) -> bool:
        """Only this host can reach it: a unix socket or a loopback address."""
        if self.path or self.host == "localhost":
            return True
        address = parse_address(self.host)
        return address is not None and address.loopback

    def __str__(self) -> str:
        if self.path:
            return UNIX_PREFIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _check_endpoint(text: str) -> str:
    Endpoint.parse(text)
    return text


def _check_rate(text: str) -> str:
    rate_limit(text)
    return text


def rate_limit(text: str) -> RateLimit:
    """Read a rate such as 20/minute.

    Raises:
        ValueError: Saying what is wanted.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no rate: write a whole number and a unit (second, minute, hour), e.g. 20/minute")
    return RateLimit(int(found[1]), _RATE_SECONDS[found[2]])


AssertionText = Annotated[str, AfterValidator(_check_assertion_text)]
JwksLocation = Annotated[str, AfterValidator(_check_jwks), Field(min_length=1)]
HeaderName = Annotated[str, AfterValidator(check_header_name)]
UserHeader = Annotated[str, AfterValidator(_check_user_header)]
RequiredHeader = Annotated[str, AfterValidator(_check_required_header)]
ProxyEntry = Annotated[str, AfterValidator(check_proxy_entry)]
DnsServer = Annotated[str, AfterValidator(check_server)]
AddressOrUnix = Annotated[str, AfterValidator(_check_address_or_unix)]
ExactAddress = Annotated[str, AfterValidator(_check_address)]
OriginEntry = Annotated[str, AfterValidator(_check_origin)]
Host = Annotated[str, AfterValidator(_check_host)]
HostName = Annotated[str, AfterValidator(_check_host_name)]
GatewayId = Annotated[str, AfterValidator(_check_gateway_id)]
FileName = Annotated[str, AfterValidator(_check_path), Field(min_length=1)]
Principal = Annotated[str, AfterValidator(_check_principal)]
TrustedPrincipal = Annotated[str, AfterValidator(check_entry)]
Duration = Annotated[
    str, AfterValidator(_check_duration), Field(json_schema_extra={"pattern": r"^\d{1,9}(ms|s|m|h|d)$"})
]
RateText = Annotated[
    str, AfterValidator(_check_rate), Field(json_schema_extra={"pattern": r"^[1-9][0-9]{0,5}/(second|minute|hour)$"})
]
ListenAddress = Annotated[str, AfterValidator(_check_endpoint)]
