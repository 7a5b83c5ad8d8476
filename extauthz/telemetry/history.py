"""The counts over time: how they grew in each of the last seconds and minutes; decisions pay nothing for it."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from extauthz.telemetry.tally import Counted

# How far back: five minutes by the second, six hours by the minute.
SECONDS_KEPT: Final = 300
MINUTES_KEPT: Final = 360


class Point(NamedTuple):
    """What was decided in one span of time.

    Attributes:
        time: When it began, in whole Unix seconds.
        allow: Requests allowed.
        deny: Requests denied.
        shadow: Denials that shadow mode did not enforce.
    """

    time: int
    allow: int
    deny: int
    shadow: int


class History:
    """Remembers how the counts grew. Spans in which nothing was decided are left out.

    For one thread that samples; others may read `seconds` and `minutes`.
    """

    def __init__(self, read: Callable[[], Counted]) -> None:
        """Begin with nothing.

        Args:
            read: Returns the counts of this moment.
        """
        self._read: Final = read
        self._second = 0
        self._last = {"allow": 0, "deny": 0, "shadow": 0}
        self._seconds: Final[deque[Point]] = deque(maxlen=SECONDS_KEPT)
        self._minutes: Final[deque[Point]] = deque(maxlen=MINUTES_KEPT)

    def sample(self, now: float) -> None:
        """Look at the counts, once a second however often this is called.

        Args:
            now: Unix seconds.
        """
        second = int(now)
        if second == self._second:
            return
        # What came since the last look came in the second that just ended.
        ended, self._second = self._second or second, second
        totals = {"allow": 0, "deny": 0, "shadow": 0}
        for outcome, count in self._read().decisions.items():
            totals[outcome.result] += count
        grown = {result: totals[result] - self._last[result] for result in totals}
        self._last = totals
        if any(grown.values()):
            self._seconds.append(Point(ended, grown["allow"], grown["deny"], grown["shadow"]))
            self._add_to_minute(self._seconds[-1])

    def seconds(self, now: float) -> list[Point]:
        """Return the last SECONDS_KEPT seconds in which something was decided, oldest first."""
        return [point for point in self._seconds.copy() if point.time > now - SECONDS_KEPT]

    def minutes(self, now: float) -> list[Point]:
        """Return the last MINUTES_KEPT minutes in which something was decided, oldest first."""
        return [point for point in self._minutes.copy() if point.time > now - MINUTES_KEPT * 60]

    def _add_to_minute(self, point: Point) -> None:
        minute = point.time - point.time % 60
        last = self._minutes[-1] if self._minutes else None
        if last is not None and last.time == minute:
            self._minutes[-1] = Point(
                minute, last.allow + point.allow, last.deny + point.deny, last.shadow + point.shadow
            )
        else:
            self._minutes.append(Point(minute, point.allow, point.deny, point.shadow))
