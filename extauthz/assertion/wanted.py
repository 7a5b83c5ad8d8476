"""Which keys are asked for next, where each has an address of its own and tokens, which anybody can invent, name them.

Nothing is fetched here. Everything that tokens fill is bounded, and what a decision does here is counting.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

KIDS_PER_ROUND: Final = 8
"""Kids not seen before that one round fetches; half of them are those asked for most, half those that wait longest."""

MAX_WANTED_KIDS: Final = 512
"""Kids that wait for a round; of more, the one that was asked for least gives way."""

FAILED_KID_SECONDS: Final = 60.0
"""How long a kid that the source does not have is not asked for again."""

MAX_FAILED_KIDS: Final = 512
"""Of how many kids that is remembered: of all, at one round a second. The one that failed first goes first."""


class WantedKids:
    """Kids that tokens ask for and nobody has fetched yet. Threads may share one.

    How often each is asked for is counted as in "space saving" (Metwally and others, 2005): a newcomer to a full table
    takes the place of the least, and its count; so does one that comes where others were fetched, else it would be the
    least at once. So a kid that more than one in `MAX_WANTED_KIDS` of the requests asks
    for stays, however many others are invented; and it comes before all that are asked for once.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin without any.

        Args:
            monotonic: Seconds of a clock that never goes back.
        """
        self._monotonic: Final = monotonic
        self._lock: Final = threading.Lock()
        self._asked: dict[str, int] = {}  # who waits longest comes first
        self._level = 0  # what the last that gave way was asked for
        self._failed: dict[str, float] = {}  # until when each is not asked for

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._asked)

    def add(self, kid: str) -> bool:
        """Count that a token asks for this kid. Returns whether it waits for a round now."""
        with self._lock:
            if self._failed.get(kid, 0.0) > self._monotonic():
                return False
            if kid not in self._asked:
                if not self._asked:
                    self._level = 0
                elif len(self._asked) >= MAX_WANTED_KIDS:
                    self._level = self._asked.pop(min(self._asked, key=self._asked.__getitem__))
            self._asked[kid] = self._asked.get(kid, self._level) + 1
            return True

    def next_round(self) -> list[str]:
        """Return the kids whose turn it is.

        Half are those asked for most: before many that are invented once each. Half are those that wait longest: before
        a few that are invented anew for each round and asked for often.
        """
        with self._lock:
            most = sorted(self._asked, key=self._asked.__getitem__, reverse=True)[: KIDS_PER_ROUND // 2]
            return list(islice(dict.fromkeys((*most, *self._asked)), KIDS_PER_ROUND))

    def found(self, kid: str) -> None:
        """Note that this kid's key is there."""
        with self._lock:
            self._asked.pop(kid, None)

    def failed(self, kid: str, seconds: float = FAILED_KID_SECONDS) -> None:
        """Note that this kid has no key, and is not to be asked for again for so long."""
        with self._lock:
            self._asked.pop(kid, None)
            self._failed.pop(kid, None)
            self._failed[kid] = self._monotonic() + seconds
            if len(self._failed) > MAX_FAILED_KIDS:
                del self._failed[next(iter(self._failed))]
