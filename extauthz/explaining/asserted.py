"""What came of an assertion when a decision was logged: the token is in no log, and what it was worth then is.

A verdict is taken from the line, or there is none and the decision cannot be told. Nothing is verified here.
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from extauthz.core import reasons, steps
from extauthz.core.assertion import Flaw, Refused, Verdict, Verified

if TYPE_CHECKING:
    from extauthz.core.policy import Gateway
    from extauthz.explaining.decision_log import Logged

_FLAWS: Final[dict[str, Flaw]] = {
    reasons.ASSERTION_INVALID.code: Flaw.INVALID,
    reasons.ASSERTION_EXPIRED.code: Flaw.EXPIRED,
    reasons.ASSERTION_AUDIENCE.code: Flaw.AUDIENCE,
}
# Who failed at one of these was believed to be the user that the line names.
_AFTER: Final = frozenset(
    step.name
    for step in (steps.ALLOWED_USER, steps.REAL_PROXY, steps.ORIGIN, steps.ORIGIN_WHERE_LISTED, steps.STATABLE)
)


class UntoldError(Exception):
    """The present file weighs what the log does not hold; the text says what."""


class AsLogged:
    """Stands for a verifier while a log is decided again.

    Attributes:
        rules: What is wanted, to be compared with what was.
        verdict: What came of the token; None where the line does not say.
    """

    def __init__(self, rules: Hashable) -> None:
        self.rules: Final = rules
        self.verdict: Verdict | None = None

    def verify(self, token: str) -> Verdict:
        """Return the verdict.

        Raises:
            UntoldError: There is none.
        """
        del token
        if self.verdict is None:
            raise UntoldError("the present file verifies an assertion, and what it was worth is not logged")
        return self.verdict

    def describe(self, verified: Verified) -> str:
        """Return who was believed."""
        return f"believed then, as {verified.user}"


def recall(gateway: "Gateway", logged: "Logged", then: "Gateway | None") -> bool:
    """Let the gateway's assertion be worth what it was when the line was logged.

    Args:
        gateway: The gateway of the present file.
        logged: The line.
        then: The gateway of the file that was in force then; None if that is not known.

    Returns:
        Whether that rests on the assertion having been wanted then as now.
    """
    verifier = gateway.assertion.verifier if gateway.assertion is not None else None
    if not isinstance(verifier, AsLogged):
        return False
    before = then.assertion.verifier if then is not None and then.assertion is not None else None
    known = isinstance(before, AsLogged) and before.rules == verifier.rules
    verifier.verdict = _verdict(gateway, logged) if then is None or known else None
    return then is None


def _verdict(gateway: "Gateway", logged: "Logged") -> Verdict | None:
    flaw = _FLAWS.get(logged.reason or "")
    if flaw is not None:
        return Refused(flaw, "so it was then")
    if logged.reason == reasons.ASSERTION_USER_MISMATCH.code:
        # Whom the token named is not told: not the one whom the header named.
        return _believed(f"not {logged.user}") if gateway.user_header else None
    passed = logged.result == "allow" or logged.step in _AFTER
    return _believed(logged.user) if passed and logged.user is not None else None


def _believed(user: str) -> Verified:
    return Verified(user, "", "", "", 0.0)
