"""How it is measured: rounds of several candidates in turn, so that the machine's moods meet all of them alike."""

import statistics
import timeit
from collections.abc import Callable, Mapping
from typing import NamedTuple

Call = Callable[[], object]


class Figure(NamedTuple):
    """One measured figure.

    Attributes:
        median: Over all rounds.
        best: The best round.
        worst: The worst round.
    """

    median: float
    best: float
    worst: float


def figure(values: list[float], *, lower_is_better: bool = True) -> Figure:
    """Sum rounds up."""
    best, worst = (min(values), max(values)) if lower_is_better else (max(values), min(values))
    return Figure(statistics.median(values), best, worst)


def microseconds(calls: Mapping[str, Call], *, rounds: int = 25, seconds: float = 0.02) -> dict[str, Figure]:
    """Time calls in turn, round after round; microseconds per call."""
    numbers = {}
    for name, call in calls.items():
        call()
        once = min(timeit.repeat(call, number=10, repeat=5)) / 10
        numbers[name] = max(1, int(seconds / once))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(timeit.timeit(call, number=numbers[name]) / numbers[name] * 1e6)
    return {name: figure(values) for name, values in found.items()}
