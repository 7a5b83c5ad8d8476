"""What to do about one denial: the reason's cure, opened with what this very request shows (rules.md, hints).

For the operator only, and worked out in explanations alone: nothing here is asked while a request waits. Of headers
only names are told, and of values only those that the rules weigh.
"""

from collections.abc import Callable, Iterable
from typing import Final

from extauthz.core import admission, steps
from extauthz.core.address import parse_address
from extauthz.core.assertion import AUTHORIZATION, Refused
from extauthz.core.attribution import has_forwarded_evidence
from extauthz.core.nearest import nearest_text
from extauthz.core.origin import host_name
from extauthz.core.principals import is_plain
from extauthz.core.reasons import Reason
from extauthz.core.request import Headers
from extauthz.core.step import Evaluation, Step
from extauthz.core.text import canonical, fold, is_blank, trim
from extauthz.core.wording import peer_of, plain, quote, some

# Parts of names by which a header is recognised as one that may carry an identity.
_IDENTITY_PARTS: Final = ("user", "email", "login", "identity", "assertion", "principal", "subject", "remote-")
# An X-Forwarded-For with more hops than this is not searched for a trusted one.
_MOST_HOPS: Final = 100

_UPGRADE_NEEDS: Final = (
    "forward `Upgrade` and `Connection`, send the identity headers on the upgrade request too, and let there be no "
    "second way to sign in beside the proxy"
)


def hint(step: Step, e: Evaluation, reason: Reason) -> str:
    """Return the cure of the reason, opened with what this request shows.

    Args:
        step: The step that failed.
        e: The evaluation, as that step left it.
        reason: What it answered.
    """
    tell = _SEEN.get(step)
    seen = tell(e) if tell is not None else ""
    return " ".join(part for part in (seen, reason.cure, _websocket(step, e)) if part)


def _caller(e: Evaluation) -> str:
    callers = e.policy.callers
    gateway = getattr(e, "gateway", None)
    if callers.admit(e.request.caller) and gateway is not None and gateway.callers is not None:
        callers = gateway.callers
    where = "callers" if callers is e.policy.callers else f"the callers of gateway {gateway.id}" if gateway else ""
    caller = e.request.caller
    asked_by = plain(str(caller))
    if callers.addresses is not None and caller.address is not None and caller.address not in callers.addresses:
        nearest = callers.addresses.nearest(caller.address)
        known = f", which is not in {where}; {nearest} is" if nearest is not None else f"; {where} has no such address"
        return f"Asked by {asked_by}{known}."
    if callers.principals and callers.principals.isdisjoint(caller.principals):
        return f"Asked by {asked_by}; {where} wants a client certificate too, and none of its names is in `principals`."
    return f"Asked by {asked_by}."


def _gateway(e: Evaluation) -> str:
    named = e.request.gateway
    if named is not None:
        near = nearest_text(named, frozenset(e.policy.gateways))
        return f"The proxy names {quote(named)}; the file has {quote(near.text)}." if near is not None else ""
    host = host_name(e.request.host)
    hosts = frozenset(fold(host) for gateway in e.policy.gateways.values() for host in gateway.hosts)
    near = nearest_text(host, hosts)
    seen = f"The proxy names no gateway, and no `hosts` has {quote(host)}"
    return f"{seen}; {quote(near.text)} is there." if near is not None else f"{seen}."


def _alias(e: Evaluation) -> str:
    names = e.request.headers.names if e.request.headers is not None else ()
    protected = {canonical(name): name for name in e.gateway.protected}
    found = [f"{quote(name)} would become {quote(protected[canonical(name)])}" for name in e.gateway.aliases(names)]
    return f"{some(found)}."


