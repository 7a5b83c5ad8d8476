"""What a step is, and what the steps of one decision find out together. No step is here: see admission.py, steps.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extauthz.core.assertion import Verdict
from extauthz.core.reasons import Reason

if TYPE_CHECKING:
    from extauthz.core.address import Address
    from extauthz.core.policy import Gateway, Policy
    from extauthz.core.request import Headers, Request


class Evaluation:
    """One decision in the making: the request, and what the steps so far found out about it.

    Attributes:
        policy: The policy in force.
        request: What is asked.
        gateway: Set by the gateway step; not there before.
        headers: The request's headers; not there before the `readable` step found them readable.
        peer: The address whose word about the user is taken; None if it cannot be read.
        values: The headers that the gateway's ruleset reads, decoded; absent ones are not in it.
        user: The user as the user header names it, trimmed; "" before the user step found one. Without a user header,
            as the assertion names it.
        verdict: What came of the assertion; not there before that step had one to verify.
    """

    __slots__ = ("gateway", "headers", "peer", "policy", "request", "user", "values", "verdict")

    gateway: "Gateway"
    headers: "Headers"
    values: dict[str, str]
    verdict: Verdict

    def __init__(self, policy: "Policy", request: "Request") -> None:
        self.policy = policy
        self.request = request
        self.peer: Address | None = None
        self.user = ""


def _reads_nothing(_gateway: "Gateway") -> Iterable[str]:
    return ()


def _always_open(_gateway: "Gateway") -> bool:
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step, the same only as itself.

    Attributes:
        name: Its name in explanations and logs.
        check: The question.
        reasons: What it may answer.
        reads: The folded names of the headers whose values it looks at, for one gateway.
        names_user: It comes when a trusted peer has named a user, so that a denial can say whom.
        settled: Under this gateway's configuration every request passes that has passed the steps before: the step is
            told in explanations, and not asked in decisions.
    """

    name: str
    check: Callable[[Evaluation], Reason | None]
    reasons: tuple[Reason, ...]
    reads: Callable[["Gateway"], Iterable[str]] = _reads_nothing
    names_user: bool = False
    settled: Callable[["Gateway"], bool] = _always_open
