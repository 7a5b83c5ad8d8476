"""Envoy's configuration from settings: one static file, complete and hardened, with its reasons beside each line.

Only the settings and their checks live here; the text is envoy.yaml.j2. Facts about Envoy were seen on 1.40.
"""

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import jinja2

from extauthz.proxies import values

STAMPED_HEADERS = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
"""The headers that extauthz sets on every request it allows, where its configuration does not rename them."""

ELSEWHERE = values.ELSEWHERE
"""Headers that some Gateways take for the path or method that was meant: what is decided about is the request line."""

EVERY_DOMAIN = "*"
"""The domain of a route that takes every host no other route names."""

PEER_HEADER = "x-extauthz-peer"
"""In it Envoy tells the HTTP door whose connection it received."""

# What a client gets of a denial over HTTP; Envoy adds Location, which none has, to any list.
_DENIAL_HEADERS = (
    "x-authz-reason",
    "x-authz-decision",
    "www-authenticate",
    "cache-control",
    "content-type",
    "retry-after",
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
)

# The paths of the doors. No gateway is called "-": who is not told which gateway is asked for, asks for none.
_DOOR = "/forward-auth/envoy/"
_NO_DOOR = "/forward-auth/envoy/-"

_UNDERSCORES = {"reject": "REJECT_REQUEST", "allow": "ALLOW"}
_ESCAPED_SLASHES = {"reject": "REJECT_REQUEST", "redirect": "UNESCAPE_AND_REDIRECT", "keep": "KEEP_UNCHANGED"}
_AUTHORITY = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """How clients reach Envoy over TLS."""

    certificate: str
    """File with Envoy's certificate chain, PEM."""
    private_key: str
    """File with its private key, PEM."""
    client_ca: str | None = None
    """File with the authorities of client certificates, PEM; set, a client without such a certificate is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How Envoy reaches extauthz over TLS."""

    ca: str
    """File with the authority of extauthz's certificate, PEM."""
    server_name: str
    """The DNS name that extauthz's certificate must have."""
    certificate: str | None = None
    """File with the certificate that Envoy shows, PEM; its SAN is what extauthz has in `callers.principals`."""
    private_key: str | None = None
    """File with the key of that certificate, PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One Gateway: by which hosts it is reached, what it is called, and where it is."""

    upstream: str
    """The Gateway, as `host:port`."""
    domains: tuple[str, ...] = (EVERY_DOMAIN,)
    """Host names, `*.name` for every name below one, or `*` for every other. Ports are ignored, and case."""
    gateway: str | None = None
    """The gateway's id in extauthz's configuration. None leaves the choice to extauthz, by the client's Host."""
    user_headers: tuple[str, ...] = ()
    """The `userHeader` of this gateway, or of all those that extauthz may choose: it overwrites it with the user."""
    websocket: bool = True
    """Whether WebSocket upgrades are allowed to pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that one configuration is written from.

    Raises:
        ValueError: a value is not what its setting takes; the message names the setting and the value.
    """

    routes: tuple[Route, ...]
    """The Gateways. No domain twice."""
    extauthz: tuple[str, ...]
    """Where extauthz answers, as `host:port` or `unix:/path`: one entry for each of its processes."""
    ask_over: Literal["grpc", "http"] = "grpc"
    """Over HTTP extauthz is told less, at another address; see docs/envoy.md."""
    listen: str = "127.0.0.1:8080"
    """Where Envoy listens."""
    admin: str | None = None
    """Where Envoy's admin interface listens; loopback only, for it asks nobody who they are. None: there is none."""
    headers: tuple[str, ...] = STAMPED_HEADERS
    """The names that extauthz stamps, as in its own `headers` setting, in its order: user, gateway, decision, stamp."""
    timeout: float = 0.5
    """Seconds for one Check, retries included; 0.05 to 10. When they are over the request is denied."""
    encode_raw_headers: bool = True
    """Whether a Check lists each occurrence of a header. False joins them, and extauthz cannot tell two from one."""
    underscores: Literal["reject", "allow"] = "reject"
    """What becomes of a request with `_` in a header's name."""
    escaped_slashes: Literal["reject", "redirect", "keep"] = "reject"
    """What becomes of a path with %2F or %5C: refused, redirected to the plain form, or left as it is."""
    removed: tuple[str, ...] = ELSEWHERE
    """Headers of every request that the Gateway does not get, and extauthz neither."""
    strip_stamped: bool = True
    """Whether the client's own copies of the stamped headers are removed before extauthz is asked."""
    trusted_hops: int = 1
    """How many proxies in front of Envoy may speak of the client in X-Forwarded-For and X-Forwarded-Proto; 0 to 10."""
    proxy_protocol_from: tuple[str, ...] = ()
    """Ranges of balancers that begin each connection with a PROXY protocol line. Empty: there are none."""
    tls: ServerTls | None = None
    """TLS for clients. None: the configuration has it commented out."""
    extauthz_tls: ClientTls | None = None
    """TLS to extauthz. None: the configuration has it commented out."""
    health_interval: float = 2.0
    """Seconds between health checks of an extauthz process; 0.1 to 60. A dead one is asked four times as often."""
    checks_at_once: int = 1000
    """Checks under way at once, for each endpoint; extauthz's own `server.maxConcurrent`."""
    max_connections: int = 10_000
    """Client connections at once, and requests or WebSockets under way to one Gateway."""
    idle_timeout: float = 300.0
    """Seconds a request, a stream or a WebSocket may be silent before it is ended; 1 to 86400."""
    access_log: bool | str = True
    """Whether each request is logged, as JSON on standard output; a file's absolute path writes it there instead."""

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        _view(self)


