"""What came most often, in bounded memory: the Space-Saving algorithm, over a window that moves.

Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams (2005). Whatever
came more often than one in `most` is among those counted, and no count is below the true one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Texts that are counted at once, in each of the window's two parts.
MOST_COUNTED: Final = 100
# A text is counted by so many of its first characters.
LONGEST_COUNTED_CHARACTERS: Final = 256
# After so long what was counted is the window's older part, and after as long again it is forgotten.
WINDOW_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Frequent:
    """One text and how often it came.

    Attributes:
        text: The text, cut to LONGEST_COUNTED_CHARACTERS.
        count: How often, at most.
        over: By how much `count` may be too high.
    """

    text: str
    count: int
    over: int


class _Counters:
    """Space-Saving: a text that has no counter takes over the lowest one, with its count."""

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self.found: Final[dict[str, tuple[int, int]]] = {}

    def add(self, text: str) -> None:
        count, over = self.found.get(text, (0, 0))
        if not count and len(self.found) >= self._most:
            lowest = min(self.found, key=self.found.__getitem__)
            count = over = self.found.pop(lowest)[0]
        self.found[text] = (count + 1, over)


class FrequentTexts:
    """Counts texts over the last WINDOW_SECONDS to twice as long. For one thread that adds; others may ask."""

    def __init__(self, clock: Callable[[], float], *, most: int = MOST_COUNTED) -> None:
        """Begin to count.

        Args:
            clock: Unix seconds.
            most: Texts counted at once.
        """
        self._clock: Final = clock
        self._most: Final = most
        self._began = clock()
        self._parts = (_Counters(most), _Counters(most))
        self.since = self._began
        """From when on what is counted came, in Unix seconds."""

    def add(self, text: str) -> None:
        """Count a text."""
        self._move()
        self._parts[0].add(text[:LONGEST_COUNTED_CHARACTERS])

    def top(self, count: int) -> list[Frequent]:
        """Return the `count` most frequent texts, the most frequent first."""
        newer, older = self._parts
        merged = dict(older.found)
        for text, (many, over) in dict(newer.found).items():
            before, over_before = merged.get(text, (0, 0))
            merged[text] = (many + before, over + over_before)
        ranked = sorted(merged.items(), key=lambda item: (-item[1][0], item[0]))
        return [Frequent(text, many, over) for text, (many, over) in ranked[:count]]

    def _move(self) -> None:
        now = self._clock()
        if now - self._began < WINDOW_SECONDS:
            return
        # After a pause as long as both parts, the newer one is too old as well.
        recent = self._parts[0] if now - self._began < 2 * WINDOW_SECONDS else _Counters(self._most)
        self.since = self._began if recent is self._parts[0] else now
        self._parts = (_Counters(self._most), recent)
        self._began = now
