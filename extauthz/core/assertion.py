"""The proxy's signed assertion as the core sees it: where it comes, who verifies it, and what may come of that.

Keys, signatures and the clock are not the core's: whoever has them is handed in and asked by the protocol below.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from extauthz.core.text import is_blank, trim

# The only header whose value begins with a scheme (RFC 9110, section 11.6.2; RFC 6750, section 2.1).
AUTHORIZATION: Final = "authorization"
_BEARER: Final = "bearer "


class Flaw(Enum):
    """Why a token is not believed."""

    INVALID = "invalid"
    EXPIRED = "expired"
    AUDIENCE = "audience"


class Verified(NamedTuple):
    """What a token says, and is believed to.

    Attributes:
        user: The value of the claim that names the user; not blank.
        key_id: Which key signed it.
        issuer: Who signed it.
        audience: For whom: the one of its audiences that is wanted.
        expires_at: Until when it is good, in Unix seconds, without leeway.
    """

    user: str
    key_id: str
    issuer: str
    audience: str
    expires_at: float


class Refused(NamedTuple):
    """The token is not believed.

    Attributes:
        flaw: Why.
        detail: What was seen and what is wanted, for the operator; never the token or a part of it.
    """

    flaw: Flaw
    detail: str


Verdict = Verified | Refused


class Verifier(Protocol):
    """Verifies tokens. Asked while a request waits: it fetches nothing, and waits for nothing."""

    def verify(self, token: str) -> Verdict:
        """Return what a token says, or why it is not believed."""

    def describe(self, verified: Verified) -> str:
        """Return what was verified, in words, for an explanation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assertion:
    """What one gateway wants to be shown.

    Attributes:
        header: The folded name of the header that carries the token.
        verifier: Who verifies it.
        preset: The proxy that it is of, as the configuration names it; "" where it names none.
        user_claim: The claim that names the user.
        issuer: As configured.
        audiences: As configured; one of them must be the token's.
        source: Where the keys come from, for people.
    """

    header: str
    verifier: Verifier
    preset: str = ""
    user_claim: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    source: str = ""

    def token_in(self, value: str | None) -> str:
        """Return the token in the header's value; "" if there is none.

        In `Authorization` it is what follows `Bearer`; with any other scheme, no token came.
        """
        if value is None or is_blank(value):
            return ""
        value = trim(value)
        if self.header != AUTHORIZATION:
            return value
        return trim(value[len(_BEARER) :]) if value[: len(_BEARER)].lower() == _BEARER else ""
