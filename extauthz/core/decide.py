"""The decision: the steps in order, the first that fails gives the reason; only who passes all of them is allowed."""

from collections.abc import Callable
from typing import Final

from extauthz.core import reasons
from extauthz.core.admission import CALLER, READABLE
from extauthz.core.decision import Allow, Decision, Deny, Shadowed
from extauthz.core.policy import Policy
from extauthz.core.reasons import Reason
from extauthz.core.request import Caller, Request
from extauthz.core.rulesets import ADMISSION
from extauthz.core.step import Evaluation, Step

Observe = Callable[[Step, Evaluation, Reason | None], None]


def decide(policy: Policy, request: Request, observe: Observe | None = None) -> Decision:
    """Decide about one request.

    Args:
        policy: The policy in force, read once by the caller so that one decision never sees two.
        request: What is asked.
        observe: Called after each step with what it answered; how an explanation is made from this same code.

    Returns:
        An Allow only if every step passed.
    """
    e = Evaluation(policy, request)
    denial = _first_failure(e, ADMISSION, observe)
    if denial is None:
        # An explanation tells every step; a decision leaves out those that nothing can fail.
        denial = _first_failure(e, e.gateway.asked if observe is None else e.gateway.ruleset.whole, observe)
    if denial is not None:
        shadow = denial.gateway is not None and denial.gateway.shadow and denial.reason.shadowed
        return Shadowed(gateway=e.gateway, denial=denial) if shadow else denial
    user, peer = e.user, e.peer
    if not user or peer is None:
        # No ruleset lets this happen; a future one that forgets a step must not either.
        return Deny(reason=reasons.INTERNAL_ERROR, step=_NO_STEP, gateway=e.gateway)
    return Allow(e.gateway, user, peer)


def refuse_unreadable(policy: Policy, caller: Caller) -> Deny:
    """Decide about bytes that could not be read at all: a denial; who may not ask is told only that."""
    if not policy.callers.admit(caller):
        return Deny(reason=reasons.CALLER_NOT_ALLOWED, step=CALLER.name)
    return Deny(reason=reasons.REQUEST_MALFORMED, step=READABLE.name)


_NO_STEP: Final = "none"


def _first_failure(e: Evaluation, steps: tuple[Step, ...], observe: Observe | None) -> Deny | None:
    for step in steps:
        reason = step.check(e)
        if observe is not None:
            observe(step, e, reason)
        if reason is not None:
            return Deny(
                reason=reason,
                step=step.name,
                gateway=getattr(e, "gateway", None),
                peer=e.peer,
                user=e.user if step.names_user else "",
            )
    return None
