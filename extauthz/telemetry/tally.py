"""The counts: decisions by gateway, result and reason, and how long they took. In memory, since the process began.

Labels are bounded by the configuration: gateways, doors, reasons. What a client sends is never one.
"""

import threading
from bisect import bisect_left
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
        decision: How long deciding took, by door.
        door: How long it took from bytes to bytes, by door.
    """

    decisions: dict[Outcome, int]
    callers_refused: dict[str, int]
    decision: dict[str, Histogram]
    door: dict[str, Histogram]


class Tally:
    """Counts decisions. Exact, from any thread."""

    def __init__(self) -> None:
        self.total = 0
        """All decisions so far; may be read at any time."""
        self._lock: Final = threading.Lock()
        self._decisions: Final[dict[Outcome, int]] = {}
        self._refused: Final[dict[str, int]] = {}
        self._times: Final[dict[str, tuple[Histogram, Histogram]]] = {}

    def count(self, decision: Decision, door: str, decision_ns: int, door_ns: int) -> None:
        """Count one decision; times in nanoseconds."""
        outcome = outcome_of(decision)
        first = bisect_left(BUCKETS_NS, decision_ns)
        second = bisect_left(BUCKETS_NS, door_ns)
        with self._lock:
            self.total += 1
            self._decisions[outcome] = self._decisions.get(outcome, 0) + 1
            if outcome.reason == reasons.CALLER_NOT_ALLOWED.code:
                self._refused[door] = self._refused.get(door, 0) + 1
            times = self._times.get(door)
            if times is None:
                times = self._times[door] = (Histogram(), Histogram())
            times[0].counts[first] += 1
            times[0].sum_ns += decision_ns
            times[1].counts[second] += 1
            times[1].sum_ns += door_ns

    def read(self) -> Counted:
        """Return all counts, of one moment."""
        with self._lock:
            return Counted(
                decisions=dict(self._decisions),
                callers_refused=dict(self._refused),
                decision={door: times[0].copy() for door, times in self._times.items()},
                door={door: times[1].copy() for door, times in self._times.items()},
            )


def outcome_of(decision: Decision) -> Outcome:
    """Return what a decision is counted as."""
    if isinstance(decision, Allow):
        return Outcome(decision.gateway.id, "allow", "")
    if isinstance(decision, Deny):
        return Outcome(decision.gateway.id if decision.gateway is not None else "", "deny", decision.reason.code)
    return Outcome(decision.gateway.id, "shadow", decision.denial.reason.code)
