"""What each step saw, in words: the same decision, told step by step, with the hint of what to do.

For the operator only: what stands here may name users and addresses and is never sent to a client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from extauthz.core import reasons, steps
from extauthz.core.attribution import has_forwarded_evidence, has_tailscale_evidence
from extauthz.core.decide import decide
from extauthz.core.decision import Allow, Decision, Shadowed
from extauthz.core.policy import Policy
from extauthz.core.reasons import Reason
from extauthz.core.request import Request
from extauthz.core.steps import Evaluation, Step
from extauthz.core.text import is_blank

# Parts of names by which a header is recognised as one that may carry an identity.
_IDENTITY_PARTS: Final = ("user", "email", "login", "identity", "assertion", "principal", "subject", "remote-")
# Values longer than this are cut in explanations.
LONGEST_SHOWN_CHARACTERS: Final = 120
# No more than this many entries of a list are shown.
MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one step went.

    Attributes:
        step: The step's name.
        passed: Whether the request passed it.
        detail: What the step saw.
    """

    step: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and how it came about.

    Attributes:
        decision: The decision itself.
        outcomes: The steps that were asked, in order; the last one is the one that failed, if any did.
        hint: What to do about a denial; "" for an allow.
    """

    decision: Decision
    outcomes: tuple[Outcome, ...]
    hint: str


def explain(policy: Policy, request: Request) -> Explanation:
    """Decide about one request by `decide`, and tell what each step saw."""
    outcomes: list[Outcome] = []
    hints: list[str] = []

    def observe(step: Step, e: Evaluation, reason: Reason | None) -> None:
        outcomes.append(Outcome(step.name, reason is None, _SHOW[step](e)))
        if reason is not None:
            hints.append(_hint(step, e, reason))

    decision = decide(policy, request, observe)
    return Explanation(decision, tuple(outcomes), hints[-1] if hints else "")


def denial_text(decision: Decision) -> str | None:
    """Return the reason's code of a denial, enforced or not; None for an allow."""
    if isinstance(decision, Allow):
        return None
    return (decision.denial if isinstance(decision, Shadowed) else decision).reason.code


def _quote(value: str) -> str:
    shown = value if len(value) <= LONGEST_SHOWN_CHARACTERS else value[:LONGEST_SHOWN_CHARACTERS] + "…"
    return ascii(shown) if not shown.isprintable() else f'"{shown}"'


def _some(items: list[str]) -> str:
    more = f" and {len(items) - MOST_SHOWN} more" if len(items) > MOST_SHOWN else ""
    return ", ".join(items[:MOST_SHOWN]) + more


def _count(number: int, what: str) -> str:
    plural = {"entry": "entries", "address": "addresses"}.get(what, f"{what}s")
    return f"{number} {what if number == 1 else plural}"


def _value(e: Evaluation, name: str) -> str:
    return f"{name} is {_quote(e.values[name])}" if name in e.values else f"{name} did not arrive"


def _peer(e: Evaluation) -> str:
    if e.peer is not None:
        return f"the peer is {e.peer}"
    return f"the peer cannot be read from {_quote(e.request.source)}" if e.request.source else "the peer is not known"


def _show_caller(e: Evaluation) -> str:
    return f"asked by {e.request.caller}"


def _show_gateway(e: Evaluation) -> str:
    if e.request.gateway is not None:
        return f"the proxy names gateway {_quote(e.request.gateway)}"
    return f"the proxy names no gateway; the host is {_quote(e.request.host)}"


def _show_gateway_caller(e: Evaluation) -> str:
    if e.gateway.callers is None:
        return f"gateway {e.gateway.id} has no callers of its own"
    return f"asked by {e.request.caller}"


def _show_alias(e: Evaluation) -> str:
    names = e.request.headers.names if e.request.headers is not None else ()
    found = e.gateway.aliases(names)
    return f"alias of a protected header: {_some([_quote(name) for name in found])}" if found else "no header aliases"


def _show_readable(e: Evaluation) -> str:
    headers = e.request.headers
    if headers is None or e.request.fault:
        return e.request.fault or "the request has no HTTP attributes"
    if len(headers.names) > e.policy.most_headers:
        return f"{len(headers.names)} headers; limits.headers is {e.policy.most_headers}"
    longest = e.policy.longest_header_bytes
    long = steps.too_long(headers, longest) if headers.size > longest else None
    if long is not None:
        return f"{_quote(long)} is longer than limits.headerBytes, {longest}"
    try:
        for name in e.gateway.reads:
            (headers.read(name) or b"").decode()
    except UnicodeDecodeError:
        return f"{_quote(name)} is no UTF-8"
    return f"{_count(len(headers.names), 'header')}, readable"


def _show_configured(e: Evaluation) -> str:
    return "auth.trustedProxy is there" if e.gateway.configured else "the gateway has no auth.trustedProxy block"


def _show_proxies(e: Evaluation) -> str:
    return f"{_count(len(e.gateway.trusted_proxies), 'entry')} in trustedProxies"


def _show_attributed(e: Evaluation) -> str:
    forwarded = has_forwarded_evidence(e.headers)
    tailscale = has_tailscale_evidence(e.headers)
    seen = [text for text, found in (("forwarded headers", forwarded), ("Tailscale headers", tailscale)) if found]
    evidence = " and ".join(seen) or "no forwarded headers"
    client = steps.client_of(e)
    named = f"the client is {client}" if client is not None else "no client is named"
    return f"{_peer(e)}; {evidence}; {named} ({_value(e, 'x-forwarded-for')})"


