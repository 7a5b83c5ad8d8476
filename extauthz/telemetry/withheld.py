"""Which denials over the limit have a line in the decision log: of many alike one now and then, which tells how many.

Every denial within the limit is written, so that each peer and each user that came over it is in the log with what he
did. What is beyond is a flood, and would only fill the disk.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

from extauthz.telemetry.tally import Outcome

# After a line of a gateway and reason, those over the limit have none for so long.
REST_SECONDS: Final = 10.0
# Pairs of gateway and reason that are kept apart; the configuration has few. Beyond it, each has its line.
MOST_KINDS: Final = 4096


class _Kind:
    __slots__ = ("count", "next_at")

    def __init__(self, next_at: float) -> None:
        self.count = 0
        self.next_at = next_at


class Withheld:
    """Says of each denial over the limit whether it is written. For one thread.

    Attributes:
        total: How many were not.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = 0
        self._clock: Final = clock
        self._kinds: Final[dict[Outcome, _Kind]] = {}

    def weigh(self, outcome: Outcome) -> int | None:
        """Return None if this one is not written; else how many like it were not, since the last line that was."""
        now = self._clock()
        kind = self._kinds.get(outcome)
        if kind is None:
            if len(self._kinds) < MOST_KINDS:
                self._kinds[outcome] = _Kind(now + REST_SECONDS)
            return 0
        if now < kind.next_at:
            kind.count += 1
            self.total += 1
            return None
        count, kind.count, kind.next_at = kind.count, 0, now + REST_SECONDS
        return count

    def over(self, *, at_once: bool = False) -> Iterator[tuple[Outcome, int]]:
        """Forget those that have rested, and yield of which of them how many no line tells, as none came after them.

        Args:
            at_once: Of all, as when nothing is written any more.
        """
        if not self._kinds:
            return
        rested = self._clock() - REST_SECONDS
        for outcome in [outcome for outcome, kind in self._kinds.items() if at_once or kind.next_at <= rested]:
            count = self._kinds.pop(outcome).count
            if count:
                yield outcome, count
