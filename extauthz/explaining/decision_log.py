"""A line of the decision log to the request that it is about, with what the line does not hold, and that decided again.

A value that the log leaves out is never made up: a step that looks at one ends with `UntoldError`, whatever it would
have answered. Nothing that cannot be told is an allow. One thing rests on a guess and is told as such: without the file
that was in force then, a header that arrived counts as not blank.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from extauthz.core import admission, steps
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.decision import Decision
from extauthz.core.policy import Gateway, Policy
from extauthz.core.reasons import CALLER_NOT_ALLOWED, REQUEST_MALFORMED, Reason
from extauthz.core.request import Caller, Headers, Request
from extauthz.core.step import Evaluation, Step
from extauthz.explaining.asserted import AsLogged, UntoldError, recall

REDACTED: Final = "[redacted]"
"""What the decision log writes for a value that `decisionLog.redact` names."""

RESULTS: Final = ("allow", "deny", "shadow")

# Stands where a value is not in the log, so that the header is there; it is never compared with anything.
_HIDDEN: Final = b"?"
_ORIGIN: Final = "origin"


class NoDecisionError(ValueError):
    """The line is none of a decision log; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One decision as it was logged.

    Attributes:
        result: allow, deny or shadow, as it was decided then.
        reason: Why it was denied, or would have been; None for an allow.
        user: The user, where the log has one and does not redact it.
        gateway: The gateway that decided; None if the request reached none.
        door: The door it came through.
        step: The step that failed, where one did.
        version: The version of the policy that decided.
        request: What was asked, as far as the log tells.
        hidden: The headers that were there and whose value the log does not hold.
        told_principal: The log tells of the principal, also where there was none.
        more: Not every header's name is in the line.
    """

    result: str
    reason: str | None
    user: str | None
    gateway: str | None
    door: str | None
    step: str | None
    version: str | None
    request: Request
    hidden: frozenset[str]
    told_principal: bool
    more: bool


def read_decision(line: dict[str, Any]) -> Logged:
    """Read one line.

    Raises:
        NoDecisionError: A value is missing or of another type than the log has.
    """
    result = line.get("result")
    if result not in RESULTS:
        raise NoDecisionError("`result` must be allow, deny or shadow: is this a decision log?")
    headers = line.get("headers")
    if not isinstance(headers, dict):
        raise NoDecisionError("`headers` must be an object")
    repeated = line.get("repeated", [])
    if not isinstance(repeated, list) or not all(isinstance(name, str) for name in repeated):
        raise NoDecisionError("`repeated` must be a list of names")
    gateway, reason, user = _text(line, "gateway"), _text(line, "reason"), _text(line, "user")
    if (reason is None) != (result == "allow"):
        raise NoDecisionError("`reason` must be there for a denial, and for no allow")
    hidden = frozenset(name for name, value in headers.items() if value is True or value == REDACTED)
    values: dict[str, bytes] = {}
    for name, value in headers.items():
        if name in hidden:
            values[name] = _HIDDEN
        elif isinstance(value, str):
            values[name] = value.encode(errors="surrogatepass")
        else:
            raise NoDecisionError("a header's value must be text or true")
    door, principal = _text(line, "door"), _text(line, "principal")
    return Logged(
        result=result,
        reason=reason,
        user=user if user != REDACTED else None,
        gateway=gateway,
        door=door,
        step=_text(line, "step"),
        version=_text(line, "policy"),
        request=Request(
            caller=_caller(_text(line, "caller")),
            # Of a request that reached no gateway the line says what the proxy named, if it named one.
            gateway=gateway if gateway is not None else _text(line, "named"),
            source=_text(line, "peer") or "",
            method=_text(line, "method") or "",
            host=_text(line, "host") or "",
            path=_text(line, "path") or "",
            headers=Headers(values, values.get, exact=line.get("exact") is not False, size=0, repeated=repeated),
            principal=principal or "",
        ),
        hidden=hidden,
        # Only the gRPC door can be told of one.
        told_principal=principal is not None or door not in {None, "grpc"},
        more=bool(line.get("more")),
    )


def _text(line: dict[str, Any], key: str) -> str | None:
    value = line.get(key)
    if value is not None and not isinstance(value, str):
        raise NoDecisionError(f"`{key}` must be text or null")
    return value


def _caller(text: str | None) -> Caller:
    if text == "unix":
        return Caller(None, unix=True)
    return Caller(parse_address(text))


class Again(NamedTuple):
    """A logged decision decided again.

    Attributes:
        decision: What the present file decides.
        rests_on: What the log leaves open, and was taken to be as it was then.
    """

    decision: Decision
    rests_on: tuple[str, ...]


def decide_again(policy: Policy, logged: Logged, before: Policy | None = None) -> Again:
    """Decide a logged request under another policy.

    Args:
        policy: The policy.
        logged: What was logged.
        before: The policy that was in force then, which tells what the log leaves open: whether a header that arrived
            was looked at for being blank, whether the proxy named the gateway, whose address the peer was. Without it
            these are taken to have been as they would be now, and that is told.

    Raises:
        UntoldError: The decision depends on what the log does not hold.
    """
    then = before.gateways.get(logged.gateway or "") if before is not None else None
    gateway = _gateway(policy, logged, before)
    caller, rests = _caller_again(policy, gateway, logged, before)
    rests += _peer_again(gateway, logged, then)
    as_then = gateway is not None and recall(gateway, logged, then)
    request = logged.request._replace(caller=caller)

    def observe(step: Step, e: Evaluation, reason: Reason | None) -> None:
        if step is admission.GATEWAY:
            _see_gateway(logged, reason)
        elif step is admission.ALIAS and reason is None and logged.more:
            raise UntoldError("not every header's name is logged")
        elif step is admission.READABLE and _was_unreadable(logged):
            raise UntoldError("the request could not be read then, and its bytes are not logged")
        elif step in _WEIGH_PRINCIPAL and not logged.told_principal and _rests_on_principal(e):
            raise UntoldError("the present file weighs the principal, which is not logged")
        elif step is steps.REQUIRED and reason is None:
            rests.extend(_required(logged, e, then))
        elif step is steps.ASSERTED:
            rests.extend(_asserted(e, as_then=as_then))
        elif step in _WEIGH_VALUES:
            _see_values(logged, step, e)

    return Again(decide(policy, request, observe), tuple(rests))


def _asserted(e: Evaluation, *, as_then: bool) -> list[str]:
    """Return what is taken for granted of an assertion that came.

    Raises:
        UntoldError: Nothing is known of it.
    """
    if e.gateway.assertion is None or not hasattr(e, "verdict"):
        return []
    if not isinstance(e.gateway.assertion.verifier, AsLogged):
        raise UntoldError("the present file verifies an assertion, whose value is not logged")
    return ["the assertion was wanted then as now"] if as_then else []


# The steps that compare a value; of a required header it is enough that it is there and not blank. Who is behind an
# untrusted peer is told by names alone.
_WEIGH_VALUES: Final = frozenset(
    {
        steps.ATTRIBUTED,
        steps.USER,
        steps.UNAMBIGUOUS,
        steps.ALLOWED_USER,
        steps.ORIGIN,
        steps.ORIGIN_WHERE_LISTED,
        steps.STATABLE,
    }
)


# The steps that ask whether the peer is the trusted proxy.
_WEIGH_PRINCIPAL: Final = frozenset({steps.ATTRIBUTED, steps.TRUSTED, steps.TRUSTED_PRINCIPAL})


def _rests_on_principal(e: Evaluation) -> bool:
    """Tell whether another principal could make another answer: the address alone does not decide."""
    gateway = e.gateway
    if gateway.trusted_principals is None or e.peer is None:
        return False
    return (e.peer in gateway.trusted_proxies) == gateway.require_all


def _was_unreadable(logged: Logged) -> bool:
    # The same reason is given, by another step, for a user that no header should carry: that one was read.
    return logged.reason == REQUEST_MALFORMED.code and logged.step != steps.STATABLE.name


def _see_gateway(logged: Logged, reason: Reason | None) -> None:
    if logged.gateway is not None:
        return
    if _was_unreadable(logged):
        raise UntoldError("the request could not be read then, and its bytes are not logged")
    if reason is None:
        raise UntoldError("the request reached no gateway then, and its peer is not logged")


def _see_values(logged: Logged, step: Step, e: Evaluation) -> None:
    """Look whether the log holds every value that a step weighs.

    Raises:
        UntoldError: It does not.
    """
    if step is steps.ATTRIBUTED and not steps.is_trusted_proxy(e):
        return
    for name in step.reads(e.gateway):
        if name in logged.hidden:
            raise UntoldError(f"the present file weighs {name}, whose value is not logged")
        if name == _ORIGIN and name in e.values and e.request.host == REDACTED:
            raise UntoldError("the present file compares the Origin with the host, which is redacted")


def _caller_again(
    policy: Policy, gateway: Gateway | None, logged: Logged, before: Policy | None
) -> tuple[Caller, list[str]]:
    """Return who asked, with every certificate that is wanted, and what of that is taken for granted."""
    caller, wanted = logged.request.caller, _principals(policy, gateway)
    if not wanted:
        return caller, []
    if logged.reason == CALLER_NOT_ALLOWED.code:
        raise UntoldError("who asked was refused then, and the certificate that the present file wants is not logged")
    shown = caller._replace(principals=wanted)
    if before is not None and wanted == _principals(before, before.gateways.get(logged.gateway or "")):
        return shown, []
    return shown, ["the caller showed a certificate that `callers` wants"]


def _principals(policy: Policy, gateway: Gateway | None) -> frozenset[str]:
    own = gateway.callers.principals if gateway is not None and gateway.callers is not None else frozenset[str]()
    return policy.callers.principals | own


def _peer_again(gateway: Gateway | None, logged: Logged, then: Gateway | None) -> list[str]:
    """Return what is taken for granted of the peer: the log has one, and not whether it was the source or the caller.

    Raises:
        UntoldError: It was the caller, and the present file asks for the source.
    """
    caller = logged.request.caller
    if gateway is None or gateway.peer_is_caller or caller.address is None:
        return []
    if then is not None:
        if then.peer_is_caller:
            raise UntoldError("`peer` was caller then, and the source is not logged")
        return []
    return ["`peer` was source then as now"] if logged.request.source == str(caller.address) else []


def _gateway(policy: Policy, logged: Logged, before: Policy | None) -> Gateway | None:
    """Return the gateway by the name that the log has.

    Raises:
        UntoldError: The present file has the host elsewhere, or nowhere, and the log does not say what chose it then.
    """
    host = logged.request.host
    if logged.gateway is None:
        if logged.request.gateway is None and host == REDACTED:
            raise UntoldError("the host chooses the gateway, and it is redacted")
        return policy.select(logged.request.gateway, host)
    named = policy.gateways.get(logged.gateway)
    if logged.door not in {None, "grpc"}:
        return named  # over HTTP the door's path names it
    if before is not None and before.select(None, host) is not before.gateways.get(logged.gateway):
        return named  # the host would have chosen another one
    by_host = policy.select(None, host)
    if by_host is not named and (by_host is not None or (named is not None and named.hosts)):
        raise UntoldError("whether the proxy named the gateway or the host chose it is not logged")
    return named


def _required(logged: Logged, e: Evaluation, then: Gateway | None) -> list[str]:
    """Return what is taken for granted of the required headers that arrived.

    Raises:
        UntoldError: One arrived that was not required then, so that nobody looked whether it was blank.
    """
    hidden = [required.name for required in e.gateway.required_headers if required.name in logged.hidden]
    if then is None:
        return [f"{name} was not blank" for name in hidden]
    known = {required.name for required in then.required_headers}
    for name in hidden:
        if name not in known:
            raise UntoldError(f"the present file requires {name}, and whether it was blank is not logged")
    return []