def render(settings: Settings) -> str:
    """Return the configuration as YAML, ready for `envoy -c`."""
    return _template().render(_view(settings))


def _view(settings: Settings) -> dict[str, object]:
    """What the template sees: only values that were checked, and only plain ones."""
    routes = [_route(route, number) for number, route in enumerate(settings.routes)]
    if not routes:
        raise ValueError("routes: at least one is wanted")
    _refuse_twice(name for route in settings.routes for name in route.domains)
    endpoints = [values.endpoint(text, "extauthz") for text in settings.extauthz]
    timeout = values.within(settings.timeout, 0.05, 10, "timeout")
    health = values.within(settings.health_interval, 0.1, 60, "health_interval")
    checks = values.within(settings.checks_at_once, 1, 100_000, "checks_at_once")
    return {
        "listen": values.listener(settings.listen, "listen"),
        "admin": None if settings.admin is None else _admin(settings.admin),
        "balancers": [_range(text) for text in settings.proxy_protocol_from],
        "trusted_hops": int(values.within(settings.trusted_hops, 0, 10, "trusted_hops")),
        "tls": None if settings.tls is None else _server_tls(settings.tls),
        "extauthz_tls": None if settings.extauthz_tls is None else _client_tls(settings.extauthz_tls),
        "underscores": values.one_of(settings.underscores, _UNDERSCORES, "underscores"),
        "escaped_slashes": values.one_of(settings.escaped_slashes, _ESCAPED_SLASHES, "escaped_slashes"),
        "idle_timeout": _seconds(values.within(settings.idle_timeout, 1, 86_400, "idle_timeout")),
        "max_connections": int(values.within(settings.max_connections, 1, 10_000_000, "max_connections")),
        **_headers(settings),
        **_http(settings),
        "encode_raw_headers": settings.encode_raw_headers,
        "timeout": _seconds(timeout),
        "try_timeout": _seconds(timeout / 2),
        "access_log": settings.access_log is not False,
        "access_log_file": values.plain_path(settings.access_log, "access_log")
        if isinstance(settings.access_log, str)
        else None,
        "authority": _AUTHORITY,
        "routes": routes,
        "endpoints": [
            {"path": one.path} if isinstance(one, values.UnixSocket) else {"host": one.host, "port": one.port}
            for one in endpoints
        ],
        "discovery": _discovery(endpoints),
        "max_checks": int(checks) * len(endpoints),
        "health_interval": _seconds(health),
        "health_retry": _seconds(max(health / 4, 0.1)),
        "health_timeout": _seconds(min(health, 1)),
    }


def _headers(settings: Settings) -> dict[str, object]:
    stamped = _unique(values.header_name(name, "headers") for name in settings.headers)
    if not stamped:
        raise ValueError("headers: at least one stamped header is wanted")
    users = _unique(
        values.header_name(name, "routes.user_headers") for route in settings.routes for name in route.user_headers
    )
    settable = _unique([*stamped, *users])
    if settings.underscores == "reject":
        for name in settable:
            if "_" in name:
                raise ValueError(f"underscores: {name!r} has one, and every request with such a header is refused")
    return {
        "answered": settable,
        "logged": {
            what: {"header": name, "operator": f"%DYNAMIC_METADATA(envoy.filters.http.ext_authz:{name})%"}
            for what, name in [
                *zip(("user", "gateway", "decision"), stamped, strict=False),
                ("reason", "x-authz-reason"),
            ]
        },
        "settable": f"(?:{'|'.join(re.escape(name) for name in settable)})",
        # An identity header comes from the proxy in front and is what is judged: it must arrive.
        "stripped": [name for name in stamped if name not in users] if settings.strip_stamped else [],
        "removed": [name for name in _unique(_names(settings.removed, "removed")) if name not in settable],
    }


def _names(names: Iterable[str], setting: str) -> Iterable[str]:
    return (values.header_name(name, setting) for name in names)


