"""What each step saw, in words: the same decision, told step by step, with the hint of what to do.

For the operator only: what stands here may name users and addresses and is never sent to a client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from extauthz.core import admission, steps
from extauthz.core.assertion import Refused
from extauthz.core.attribution import has_forwarded_evidence, has_tailscale_evidence
from extauthz.core.decide import decide
from extauthz.core.decision import Decision
from extauthz.core.hints import hint
from extauthz.core.policy import Policy
from extauthz.core.reasons import Reason
from extauthz.core.request import Request
from extauthz.core.step import Evaluation, Step
from extauthz.core.text import is_blank
from extauthz.core.wording import count, peer_of, plain, principal_of, quote, some, value_of


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


def _show_caller(e: Evaluation) -> str:
    return f"asked by {plain(str(e.request.caller))}"


def _show_gateway(e: Evaluation) -> str:
    if e.request.gateway is not None:
        return f"the proxy names gateway {quote(e.request.gateway)}"
    return f"the proxy names no gateway; the host is {quote(e.request.host)}"


def _show_gateway_caller(e: Evaluation) -> str:
    if e.gateway.callers is None:
        return f"gateway {e.gateway.id} has no callers of its own"
    return f"asked by {plain(str(e.request.caller))}"


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
    long = admission.too_long(headers, longest) if headers.size > longest else None
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
    named = e.gateway.peer_names
    entries = len(e.gateway.trusted_proxies) + len(named) - len({one for name in named for one in name.addresses})
    told = f"; {some([str(name) for name in named])}" if named else ""
    principals = e.gateway.trusted_principals
    if principals is not None:
        both = "both are wanted" if e.gateway.require_all else "one of both is enough"
        told += f", {count(len(principals), 'entry')} in trustedPrincipals: {both}"
    return f"{count(entries, 'entry')} in trustedProxies{told}"


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
    told = f"{peer_of(e)}, an address of {some(names)}" if names else peer_of(e)
    gateway = e.gateway
    if gateway.trusted_principals is None or e.peer is None or e.peer in gateway.trusted_proxies:
        return told
    decides = ": its principal decides" if steps.TRUSTED.check(e) is None else ""
    return f"{told}, which is not in trustedProxies{decides}"


def _show_trusted_principal(e: Evaluation) -> str:
    gateway, principals = e.gateway, e.gateway.trusted_principals
    if principals is None:
        return "trustedPrincipals is empty, so that the address alone decides"
    entry = principals.match(e.request.principal)
    if entry is not None:
        by = "which trustedPrincipals has" if entry == e.request.principal else f"which {quote(entry)} matches"
        return f"{principal_of(e)}, {by}"
    told = f"{principal_of(e)}, and is not in trustedPrincipals" if e.request.principal else principal_of(e)
    if gateway.require_all or e.peer is None or e.peer not in gateway.trusted_proxies:
        return told
    return f"{told}; the address is trusted, and `require` is any"


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
    if e.gateway.user_header:
        return value_of(e, e.gateway.user_header)
    return "userHeader is not set" + ("; the assertion names the user" if e.gateway.assertion is not None else "")


def _show_unambiguous(e: Evaluation) -> str:
    header = e.gateway.user_header
    if not header:
        return "userHeader is not set; the assertion names the user"
    times = "more than once" if header in e.headers.repeated else "once" if e.headers.exact else "once or joined"
    comma = "holds a comma" if "," in e.values[header] else "holds no comma"
    return f"{header} came {times} and {comma}"


def _show_asserted(e: Evaluation) -> str:
    # Of the token itself nothing is shown, and not of its parts: whoever has it can be its user.
    assertion, verdict = e.gateway.assertion, getattr(e, "verdict", None)
    if assertion is None:
        return "no assertion is wanted"
    if verdict is None:
        return f"no token in {assertion.header}"
    if isinstance(verdict, Refused):
        return f"the token in {assertion.header} is not believed: {verdict.detail}"
    return f"{assertion.verifier.describe(verdict)}; its {plain(assertion.user_claim)} is {quote(verdict.user)}"


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
    admission.CALLER: _show_caller,
    admission.GATEWAY: _show_gateway,
    admission.GATEWAY_CALLER: _show_gateway_caller,
    admission.ALIAS: _show_alias,
    admission.READABLE: _show_readable,
    steps.CONFIGURED: _show_configured,
    steps.PROXIES: _show_proxies,
    steps.ATTRIBUTED: _show_attributed,
    steps.TRUSTED: _show_trusted,
    steps.TRUSTED_PRINCIPAL: _show_trusted_principal,
    steps.LOOPBACK: _show_loopback,
    steps.LOCAL_INTERFACE: _show_local_interface,
    steps.REQUIRED: _show_required,
    steps.USER: _show_user,
    steps.UNAMBIGUOUS: _show_unambiguous,
    steps.ASSERTED: _show_asserted,
    steps.ALLOWED_USER: _show_allowed_user,
    steps.REAL_PROXY: _show_real_proxy,
    steps.ORIGIN: _show_origin,
    steps.ORIGIN_WHERE_LISTED: _show_origin,
    steps.STATABLE: _show_statable,
}