def _untrusted(e: Evaluation) -> str:
    if e.peer is None:
        wanted = " A trusted principal does not make up for that." if e.gateway.trusted_principals is not None else ""
        return f"{peer_of(e).capitalize()}: that is in no range.{wanted}"
    trusted = e.gateway.trusted_proxies
    nearest = trusted.nearest(e.peer)
    known = f"; {nearest} is" if nearest is not None else f", which has no IPv{e.peer.version} entry"
    names = "".join(f" {name}." for name in e.gateway.peer_names)
    return f"The peer {plain(str(e.peer))} is not in trustedProxies{known}.{names}{_beside(e)}{_in_between(e)}"


def _beside(e: Evaluation) -> str:
    """Say what a principal could do, or cannot, where the gateway trusts these too."""
    if e.gateway.trusted_principals is None:
        return ""
    if e.gateway.require_all:
        return " `require: all` wants its address there, whatever its principal."
    return " It has no principal either, which could be in trustedPrincipals."


def _untrusted_principal(e: Evaluation) -> str:
    principal, principals, proxies = e.request.principal, e.gateway.trusted_principals, e.gateway.trusted_proxies
    if principals is None:
        return ""
    listed = e.peer is not None and e.peer in proxies
    address = f" The peer {plain(str(e.peer))} is not in trustedProxies either." if proxies and not listed else ""
    if not principal:
        return f"The proxy tells of no client certificate; over HTTP none can.{address}"
    seen = f"The principal seen is {quote(principal)}"
    if not is_plain(principal):
        return f"{seen}: that is no name of an honest certificate, and never trusted.{address}"
    near = nearest_text(principal, frozenset(principals.entries))
    if near is not None:
        return f"{seen}; trustedPrincipals has {quote(near.text)}, which differs in {near.differs}.{address}"
    nearest = principals.nearest(principal)
    known = f"; nearest to it in trustedPrincipals is {quote(nearest)}" if nearest is not None else ""
    return f"{seen}{known}.{address}"


def _in_between(e: Evaluation) -> str:
    """Say so if a trusted proxy is in the chain of hops, but is not the peer: then something stands in between."""
    chain = (e.headers.read("x-forwarded-for") or b"").decode(errors="replace")
    hops = [parse_address(trim(hop)) for hop in chain.split(",")[:_MOST_HOPS]]
    passed = next((hop for hop in hops if hop is not None and hop in e.gateway.trusted_proxies), None)
    if passed is None:
        return ""
    return (
        f" X-Forwarded-For names {passed}, which is trusted: if that is true, something between it and the proxy that "
        "asks, such as a load balancer, is the peer."
    )


def _unattributed(e: Evaluation) -> str:
    if not steps.is_trusted_proxy(e):
        return _untrusted(e) if steps.TRUSTED.check(e) is not None else _untrusted_principal(e)
    if not has_forwarded_evidence(e.headers):
        return f"The peer {plain(str(e.peer))} sent no forwarded header at all."
    if "x-forwarded-for" not in e.values:
        return f"The peer {plain(str(e.peer))} is trusted, but sent no X-Forwarded-For."
    chain = quote(e.values["x-forwarded-for"])
    peer = plain(str(e.peer))
    return f"The peer {peer} is trusted, but in its X-Forwarded-For, {chain}, every address is loopback or trusted."


def _missing(e: Evaluation) -> str:
    name = next(one.name for one in e.gateway.required_headers if is_blank(e.values.get(one.name, "")))
    state = "arrived and is blank" if name in e.headers.names else "did not arrive"
    return f"{quote(name)} {state}.{_resembling(name, e.headers.names)}"


def _resembling(name: str, names: Iterable[str]) -> str:
    near = nearest_text(name, frozenset(names))
    return f" Is it {quote(near.text)}, which arrived and differs in {near.differs}?" if near is not None else ""


def _identities(e: Evaluation) -> str:
    """Name the headers that look like an identity; names only, values are nobody's business here."""
    header = e.gateway.user_header
    if not header:
        return "userHeader is not set."
    names = e.headers.names
    if header in names:
        state = "arrived and is blank, as it does from a proxy at which nobody is signed in"
    else:
        state = "did not arrive"
    found = [name for name in names if name != header and any(part in name for part in _IDENTITY_PARTS)]
    shown = some([plain(name) for name in found])
    seen = f"What arrived and looks like an identity: {shown}." if found else "No header looks like an identity."
    return f"{quote(header)} {state}. {seen}{_resembling(header, names) if header not in names else ''}"