def _http(settings: Settings) -> dict[str, object]:
    over_http = values.one_of(settings.ask_over, {"grpc": "", "http": "http"}, "ask_over") == "http"
    if over_http and settings.proxy_protocol_from:
        raise ValueError(
            "proxy_protocol_from: does not go together with ask_over http. There Envoy can only tell extauthz of the "
            "connection itself, so that the balancer would be the peer of every request; ask over grpc"
        )
    if over_http and settings.extauthz_tls is not None:
        raise ValueError("extauthz_tls: extauthz's HTTP doors have no TLS; ask over grpc, or let it be None")
    for number, route in enumerate(settings.routes):
        if over_http and route.gateway is None:
            raise ValueError(f"routes[{number}].gateway: is wanted with ask_over http, where it is part of the path")
    return {
        "over_http": over_http,
        "no_door": _NO_DOOR,
        "peer_header": PEER_HEADER,
        "denial_headers": _DENIAL_HEADERS,
    }


def _route(route: Route, number: int) -> dict[str, object]:
    where = f"routes[{number}]"
    domains = _unique(values.domain(name, f"{where}.domains") for name in route.domains)
    if not domains:
        raise ValueError(f"{where}.domains: at least one is wanted, or {EVERY_DOMAIN!r}")
    gateway = None if route.gateway is None else values.gateway_id(route.gateway, f"{where}.gateway")
    upstream = values.host_port(route.upstream, f"{where}.upstream")
    return {
        # Numbered, so that two routes to one gateway do not share a name.
        "name": f"gateway_{number}" if gateway is None else f"gateway_{number}_{gateway}",
        "domains": domains,
        "gateway": gateway,
        "door": None if gateway is None else f"{_DOOR}{gateway}",
        "upstream": upstream,
        "discovery": _discovery([upstream]),
        "websocket": route.websocket,
    }


def _admin(text: str) -> values.HostPort:
    found = values.listener(text, "admin")
    if not found.is_loopback:
        raise ValueError(f"admin: {text!r} is refused, wanted a loopback address: whoever reaches it rules Envoy")
    return found


def _discovery(endpoints: list[values.HostPort | values.UnixSocket] | list[values.HostPort]) -> str:
    """How Envoy finds a cluster's endpoints; Envoy has one way for all of a cluster."""
    if not endpoints:
        raise ValueError("extauthz: at least one endpoint is wanted")
    if len(set(endpoints)) != len(endpoints):
        raise ValueError("extauthz: an endpoint is named twice; each process has an address of its own")
    sockets = [one for one in endpoints if isinstance(one, values.UnixSocket)]
    names = [one for one in endpoints if isinstance(one, values.HostPort) and not one.is_address]
    if sockets and names:
        raise ValueError("extauthz: a host name and a unix socket do not go together in Envoy; write the address")
    return "STRICT_DNS" if names else "STATIC"


def _range(text: str) -> dict[str, object]:
    network = values.network(text, "proxy_protocol_from")
    return {"prefix": str(network.network_address), "length": network.prefixlen}


def _server_tls(tls: ServerTls) -> dict[str, str | None]:
    return {
        "certificate": values.file_path(tls.certificate, "tls.certificate"),
        "private_key": values.file_path(tls.private_key, "tls.private_key"),
        "client_ca": None if tls.client_ca is None else values.file_path(tls.client_ca, "tls.client_ca"),
    }


def _client_tls(tls: ClientTls) -> dict[str, str | None]:
    if (tls.certificate is None) != (tls.private_key is None):
        raise ValueError("extauthz_tls: certificate and private_key are wanted together")
    name = values.domain(tls.server_name, "extauthz_tls.server_name")
    if "*" in name:
        raise ValueError(f"extauthz_tls.server_name: {name!r} is refused, wanted one name")
    return {
        "ca": values.file_path(tls.ca, "extauthz_tls.ca"),
        "server_name": name,
        "certificate": tls.certificate and values.file_path(tls.certificate, "extauthz_tls.certificate"),
        "private_key": tls.private_key and values.file_path(tls.private_key, "extauthz_tls.private_key"),
    }


def _refuse_twice(domains: Iterable[str]) -> None:
    for name, times in Counter(name.lower() for name in domains).items():
        if times > 1:
            raise ValueError(f"routes: the domain {name!r} is named twice; which gateway would it be?")


def _seconds(value: float) -> str:
    return f"{value:.3f}s"


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _written(value: object) -> str:
    # JSON's scalars and lists are YAML's too. As every value passes here, none can end a string and begin syntax.
    return json.dumps(value)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("extauthz.proxies", package_path=""),
        undefined=jinja2.StrictUndefined,
        finalize=_written,
        autoescape=False,  # noqa: S701 - this is no HTML; `finalize` writes each value as a JSON scalar instead
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("envoy.yaml.j2")
