"""One clock for one connection: whatever is awaited now has to come by then. It is set anew for every request."""

import asyncio
import math
from collections.abc import Callable
from typing import Final


class Deadline:
    """Calls a function once what is awaited is overdue.

    Setting it later costs no timer: one that rings too early looks at the clock, and waits for the rest.
    """

    __slots__ = ("_at", "_loop", "_missed", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, missed: Callable[[], None]) -> None:
        self._loop: Final = loop
        self._missed: Final = missed
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, seconds: float) -> None:
        """Let it be so many seconds from now."""
        self._at = at = self._loop.time() + seconds
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._ring)
            self._timer_at = at

    def lift(self) -> None:
        """Let there be none, until it is set again."""
        self._at = math.inf

    def forget(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, -math.inf  # so that none is begun again

    def _ring(self) -> None:
        self._timer, self._timer_at = None, math.inf
        left = self._at - self._loop.time()
        if left <= 0:
            self._missed()
        elif left < math.inf:
            self.set(left)
