"""The counts: decisions by gateway, result and reason, and how long they took. In memory, since the process began.

Labels are bounded by the configuration: gateways, doors, reasons. What a client sends is never one.
"""

import threading
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from extauthz.core import reasons
from extauthz.core.decision import Allow, Decision, Deny

Result = Literal["allow", "deny", "shadow"]

# Upper bounds of the histograms' buckets, in nanoseconds: from what a decision takes to what no proxy waits for.
BUCKETS_NS: Final = tuple(
    int(seconds * 1e9)
    for seconds in (
        *(5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4),
        *(1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 1.0),
    )
)


class Outcome(NamedTuple):
    """What decisions are counted by.

    Attributes:
        gateway: The gateway's id; "" where the request reached none.
        result: allow, deny, or shadow: a denial that shadow mode did not enforce.
        reason: The reason's code; "" for an allow.
    """

    gateway: str
    result: Result
    reason: str


class Histogram:
    """How long something took, by bucket. Guarded by whoever holds it."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_NS) + 1)
        self.sum_ns = 0

    def add(self, taken: list[int]) -> None:
        """Count these times, in nanoseconds; the list is sorted by it."""
        taken.sort()
        self.sum_ns += sum(taken)
        below = 0
        for bucket, bound in enumerate(BUCKETS_NS):
            up_to = bisect_right(taken, bound, below)
            self.counts[bucket] += up_to - below
            below = up_to
        self.counts[-1] += len(taken) - below

    def copy(self) -> "Histogram":
        """Return a copy that does not change any more."""
        copied = Histogram()
        copied.counts, copied.sum_ns = self.counts[:], self.sum_ns
        return copied


@dataclass(frozen=True, slots=True)
class Counted:
    """All counts of one moment.

    Attributes:
        decisions: How many, by outcome.
        callers_refused: How many of them were `caller_not_allowed`, by door.
        limited: How many denials were told as too many, by gateway; "" where the request reached none.
        decision: How long deciding took, by door.
        door: How long it took from bytes to bytes, by door.
    """

    decisions: dict[Outcome, int]
    callers_refused: dict[str, int]
    limited: dict[str, int]
    decision: dict[str, Histogram]
    door: dict[str, Histogram]


# Decisions that may wait to be added up; whoever makes one more adds them up first.
MOST_UNCOUNTED: Final = 4096

# A decision, the door it came through, and its two times in nanoseconds.
_Uncounted = tuple[Decision, str, int, int]


class Tally:
    """Counts decisions. Exact, from any thread: what was counted before a reading began is in it.

    A door only notes what is to be counted. It is added up by whoever wants to know, and before too much waits.
    """

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._uncounted: Final[deque[_Uncounted]] = deque()
        self._total = 0
        self._decisions: Final[dict[Outcome, int]] = {}
        self._refused: Final[dict[str, int]] = {}
        self._limited: Final[dict[str, int]] = {}
        self._times: Final[dict[str, tuple[Histogram, Histogram]]] = {}

    @property
    def total(self) -> int:
        """All decisions so far."""
        with self._lock:
            self._add_up()
            return self._total

    def count(self, decision: Decision, door: str, decision_ns: int, door_ns: int) -> None:
        """Count one decision; times in nanoseconds."""
        self._uncounted.append((decision, door, decision_ns, door_ns))
        if len(self._uncounted) >= MOST_UNCOUNTED:
            self.add_up()

    def add_up(self) -> None:
        """Add up what was noted; wanted now and then, so that no reading finds much of it."""
        with self._lock:
            self._add_up()

    def read(self) -> Counted:
        """Return all counts, of one moment."""
        with self._lock:
            self._add_up()
            return Counted(
                decisions=dict(self._decisions),
                callers_refused=dict(self._refused),
                limited=dict(self._limited),
                decision={door: times[0].copy() for door, times in self._times.items()},
                door={door: times[1].copy() for door, times in self._times.items()},
            )

    def _add_up(self) -> None:
        # What comes meanwhile is left for the next: a door that never rests holds nobody here.
        noted = [self._uncounted.popleft() for _ in range(len(self._uncounted))]
        self._total += len(noted)
        by_door: dict[str, tuple[list[int], list[int]]] = {}
        allows: dict[str, int] = {}
        for decision, door, decision_ns, door_ns in noted:
            if isinstance(decision, Allow):
                gateway = decision.gateway.id
                allows[gateway] = allows.get(gateway, 0) + 1
            else:
                self._add_denial(decision, door)
            times = by_door.get(door)
            if times is None:
                times = by_door[door] = ([], [])
            times[0].append(decision_ns)
            times[1].append(door_ns)
        for gateway, count in allows.items():
            outcome = Outcome(gateway, "allow", "")
            self._decisions[outcome] = self._decisions.get(outcome, 0) + count
        for door, both in by_door.items():
            for histogram, taken in zip(self._times.setdefault(door, (Histogram(), Histogram())), both, strict=True):
                histogram.add(taken)

    def _add_denial(self, decision: Decision, door: str) -> None:
        outcome = outcome_of(decision)
        self._decisions[outcome] = self._decisions.get(outcome, 0) + 1
        if outcome.reason == reasons.CALLER_NOT_ALLOWED.code:
            self._refused[door] = self._refused.get(door, 0) + 1
        if is_limited(decision):
            self._limited[outcome.gateway] = self._limited.get(outcome.gateway, 0) + 1


def outcome_of(decision: Decision) -> Outcome:
    """Return what a decision is counted as."""
    if isinstance(decision, Allow):
        return Outcome(decision.gateway.id, "allow", "")
    if isinstance(decision, Deny):
        return Outcome(decision.gateway.id if decision.gateway is not None else "", "deny", decision.reason.code)
    return Outcome(decision.gateway.id, "shadow", decision.denial.reason.code)


def is_limited(decision: Decision) -> bool:
    """Tell whether the client was told "too many" in the place of the reason."""
    return isinstance(decision, Deny) and decision.limited
