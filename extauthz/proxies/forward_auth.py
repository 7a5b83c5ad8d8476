"""What the configurations of Traefik, Caddy and nginx are written from, checked; and what their templates see.

These three ask over HTTP and differ in syntax, hardly in what there is to say: so the settings are one class, and each
proxy's own module adds what is only its own. Nothing is written here.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import jinja2

from extauthz.core.address import Address, Network, parse_entry
from extauthz.proxies import values

STAMPED_HEADERS: Final = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
"""The headers that extauthz sets on every request it allows, where its configuration does not rename them."""

CLIENTS_WORD: Final = values.CLIENTS_WORD
"""Headers that say where a request comes from or was meant for, and that nobody in front has to say: X-Forwarded-For
names the client, and the Host is the host."""

Dialect = Literal["traefik", "caddy", "nginx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a configuration for one gateway is written from.

    Who the user is, is said either by a proxy in front (`fronts`; in extauthz `peer: source`), or by a step of this
    proxy before extauthz is asked (`authenticate`; `peer: caller`).

    Raises:
        ValueError: a value is not what its setting takes; the message names the setting and the value.
    """

    SAID: ClassVar[frozenset[str]] = frozenset({"x-forwarded-method", "x-forwarded-uri", "x-forwarded-host"})
    """What this proxy itself says to extauthz of a request."""

    gateway: str
    """The gateway's id in extauthz's configuration."""
    upstream: str
    """The Gateway, as `host:port`."""
    user_header: str
    """The gateway's `userHeader`: in it the user is named to extauthz, and then, verified, to the Gateway."""
    extauthz: tuple[str, ...] = ("127.0.0.1:9192",)
    """Where extauthz's HTTP doors are, as `host:port`: one entry for each of its processes."""
    listen: str = "127.0.0.1:8080"
    """Where the proxy listens."""
    headers: tuple[str, ...] = STAMPED_HEADERS
    """The names that extauthz stamps, as in its own `headers` setting."""
    fronts: tuple[str, ...] = ()
    """Addresses and ranges of the proxies in front. Only what they say in X-Forwarded-For and -Proto is kept."""
    passed: tuple[str, ...] = ()
    """Headers that the proxy in front says and extauthz requires. Those that would be removed with the client's word
    are not, but for what this proxy itself says to extauthz."""
    authenticate: str | None = None
    """The URL of a service that authenticates, asked before extauthz: 2xx with the user in `user_header`, or a refusal.
    None: the header comes from a proxy in front."""
    authenticated_headers: tuple[str, ...] = ()
    """Further headers that this service answers with, such as those in `requiredHeaders`; a client's are replaced."""
    sign_in: str | None = None
    """A path such as `/oauth2/` below which that service answers the browser itself, and nobody else is asked."""
    timeout: float = 2.0
    """Seconds that extauthz may take to answer; 0.1 to 10. When they are over the request is denied."""
    idle_timeout: float = 300.0
    """Seconds a connection, a request or a WebSocket may be silent before it is ended; 1 to 86400."""

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        view(self)

    @property
    def authenticates(self) -> bool:
        """Whether a step of this proxy says who the user is."""
        return self.authenticate is not None


def view(settings: Settings) -> dict[str, object]:
    """Return what every template sees: only values that were checked, and only plain ones.

    Raises:
        ValueError: As `Settings`.
    """
    user = values.plain_header_name(settings.user_header, "user_header")
    stamped = _unique([values.plain_header_name(name, "headers") for name in settings.headers])
    if not stamped:
        raise ValueError("headers: at least one stamped header is wanted")
    further = [values.plain_header_name(name, "authenticated_headers") for name in settings.authenticated_headers]
    if further and not settings.authenticates:
        raise ValueError("authenticated_headers: there is no step that authenticates, and so none that sets them")
    if settings.passed and settings.authenticates:
        raise ValueError("passed: a step of this proxy authenticates, and so nobody in front is to be believed")
    passed = {name.lower() for name in settings.passed} - settings.SAID - {"x-extauthz-peer"}
    doors = [values.host_port(text, "extauthz") for text in settings.extauthz]
    if not doors:
        raise ValueError("extauthz: at least one address is wanted")
    return {
        "gateway": values.gateway_id(settings.gateway, "gateway"),
        "upstream": authority(values.host_port(settings.upstream, "upstream")),
        "doors": _unique([authority(door) for door in doors]),
        "listen": values.listener(settings.listen, "listen"),
        "user": user,
        "stamped": stamped,
        # What the client may not say: the user where a step of this proxy does, and what that step says beside it.
        "authenticated": _unique([user, *further]) if settings.authenticates else [],
        "stripped": [name for name in stamped if name != user],
        # What the Gateway is told, and by extauthz alone.
        "answered": _unique([user, *stamped]),
        "clients_word": [name for name in CLIENTS_WORD if name not in passed],
        "fronts": _unique([_range(text) for text in settings.fronts]),
        "authenticate": _authenticator(settings),
        "sign_in": _sign_in(settings),
        "timeout": values.within(settings.timeout, 0.1, 10, "timeout"),
        "idle_timeout": round(values.within(settings.idle_timeout, 1, 86_400, "idle_timeout")),
    }


def authority(where: values.HostPort) -> str:
    """Return host:port as URLs have it: IPv6 in brackets."""
    return f"[{where.host}]:{where.port}" if ":" in where.host else f"{where.host}:{where.port}"


def template(name: str, written: Callable[[object], str]) -> jinja2.Template:
    """Return a template of this package; `written` says how each value stands in its text."""
    return _template(name, written)


@functools.cache
def _template(name: str, written: Callable[[object], str]) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("extauthz.proxies", package_path=""),
        undefined=jinja2.StrictUndefined,
        finalize=written,
        autoescape=False,  # noqa: S701 - this is no HTML; `written` is what keeps values values
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _authenticator(settings: Settings) -> dict[str, str] | None:
    if settings.authenticate is None:
        return None
    where, path = values.http_url(settings.authenticate, "authenticate")
    return {"address": authority(where), "path": path}


def _sign_in(settings: Settings) -> str | None:
    if settings.sign_in is None:
        return None
    if settings.authenticate is None:
        raise ValueError("sign_in: there is no service that authenticates, and so none that signs anyone in")
    path = values.url_path(settings.sign_in, "sign_in")
    if len(path) < 3 or not path.endswith("/"):
        raise ValueError(f"sign_in: {settings.sign_in!r} is refused, wanted a path such as /oauth2/")
    return path


def front(text: str) -> str:
    """Return an address or a range as the proxies write ranges; it is read as `trustedProxies` is.

    Raises:
        ValueError: It is neither, has a zone, or is everybody.
    """
    entry = parse_entry(text)
    if "%" in text:
        raise ValueError(f"{text!r} is refused, wanted an address without a zone: no proxy's configuration has zones")
    if isinstance(entry, Address):
        entry = Network(entry.version, entry.number, 32 if entry.version == 4 else 128)
    if entry.prefix == 0:
        raise ValueError(f"{text!r} is refused, wanted the proxies in front; this is everybody")
    return str(entry)


def _range(text: str) -> str:
    try:
        return front(text)
    except ValueError as error:
        raise ValueError(f"fronts: {error}") from None


def _unique(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))
