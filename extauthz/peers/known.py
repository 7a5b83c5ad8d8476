"""What is known of one name as time goes by: the last good answers, until when they count, and what went wrong.

Times are given by whoever calls: monotonic seconds to reckon with, Unix seconds to show. For one thread
at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from extauthz.core.address import Address
from extauthz.peers.answers import Answer, Kind, LookupFailedError, RefusedAnswerError

# How a question can end, as it is counted.
RESULTS: Final = ("answered", "absent", "failed", "refused")
# Whom a change left a name with.
CHANGES: Final = ("somebody", "nobody")
# So often in a row a server must say that a name has no address before the last ones are given up: a name server that
# was just started does not know all of its names yet. The second question comes after the shortest time between two.
ABSENT_TIMES: Final = 2

Outcome = Answer | LookupFailedError


class Moment(NamedTuple):
    """One moment on both clocks.

    Attributes:
        ticks: Seconds of a clock that is never set.
        time: Unix seconds.
    """

    ticks: float
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long answers count, in seconds.

    Attributes:
        min_ttl: A name is asked about again after this at the soonest.
        max_ttl: And after this at the latest.
        keep: How long the last good answer counts after its TTL, where none comes.
    """

    min_ttl: float
    max_ttl: float
    keep: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """What is known of one name at one moment.

    Attributes:
        name: The name.
        asked: It was asked about at least once.
        addresses: Whom it stands for, sorted; nobody if empty.
        answered: When the last good answer came, in Unix seconds; None if none came.
        lapses: Seconds until the addresses count no longer, if no good answer comes; None where there are none.
        fault: Why the last question about it brought no addresses; "" if it did.
        refused: That was an answer that is not believed.
        results: How the questions ended, by `RESULTS`.
        changes: How often what is in force changed, by `CHANGES`: whom that left the name with.
    """

    name: str
    asked: bool
    addresses: tuple[Address, ...]
    answered: float | None
    lapses: float | None
    fault: str
    refused: bool
    results: Mapping[str, int]
    changes: Mapping[str, int] = field(default_factory=dict)


class _Records:
    """The addresses of one kind."""

    def __init__(self) -> None:
        self.addresses: frozenset[Address] = frozenset()
        self.lapses = 0.0
        self.answered: float | None = None
        self.absent = 0
        self.absence = ""
        self.fault: LookupFailedError | None = None

    def at(self, ticks: float) -> frozenset[Address]:
        return self.addresses if ticks < self.lapses else frozenset()


class KnownName:
    """One name.

    Attributes:
        name: The name.
        due: When it is to be asked about again, on the clock that is never set.
        asked: It was asked about at least once.
    """

    def __init__(self, name: str, due: float) -> None:
        self.name: Final = name
        self.due = due
        self.asked = False
        self._kinds: Final = {kind: _Records() for kind in Kind}
        self._results: Final = dict.fromkeys(RESULTS, 0)

    def take(self, outcomes: Mapping[Kind, Outcome], bounds: Bounds, now: Moment) -> None:
        """Take what came of asking for every kind."""
        self.asked = True
        waits = [self._take(self._kinds[kind], outcomes[kind], bounds, now) for kind in Kind]
        # What has no address is asked about soon: it may just be started again.
        self.due = now.ticks + min((wait for wait in waits if wait is not None), default=bounds.min_ttl)

    def _take(self, records: _Records, outcome: Outcome, bounds: Bounds, now: Moment) -> float | None:
        """Take one outcome, and return after how many seconds to ask again; None where there is none of this kind."""
        if isinstance(outcome, LookupFailedError):
            self._results["refused" if isinstance(outcome, RefusedAnswerError) else "failed"] += 1
            records.fault = outcome
            records.absent = 0
            return bounds.min_ttl
        self._results["answered" if outcome.addresses else "absent"] += 1
        records.fault = None
        records.absence = outcome.absence
        records.absent = 0 if outcome.addresses else records.absent + 1
        if records.at(now.ticks) and records.absent and records.absent < ABSENT_TIMES:
            return bounds.min_ttl
        records.addresses = outcome.addresses
        if not outcome.addresses:
            return None
        ttl = min(max(outcome.ttl, bounds.min_ttl), bounds.max_ttl)
        records.answered = now.time
        records.lapses = now.ticks + ttl + bounds.keep
        return ttl

    def status(self, now: Moment) -> PeerStatus:
        """Return what is known at this moment."""
        kinds = self._kinds
        holding = [records for records in kinds.values() if records.at(now.ticks)]
        addresses = frozenset[Address]().union(*(records.addresses for records in holding))
        times = [records.answered for records in kinds.values() if records.answered is not None]
        faults = {kind: records.fault for kind, records in kinds.items() if records.fault is not None}
        return PeerStatus(
            name=self.name,
            asked=self.asked,
            addresses=tuple(sorted(addresses)),
            answered=max(times, default=None),
            lapses=min((records.lapses - now.ticks for records in holding), default=None),
            fault=self._fault({kind: str(fault) for kind, fault in faults.items()}),
            refused=any(isinstance(fault, RefusedAnswerError) for fault in faults.values()),
            results=dict(self._results),
        )

    def _fault(self, faults: Mapping[Kind, str]) -> str:
        if not self.asked:
            return "not asked yet"
        if len(faults) == len(Kind) and len(set(faults.values())) == 1:
            return next(iter(faults.values()))
        if faults:
            return "; ".join(f"{kind.value}: {fault}" for kind, fault in faults.items())
        # Most names have addresses of one kind: that the other has none is no fault, unless one of them had some.
        absences = {records.absence for records in self._kinds.values() if records.absence}
        if all(records.absent for records in self._kinds.values()):
            return "; ".join(sorted(absences))
        return ""
