"""The counts: decisions by gateway, result and reason, and how long they took. In memory, since the process began.

Labels are bounded by the configuration: gateways, doors, reasons. What a client sends is never one.
"""

import threading
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from extauthz.core import reasons
from extauthz.core.decision import Allow, Decision, Deny, Shadowed
from extauthz.core.policy import Gateway
from extauthz.telemetry.record import Record

Result = Literal["allow", "deny", "shadow"]

# Upper bounds of the histograms' buckets, in nanoseconds: from what a decision takes to what no proxy waits for.
BUCKETS_NS: Final = tuple(
    int(seconds * 1e9)
    for seconds in (
        *(5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4),
        *(1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 1.0),
    )
)
# No time is longer: 146 years.
_ENDLESS_NS: Final = (1 << 62) - 1


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
    """How long something took, by bucket.

    Attributes:
        counts: How many took no longer than each of BUCKETS_NS, and longer than the one before; the last, than all.
        sum_ns: How long all took together, in nanoseconds.
    """

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_NS) + 1)
        self.sum_ns = 0


class _Taken:
    """Counts times into a histogram. Guarded by whoever holds it.

    Most are of the bucket of the one before: these are put into it together.
    """

    __slots__ = ("_above", "_alike", "_bucket", "_counts", "_sum_ns", "_up_to")

    def __init__(self) -> None:
        self._counts: Final = [0] * (len(BUCKETS_NS) + 1)
        self._sum_ns = 0
        self._alike = 0  # of the present bucket, not yet in its count
        self._bucket = 0
        self._above, self._up_to = -1, BUCKETS_NS[0]

    def add(self, taken_ns: int) -> None:
        """Count a time, in nanoseconds."""
        self._sum_ns += taken_ns
        if not self._above < taken_ns <= self._up_to:
            self._go_to_bucket(taken_ns)
        self._alike += 1

    def histogram(self) -> Histogram:
        """Return what was counted."""
        self._put()
        made = Histogram()
        made.counts, made.sum_ns = self._counts[:], self._sum_ns
        return made

    def _put(self) -> None:
        self._counts[self._bucket] += self._alike
        self._alike = 0

    def _go_to_bucket(self, taken_ns: int) -> None:
        self._put()
        bucket = self._bucket
        while bucket and taken_ns <= BUCKETS_NS[bucket - 1]:
            bucket -= 1
        while bucket < len(BUCKETS_NS) and taken_ns > BUCKETS_NS[bucket]:
            bucket += 1
        self._bucket = bucket
        self._above = BUCKETS_NS[bucket - 1] if bucket else -1
        self._up_to = BUCKETS_NS[bucket] if bucket < len(BUCKETS_NS) else _ENDLESS_NS


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
MOST_UNCOUNTED: Final = 512


class _Times:
    """How long the decisions at a door took: deciding, and from bytes to bytes."""

    __slots__ = ("decision", "door")

    def __init__(self) -> None:
        self.decision: Final = _Taken()
        self.door: Final = _Taken()


class Tally:
    """Counts decisions. Exact, from any thread: what was counted before a reading began is in it.

    An allow that is recalled is only noted. It is added up by whoever wants to know, and before too much waits. All
    else is added up at once, for its request may be large, and would be held until then.
    """

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        # Added to without the lock: a list grows at its end, and loses what is at its beginning, in one step each.
        self._noted: Final[list[Record]] = []
        self._total = 0
        self._allows: Final[dict[str, int]] = {}  # by gateway
        self._denials: Final[dict[Outcome, int]] = {}
        self._refused: Final[dict[str, int]] = {}
        self._limited: Final[dict[str, int]] = {}
        self._times: Final[dict[str, _Times]] = {}

    @property
    def total(self) -> int:
        """All decisions so far."""
        with self._lock:
            self._add_up()
            return self._total

    def count(self, record: Record) -> None:
        """Count one decision."""
        if not record.decided.kept:
            with self._lock:
                self._add([record])
            return
        self._noted.append(record)
        if len(self._noted) >= MOST_UNCOUNTED:
            self.add_up()

    def add_up(self) -> None:
        """Add up what was noted; wanted now and then, so that no reading finds much of it."""
        with self._lock:
            self._add_up()

    def read(self) -> Counted:
        """Return all counts, of one moment."""
        with self._lock:
            self._add_up()
            allows = {Outcome(gateway, "allow", ""): count for gateway, count in self._allows.items()}
            return Counted(
                decisions=allows | self._denials,
                callers_refused=dict(self._refused),
                limited=dict(self._limited),
                decision={door: times.decision.histogram() for door, times in self._times.items()},
                door={door: times.door.histogram() for door, times in self._times.items()},
            )

    def _add_up(self) -> None:
        # What comes meanwhile is left for the next: a door that never rests holds nobody here.
        noted = self._noted[:]
        del self._noted[: len(noted)]
        self._add(noted)

    def _add(self, records: list[Record]) -> None:
        self._total += len(records)
        if not records:
            return
        door = records[0].decided.door
        times = self._times_at(door)
        # Many in a row come through one door to one gateway, whose allows are counted together.
        gateway: Gateway | None = None
        allows = 0
        for record in records:
            decided = record.decided
            if decided.door != door:
                door = decided.door
                times = self._times_at(door)
            times.decision.add(record.decision_ns)
            times.door.add(record.door_ns)
            decision = decided.decision
            if not isinstance(decision, Allow):
                self._add_denial(decision, door)
                continue
            if decision.gateway is not gateway:
                self._add_allows(gateway, allows)
                gateway, allows = decision.gateway, 0
            allows += 1
        self._add_allows(gateway, allows)

    def _add_allows(self, gateway: Gateway | None, count: int) -> None:
        if gateway is not None:
            self._allows[gateway.id] = self._allows.get(gateway.id, 0) + count

    def _add_denial(self, denied: Deny | Shadowed, door: str) -> None:
        outcome = outcome_of(denied)
        self._denials[outcome] = self._denials.get(outcome, 0) + 1
        if outcome.reason == reasons.CALLER_NOT_ALLOWED.code:
            self._refused[door] = self._refused.get(door, 0) + 1
        if is_limited(denied):
            self._limited[outcome.gateway] = self._limited.get(outcome.gateway, 0) + 1

    def _times_at(self, door: str) -> _Times:
        times = self._times.get(door)
        if times is None:
            times = self._times[door] = _Times()
        return times


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
