"""How it is measured: rounds of several candidates in turn, so that the machine's moods meet all of them alike.

Nothing here knows what is measured. A ratio is formed round by round, so that what drifts from one round to the next
cancels out; what is shown is the median over the rounds with the least and the most.
"""

import statistics
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Call = Callable[[], object]
T = TypeVar("T")

ROUND_SECONDS = 0.02
"""How long one call is repeated in one round: long against the clock's grain, short against the machine's moods."""

SHORTEST_SECONDS = 1e-7
"""What a call takes at least, where the clock is too coarse to tell."""


class Figure(NamedTuple):
    """One measured figure over all rounds."""

    median: float
    least: float
    most: float


def figure(values: Sequence[float]) -> Figure:
    """Sum rounds up."""
    return Figure(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], base: Sequence[float]) -> Figure:
    """Sum up one candidate as a multiple of another, round by round."""
    return figure([mine / other for mine, other in zip(values, base, strict=True)])


def difference(values: Sequence[float], base: Sequence[float]) -> Figure:
    """Sum up by how much one candidate is above another, round by round."""
    return figure([mine - other for mine, other in zip(values, base, strict=True)])


def in_turn(candidates: Mapping[str, T], measure: Callable[[T], float], rounds: int) -> dict[str, list[float]]:
    """Measure candidates round after round; every other round begins at the other end."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name in list(candidates)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(measure(candidates[name]))
    return found


def microseconds(calls: Mapping[str, Call], rounds: int, seconds: float = ROUND_SECONDS) -> dict[str, list[float]]:
    """Time calls in turn; microseconds of this thread's processor time for a call, round by round.

    For calls that wait for nothing this is the time that they take, without that of others who had the core meanwhile.
    """

    def often(call: Call) -> int:
        call()
        once = min(timeit.repeat(call, timer=time.thread_time, number=3, repeat=3)) / 3
        return max(1, int(seconds / max(once, SHORTEST_SECONDS)))

    def timed(candidate: tuple[Call, int]) -> float:
        call, number = candidate
        return timeit.timeit(call, timer=time.thread_time, number=number) / number * 1e6

    return in_turn({name: (call, often(call)) for name, call in calls.items()}, timed, rounds)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that at least this share of them does not exceed.

    Raises:
        ValueError: there is none.
    """
    if not ordered:
        raise ValueError("no values")
    rank = -int(-(share * len(ordered)) // 1)  # rounded up: nearest-rank, which never tells less than was seen
    return ordered[max(0, rank - 1)]
