"""How each finding about one Gateway is found: functions from the view to what was seen, each place in its own text."""

import re
from collections.abc import Iterator
from typing import Final

from extauthz.audit import ranges
from extauthz.audit.finding import quoted
from extauthz.audit.view import GatewayView, Unreadable
from extauthz.core.text import fold, has_control, trim

# Who writes these on every request that it passes on, the client's or not: Envoy, Traefik, Caddy, or all HTTP.
ALWAYS_THERE: Final = {
    "host": "every client",
    "x-forwarded-for": "Envoy, Traefik and Caddy",
    "x-forwarded-host": "Traefik and Caddy",
    "x-forwarded-method": "Traefik and Caddy",
    "x-forwarded-port": "Traefik",
    "x-forwarded-proto": "Envoy, Traefik and Caddy",
    "x-forwarded-server": "Traefik",
    "x-forwarded-uri": "Traefik and Caddy",
    "x-real-ip": "Traefik",
    "x-request-id": "Envoy",
}
# @example.com is a domain; @nick:example.com and @nick are people.
_DOMAIN_FORM: Final = re.compile(r"@[^@:\s]+\.[^@:\s]+")


def delegated(gateway: GatewayView) -> Iterator[str]:
    """Authentication is somebody else's."""
    if not gateway.delegated:
        return
    proxies = [*(str(one.value) for one in gateway.proxies), *(name for _, name in gateway.names)]
    lists = ((proxies, "trustedProxies"), (gateway.principals, "trustedPrincipals"))
    told = [entries[0] if len(entries) == 1 else f"{len(entries)} {key}" for entries, key in lists if entries]
    who = (" with " if gateway.require_all else " or ").join(told) or "nobody yet"
    said = [f"in the header {quoted(gateway.user_header)}"] if gateway.user_header else []
    said += ["by a signed assertion"] if gateway.assertion is not None else []
    how = " and ".join(said) or "in no header yet"
    yield f"{gateway.place}.auth.mode is trusted-proxy: {who} may say who the user is, {how}"


def no_proxies(gateway: GatewayView) -> Iterator[str]:
    """`trustedProxies` is missing or empty."""
    if gateway.delegated and gateway.proxies_missing:
        yield f"{gateway.place}.trustedProxies is empty: every request is denied"


def no_user_header(gateway: GatewayView) -> Iterator[str]:
    """`userHeader` is missing or nothing but white space."""
    if gateway.delegated and not gateway.user_header and gateway.assertion is None:
        yield f"{gateway.rules}.userHeader is not set, or blank: every request is denied"


def no_allowlist(gateway: GatewayView) -> Iterator[str]:
    """`allowUsers` is empty."""
    if gateway.delegated and not gateway.allow_users:
        yield f"{gateway.rules}.allowUsers is empty: everyone may enter whom the proxy names"


def allows_loopback(gateway: GatewayView) -> Iterator[str]:
    """Loopback is allowed to speak for users: by the file, or by default where a loopback address is listed."""
    if not gateway.delegated:
        return
    if gateway.allow_loopback:
        yield f"{gateway.rules}.allowLoopback is true"
    elif gateway.allow_loopback is None and gateway.loopback_by_default:
        loopback = [entry for entry in gateway.proxies if entry.loopback]
        if loopback:
            yield f"{ranges.listed(loopback)}, and this ruleset allows loopback unless allowLoopback is false"


def real_ip_fallback(gateway: GatewayView) -> Iterator[str]:
    """`allowRealIpFallback` is on."""
    if gateway.real_ip_fallback:
        yield f"{gateway.place}.allowRealIpFallback is true"


def all_proxies_are_loopback(gateway: GatewayView) -> bool:
    """Every trusted proxy is exactly a loopback address. What could not be read is none."""
    unreadable = gateway.openclaw.unreadable if gateway.openclaw is not None else Unreadable()
    hidden = unreadable.proxies or any(
        ".trustedProxies" in place for place in (*unreadable.references, *unreadable.types)
    )
    return not hidden and not gateway.names and all(entry.loopback for entry in gateway.proxies)


def trusts_everything(gateway: GatewayView) -> Iterator[str]:
    """The trusted ranges hold everything, one of them or all together."""
    # Where a certificate is wanted too, an address alone trusts nobody.
    return ranges.everything(() if gateway.require_all else gateway.proxies)


def trusts_wide_range(gateway: GatewayView) -> Iterator[str]:
    """A trusted range is wider than one network segment."""
    return ranges.wide(() if gateway.require_all else gateway.proxies)


def trusts_loopback_range(gateway: GatewayView) -> Iterator[str]:
    """A trusted range holds loopback addresses."""
    return ranges.covering_loopback(gateway.proxies)


def unmatchable_users(gateway: GatewayView) -> Iterator[str]:
    """Entries of `allowUsers` that are no user: nobody matches them, or not who was meant."""
    if not gateway.delegated:
        return
    for position, user in enumerate(gateway.allow_users):
        wrong = _wrong_with_user(user, gateway)
        if wrong:
            yield f"{gateway.rules}.allowUsers[{position}] is {quoted(user)}: {wrong}"


