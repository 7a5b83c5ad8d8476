"""Authorizers with a refusal limit and a clock of the test's own, and who asks them. No asserts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from cases.build import LOOPBACK, PAIRS, authorizer_of, gateway
from cases.messages import Outcome, check_request, read
from extauthz.core.request import Caller
from extauthz.refusals import RateLimit, RefusalLimiter, RefusalLimits

SECOND: Final = 1_000_000_000
NICK: Final = PAIRS
EVE: Final = (("x-forwarded-user", "eve@example.com"), *PAIRS[1:])
NOBODY: Final = PAIRS[1:]
STRANGER: Final = "203.0.113.66"
"""A peer that nobody trusts."""
TOO_MANY: Final = 429


class Clock:
    """Stands still unless it is moved. Nanoseconds, as the monotonic clock has them."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += int(seconds * SECOND)


def limits(peer: int | None = 5, user: int | None = 3, *, seconds: int = 60, tracked: int = 100) -> RefusalLimits:
    """Return limits of so many in so long."""
    return RefusalLimits(
        per_peer=RateLimit(peer, seconds) if peer is not None else None,
        per_user=RateLimit(user, seconds) if user is not None else None,
        tracked=tracked,
    )


class Limited:
    """An authorizer that limits refusals, asked as Envoy asks."""

    def __init__(
        self, gateways: Mapping[str, Any] | None = None, refusals: RefusalLimits | None = None, **sections: Any
    ) -> None:
        self.clock = Clock()
        self.limiter = RefusalLimiter(refusals or limits(), clock=self.clock)
        self.authorizer = authorizer_of(gateways or {"g": gateway()}, **sections)
        self.authorizer.snapshot = replace(self.authorizer.snapshot, refusals=self.limiter)

    def ask(
        self, pairs: Sequence[tuple[str, str | bytes]] = NICK, *, caller: Caller = LOOPBACK, **about: Any
    ) -> Outcome:
        """Ask about one request, and return what Envoy makes of the answer."""
        return read(self.authorizer.check(check_request(pairs, **about), caller))

    def ask_often(self, times: int, pairs: Sequence[tuple[str, str | bytes]], **about: Any) -> list[int]:
        """Ask about the same request so often; return the statuses."""
        return [self.ask(pairs, **about).status for _ in range(times)]