def _show_trusted(e: Evaluation) -> str:
    return _peer(e)


def _show_loopback(e: Evaluation) -> str:
    kind = "loopback" if e.peer is not None and e.peer.loopback else "not loopback"
    return f"the peer is {kind}; allowLoopback is {str(e.gateway.allow_loopback).lower()}"


def _show_local_interface(e: Evaluation) -> str:
    local = e.gateway.local_interfaces
    if local is None:
        return "this host's own addresses could not be read"
    return f"{_peer(e)}; {_count(len(local), 'address')} in localInterfaces"


def _show_required(e: Evaluation) -> str:
    if not e.gateway.required_headers:
        return "no headers are required"
    blank = [required.name for required in e.gateway.required_headers if is_blank(e.values.get(required.name, ""))]
    if blank:
        return f"missing or blank: {_some([_quote(name) for name in blank])}"
    return f"all {len(e.gateway.required_headers)} required headers are there"


def _show_user(e: Evaluation) -> str:
    return _value(e, e.gateway.user_header) if e.gateway.user_header else "userHeader is not set"


def _show_unambiguous(e: Evaluation) -> str:
    header = e.gateway.user_header
    times = "more than once" if header in e.headers.repeated else "once" if e.headers.exact else "once or joined"
    comma = "holds a comma" if "," in e.values[header] else "holds no comma"
    return f"{header} came {times} and {comma}"


def _show_allowed_user(e: Evaluation) -> str:
    if not e.gateway.allow_users:
        return f"the user is {_quote(e.user)}; allowUsers is empty, so that everyone may enter"
    return f"the user is {_quote(e.user)}; {_count(len(e.gateway.allow_users), 'entry')} in allowUsers"


def _show_real_proxy(e: Evaluation) -> str:
    forwarded = "forwarded headers arrived" if has_forwarded_evidence(e.headers) else "no forwarded headers"
    return f"{_peer(e)}; {forwarded}"


def _show_origin(e: Evaluation) -> str:
    where_listed = steps.ORIGIN_WHERE_LISTED
    if where_listed in e.gateway.ruleset.steps and where_listed.settled(e.gateway):
        return "controlUi.allowedOrigins is empty, so that the Origin is not looked at"
    return f"{_value(e, 'origin')}; the host is {_quote(e.request.host)}"


def _show_statable(e: Evaluation) -> str:
    return f"the user is {_quote(e.user)}"


_SHOW: Final[dict[Step, Callable[[Evaluation], str]]] = {
    steps.CALLER: _show_caller,
    steps.GATEWAY: _show_gateway,
    steps.GATEWAY_CALLER: _show_gateway_caller,
    steps.ALIAS: _show_alias,
    steps.READABLE: _show_readable,
    steps.CONFIGURED: _show_configured,
    steps.PROXIES: _show_proxies,
    steps.ATTRIBUTED: _show_attributed,
    steps.TRUSTED: _show_trusted,
    steps.LOOPBACK: _show_loopback,
    steps.LOCAL_INTERFACE: _show_local_interface,
    steps.REQUIRED: _show_required,
    steps.USER: _show_user,
    steps.UNAMBIGUOUS: _show_unambiguous,
    steps.ALLOWED_USER: _show_allowed_user,
    steps.REAL_PROXY: _show_real_proxy,
    steps.ORIGIN: _show_origin,
    steps.ORIGIN_WHERE_LISTED: _show_origin,
    steps.STATABLE: _show_statable,
}


def _hint(step: Step, e: Evaluation, reason: Reason) -> str:
    """Return the cure of the reason, opened with what this request shows."""
    seen = ""
    if reason is reasons.UNTRUSTED_SOURCE:
        seen = _untrusted(e)
    elif reason is reasons.USER_MISSING:
        seen = _identities(e)
    elif reason is reasons.USER_NOT_ALLOWED:
        seen = f"The user seen is {_quote(e.user)}."
    elif step is steps.REQUIRED:
        websocket = _is_websocket(e)
        seen = "This is a WebSocket upgrade: the proxy must send the header on upgrades too." if websocket else ""
    elif reason is reasons.CALLER_NOT_ALLOWED:
        seen = f"Asked by {e.request.caller}."
    return f"{seen} {reason.cure}".strip()


def _untrusted(e: Evaluation) -> str:
    if e.peer is None:
        return f"{_peer(e).capitalize()}: that is in no range."
    nearest = e.gateway.trusted_proxies.nearest(e.peer)
    known = f"; {nearest} is" if nearest is not None else ""
    return f"The peer {e.peer} is not in trustedProxies{known}."


def _identities(e: Evaluation) -> str:
    """Name the headers that look like an identity; names only, values are nobody's business here."""
    header = e.gateway.user_header
    if not header:
        return "userHeader is not set."
    found = [name for name in e.headers.names if name != header and any(part in name for part in _IDENTITY_PARTS)]
    shown = _some([name if name.isprintable() else ascii(name) for name in found])
    seen = f"What arrived and looks like an identity: {shown}." if found else "No header looks like an identity."
    upgrade = " This is a WebSocket upgrade: identity headers must be on it too." if _is_websocket(e) else ""
    return f"{_quote(header)} is missing or blank. {seen}{upgrade}"


def _is_websocket(e: Evaluation) -> bool:
    return (e.headers.read("upgrade") or b"").lower() == b"websocket"
