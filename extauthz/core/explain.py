"""What each step saw, in words: the same decision, told step by step, with the hint of what to do.

For the operator only: what stands here may name users and addresses and is never sent to a client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from extauthz.core import steps
from extauthz.core.attribution import has_forwarded_evidence, has_tailscale_evidence
from extauthz.core.decide import decide
from extauthz.core.decision import Allow, Decision, Shadowed
from extauthz.core.hints import hint
from extauthz.core.policy import Policy
from extauthz.core.reasons import Reason
from extauthz.core.request import Request
from extauthz.core.steps import Evaluation, Step
from extauthz.core.text import is_blank
from extauthz.core.wording import count, peer_of, quote, some, value_of


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
            hints.append(hint(step, e, reason))

    decision = decide(policy, request, observe)
    return Explanation(decision, tuple(outcomes), hints[-1] if hints else "")


def denial_text(decision: Decision) -> str | None:
    """Return the reason's code of a denial, enforced or not; None for an allow."""
    if isinstance(decision, Allow):
        return None
    return (decision.denial if isinstance(decision, Shadowed) else decision).reason.code


def _show_caller(e: Evaluation) -> str:
    return f"asked by {e.request.caller}"


def _show_gateway(e: Evaluation) -> str:
    if e.request.gateway is not None:
        return f"the proxy names gateway {quote(e.request.gateway)}"
    return f"the proxy names no gateway; the host is {quote(e.request.host)}"


def _show_gateway_caller(e: Evaluation) -> str:
    if e.gateway.callers is None:
        return f"gateway {e.gateway.id} has no callers of its own"
    return f"asked by {e.request.caller}"


def _show_alias(e: Evaluation) -> str:
    names = e.request.headers.names if e.request.headers is not None else ()
    found = e.gateway.aliases(names)
    return f"alias of a protected header: {some([quote(name) for name in found])}" if found else "no header aliases"


def _show_readable(e: Evaluation) -> str:
    headers = e.request.headers
    if headers is None or e.request.fault:
        return e.request.fault or "the request has no HTTP attributes"
    if len(headers.names) > e.policy.most_headers:
        return f"{len(headers.names)} headers; limits.headers is {e.policy.most_headers}"
    longest = e.policy.longest_header_bytes
    long = steps.too_long(headers, longest) if headers.size > longest else None
    if long is not None:
        return f"{quote(long)} is longer than limits.headerBytes, {longest}"
    try:
        for name in e.gateway.reads:
            (headers.read(name) or b"").decode()
    except UnicodeDecodeError:
        return f"{quote(name)} is no UTF-8"
    return f"{count(len(headers.names), 'header')}, readable"


def _show_configured(e: Evaluation) -> str:
    return "auth.trustedProxy is there" if e.gateway.configured else "the gateway has no auth.trustedProxy block"


def _show_proxies(e: Evaluation) -> str:
    names = some([str(name) for name in e.gateway.peer_names])
    told = f"; {names}" if names else ""
    return f"{count(len(e.gateway.trusted_proxies), 'entry')} in trustedProxies{told}"


def _show_attributed(e: Evaluation) -> str:
    forwarded = has_forwarded_evidence(e.headers)
    tailscale = has_tailscale_evidence(e.headers)
    seen = [text for text, found in (("forwarded headers", forwarded), ("Tailscale headers", tailscale)) if found]
    evidence = " and ".join(seen) or "no forwarded headers"
    client = steps.client_of(e)
    named = f"the client is {client}" if client is not None else "no client is named"
    return f"{peer_of(e)}; {evidence}; {named} ({value_of(e, 'x-forwarded-for')})"


def _show_trusted(e: Evaluation) -> str:
    names = [name.entry for name in e.gateway.peer_names if e.peer in name.addresses]
    return f"{peer_of(e)}, an address of {some(names)}" if names else peer_of(e)


def _show_loopback(e: Evaluation) -> str:
    kind = "loopback" if e.peer is not None and e.peer.loopback else "not loopback"
    return f"the peer is {kind}; allowLoopback is {str(e.gateway.allow_loopback).lower()}"


def _show_local_interface(e: Evaluation) -> str:
    local = e.gateway.local_interfaces
    if local is None:
        return "this host's own addresses could not be read"
    return f"{peer_of(e)}; {count(len(local), 'address')} in localInterfaces"


def _show_required(e: Evaluation) -> str:
    if not e.gateway.required_headers:
        return "no headers are required"
    blank = [required.name for required in e.gateway.required_headers if is_blank(e.values.get(required.name, ""))]
    if blank:
        return f"missing or blank: {some([quote(name) for name in blank])}"
    return f"all {len(e.gateway.required_headers)} required headers are there"


def _show_user(e: Evaluation) -> str:
    return value_of(e, e.gateway.user_header) if e.gateway.user_header else "userHeader is not set"


def _show_unambiguous(e: Evaluation) -> str:
    header = e.gateway.user_header
    times = "more than once" if header in e.headers.repeated else "once" if e.headers.exact else "once or joined"
    comma = "holds a comma" if "," in e.values[header] else "holds no comma"
    return f"{header} came {times} and {comma}"


def _show_allowed_user(e: Evaluation) -> str:
    if not e.gateway.allow_users:
        return f"the user is {quote(e.user)}; allowUsers is empty, so that everyone may enter"
    return f"the user is {quote(e.user)}; {count(len(e.gateway.allow_users), 'entry')} in allowUsers"


def _show_real_proxy(e: Evaluation) -> str:
    forwarded = "forwarded headers arrived" if has_forwarded_evidence(e.headers) else "no forwarded headers"
    return f"{peer_of(e)}; {forwarded}"


def _show_origin(e: Evaluation) -> str:
    where_listed = steps.ORIGIN_WHERE_LISTED
    if where_listed in e.gateway.ruleset.steps and where_listed.settled(e.gateway):
        return "controlUi.allowedOrigins is empty, so that the Origin is not looked at"
    return f"{value_of(e, 'origin')}; the host is {quote(e.request.host)}"


def _show_statable(e: Evaluation) -> str:
    return f"the user is {quote(e.user)}"


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