def _ambiguous(e: Evaluation) -> str:
    header = e.gateway.user_header
    if header in e.headers.repeated:
        return f"{quote(header)} came more than once: two hops, or the client and the proxy, each sent one."
    if not e.headers.exact:
        return f"{quote(header)} holds a comma, and who asks joins copies with one: once or twice, it cannot be told."
    return f"{quote(header)} holds a comma."


def _asserted(e: Evaluation) -> str:
    assertion, verdict = e.gateway.assertion, getattr(e, "verdict", None)
    if assertion is None:
        return ""
    if verdict is None:
        return _not_shown(assertion.header, e)
    if isinstance(verdict, Refused):
        return f"The token in {quote(assertion.header)}: {verdict.detail}."
    header, said = e.gateway.user_header, quote(verdict.user)
    near = nearest_text(e.user, frozenset((verdict.user,)))
    differs = f" They differ in {near.differs}." if near is not None else ""
    return f"{quote(header)} names {quote(e.user)}, and {plain(assertion.user_claim)} of the token is {said}.{differs}"


def _not_shown(header: str, e: Evaluation) -> str:
    if header not in e.headers.names:
        return f"{quote(header)} did not arrive.{_resembling(header, e.headers.names)}"
    other = header == AUTHORIZATION and not is_blank(e.values.get(header, ""))
    return f"{quote(header)} arrived and {'has another scheme than Bearer' if other else 'is blank'}."


def _not_listed(e: Evaluation) -> str:
    near = nearest_text(e.user, e.gateway.allow_users)
    if near is None:
        return f"The user seen is {quote(e.user)}."
    return f"The user seen is {quote(e.user)}; allowUsers has {quote(near.text)}, which differs in {near.differs}."


def _origin(e: Evaluation) -> str:
    origin = e.values.get("origin", "")
    near = nearest_text(fold(trim(origin)), e.gateway.allowed_origins)
    seen = f"The Origin seen is {quote(origin)}"
    return f"{seen}; allowedOrigins has {quote(near.text)}." if near is not None else f"{seen}."


_SEEN: Final[dict[Step, Callable[[Evaluation], str]]] = {
    admission.CALLER: _caller,
    admission.GATEWAY: _gateway,
    admission.GATEWAY_CALLER: _caller,
    admission.ALIAS: _alias,
    steps.ATTRIBUTED: _unattributed,
    steps.TRUSTED: _untrusted,
    steps.TRUSTED_PRINCIPAL: _untrusted_principal,
    steps.REQUIRED: _missing,
    steps.USER: _identities,
    steps.UNAMBIGUOUS: _ambiguous,
    steps.ASSERTED: _asserted,
    steps.ALLOWED_USER: _not_listed,
    steps.REAL_PROXY: _unattributed,
    steps.ORIGIN: _origin,
    steps.ORIGIN_WHERE_LISTED: _origin,
}

# Where an upgrade that goes another way than the pages' requests would show.
_UPGRADES_FAIL_AT: Final = frozenset(
    {steps.ATTRIBUTED, steps.TRUSTED, steps.TRUSTED_PRINCIPAL, steps.REQUIRED, steps.USER, steps.ASSERTED}
)


def _websocket(step: Step, e: Evaluation) -> str:
    if step not in _UPGRADES_FAIL_AT or not _is_websocket(e.headers):
        return ""
    return f"This is a WebSocket upgrade: {_UPGRADE_NEEDS}."


def _is_websocket(headers: Headers) -> bool:
    # A proxy that asks over HTTP may keep Upgrade back, as it belongs to the connection; the key stays.
    offered = (headers.read("upgrade") or b"").lower().split(b",")
    return b"websocket" in [one.strip() for one in offered] or "sec-websocket-key" in headers.names