def _wrong_with_user(user: str, gateway: GatewayView) -> str:
    if not trim(user):
        return "blank, and no user is"
    if user != trim(user):
        return "white space is around it, and none is around a user as it is compared"
    if "*" in user:
        return "there are no wildcards, it is a user of this very name"
    if _DOMAIN_FORM.fullmatch(user):
        return "a domain is not understood, it is a user of this very name"
    if "," in user and not gateway.allow_comma_in_user:
        return "a user with a comma is denied as ambiguous"
    if has_control(user):
        return "a user with a control character is denied"
    return ""


def no_required_headers(gateway: GatewayView) -> Iterator[str]:
    """`requiredHeaders` is empty."""
    if gateway.delegated and not gateway.required_headers and gateway.assertion is None:
        yield f"{gateway.rules}.requiredHeaders is empty"


def required_headers_prove_nothing(gateway: GatewayView) -> Iterator[str]:
    """Whatever is required is always there."""
    names = [fold(trim(name)) for name in gateway.required_headers]
    if gateway.delegated and gateway.assertion is None and names and all(name in ALWAYS_THERE for name in names):
        for position, name in enumerate(names):
            yield f"{gateway.rules}.requiredHeaders[{position}] is {name}, which {ALWAYS_THERE[name]} always send"


def any_origin(gateway: GatewayView) -> Iterator[str]:
    """`allowedOrigins` has `*`."""
    if "*" in gateway.allowed_origins:
        yield f"{gateway.place}.controlUi.allowedOrigins has *: pages of every site may use a visitor's session"


def host_origin_fallback(gateway: GatewayView) -> Iterator[str]:
    """An Origin that equals the Host is allowed."""
    if gateway.host_origin_fallback:
        yield f"{gateway.place}.controlUi.dangerouslyAllowHostHeaderOriginFallback is true"


def shadow_mode(gateway: GatewayView) -> Iterator[str]:
    """The gateway's own mode is shadow."""
    if gateway.shadow:
        yield f"{gateway.place}.mode is shadow: what would be denied passes, without an identity"


# What only an openclaw.json can have.


def origins_required(gateway: GatewayView) -> Iterator[str]:
    """The Control UI can be reached from other hosts, and no origin is allowed."""
    facts = gateway.openclaw
    if facts is None or not (facts.beyond_loopback and facts.ui):
        return
    if not gateway.allowed_origins and not gateway.host_origin_fallback:
        yield f"{gateway.place}.bind is {quoted(facts.bind)} and {gateway.place}.controlUi.allowedOrigins is empty"


def proxies_missing(gateway: GatewayView) -> Iterator[str]:
    """The Control UI is on loopback, and no proxy before it would be known as one."""
    facts = gateway.openclaw
    if facts is not None and facts.ui and not facts.beyond_loopback and gateway.proxies_missing:
        yield f"{gateway.place}.trustedProxies is empty, and {gateway.place}.bind is loopback"


def no_auth(gateway: GatewayView) -> Iterator[str]:
    """Other hosts may reach the Gateway, and it asks for nothing."""
    facts = gateway.openclaw
    if facts is None or gateway.delegated or not facts.beyond_loopback:
        return
    secret = {"token": facts.token, "password": facts.password, None: facts.token or facts.password}
    if not secret.get(facts.auth_mode, False):
        mode = f"{gateway.place}.auth.mode is {quoted(facts.auth_mode)}" if facts.auth_mode else "no auth.mode is set"
        kept = "" if facts.auth_mode == "none" else ", and the file has no token or password for it"
        yield f"{gateway.place}.bind is {quoted(facts.bind)}, {mode}{kept}"


def token_beside(gateway: GatewayView) -> Iterator[str]:
    """A token stands beside trusted-proxy."""
    if gateway.delegated and gateway.openclaw is not None and gateway.openclaw.token:
        yield f"{gateway.place}.auth.token is set, and {gateway.place}.auth.mode is trusted-proxy"


def password_beside(gateway: GatewayView) -> Iterator[str]:
    """A password stands beside trusted-proxy."""
    if gateway.delegated and gateway.openclaw is not None and gateway.openclaw.password:
        yield f"{gateway.place}.auth.password is set, and {gateway.place}.auth.mode is trusted-proxy"


def unreadable_proxies(gateway: GatewayView) -> Iterator[str]:
    """Entries that OpenClaw skips without a word, or reads in a way that surprises."""
    if gateway.openclaw is not None:
        yield from gateway.openclaw.unreadable.proxies


def unreadable_origins(gateway: GatewayView) -> Iterator[str]:
    """Entries that no browser's Origin equals."""
    if gateway.openclaw is not None:
        yield from gateway.openclaw.unreadable.origins


def wrong_types(gateway: GatewayView) -> Iterator[str]:
    """Values that OpenClaw does not take."""
    if gateway.openclaw is not None:
        yield from gateway.openclaw.unreadable.types


def references(gateway: GatewayView) -> Iterator[str]:
    """Values that are in the environment of the Gateway, and not in the file."""
    if gateway.openclaw is not None:
        yield from gateway.openclaw.unreadable.references
