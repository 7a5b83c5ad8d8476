"""The last decisions, kept in memory for the console; who was denied most; how the counts grew. Bounded in all."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from extauthz.core.decision import Allow, Shadowed
from extauthz.core.text import fold, trim
from extauthz.telemetry.frequent import FrequentTexts
from extauthz.telemetry.history import History
from extauthz.telemetry.lines import DecisionLine, LineMaker
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Counted, Outcome, outcome_of

if TYPE_CHECKING:
    from extauthz.core.policy import Policy

# Decisions that are kept, and the memory that their requests may hold (Record.size): a usual one holds 5 KB at most.
MOST_KEPT: Final = 500
MOST_KEPT_BYTES: Final = 4_194_304
# Decisions that are given at once.
MOST_GIVEN: Final = 200

# Wanted: every denial, enforced or not.
DENIED: Final = "denied"


class Filter(NamedTuple):
    """Which decisions are wanted; None is any.

    Attributes:
        gateway: The gateway's id; "" for those that reached none.
        result: allow, deny or shadow; DENIED for both of the latter.
        reason: The reason's code, or its beginning.
    """

    gateway: str | None = None
    result: str | None = None
    reason: str | None = None

    def wants(self, outcome: Outcome) -> bool:
        """Tell whether decisions with this outcome are wanted."""
        return (
            (self.gateway is None or outcome.gateway == self.gateway)
            and (
                self.result is None or outcome.result == self.result or (self.result == DENIED and outcome.reason != "")
            )
            and (self.reason is None or outcome.reason.startswith(self.reason))
        )


class Given(NamedTuple):
    """Decisions as they are shown.

    Attributes:
        last: The number of the last decision there is, to ask for what comes after it.
        decisions: The newest that are wanted, newest first: each its number and the line of the decision log.
        missed: There were more that are wanted; they are gone, or over MOST_GIVEN.
    """

    last: int
    decisions: list[tuple[int, DecisionLine]]
    missed: bool


class _Told:
    """One decision of which the line is made: the request and its policy are let go of."""

    __slots__ = ("line", "outcome", "size")

    def __init__(self, record: Record, line: DecisionLine) -> None:
        self.size: Final = record.size
        self.outcome: Final = outcome_of(record.decided.decision)
        self.line: Final = line


# One decision, as it came until somebody wants to see it.
_Kept = Record | _Told


class Recent:
    """Looks on and remembers: a `telemetry.Sink`.

    Attributes:
        history: How the counts grew.
        denied_peers: The peers denied most often; where a peer could not be told, who asked.
        denied_users: The users denied most often, as a trusted proxy named them.
    """

    def __init__(
        self,
        read: Callable[[], Counted],
        redact: Callable[[], Collection[str]],
        *,
        clock: Callable[[], float] = time.time,
        most: int = MOST_KEPT,
    ) -> None:
        """Begin with nothing.

        Args:
            read: Returns the counts of this moment.
            redact: Returns the names of the headers whose values are not shown.
            clock: Unix seconds.
            most: Decisions that are kept.
        """
        self.history: Final = History(read)
        self.denied_peers: Final = FrequentTexts(clock)
        self.denied_users: Final = FrequentTexts(clock)
        self._redact: Final = redact
        self._clock: Final = clock
        self._most: Final = most
        self._kept: Final[list[_Kept]] = []  # the last of them has the number `_number`
        self._bytes = 0
        self._number = 0
        self._policy: Policy | None = None
        self._lock: Final = threading.Lock()
        self._making: Final = threading.Lock()  # of lines; never taken within the other
        self._maker: LineMaker | None = None
        self._made_with: set[str] = set()

    def take(self, records: list[Record]) -> None:
        """Remember these, and forget the oldest for them."""
        if records:
            self._keep_all(records)
            self._count_denied(records)
        self.history.sample(self._clock())

    def _keep_all(self, records: list[Record]) -> None:
        begin = 0
        for position, record in enumerate(records):
            policy = record.decided.policy
            if policy is not self._policy:
                self._keep(records[begin:position])
                begin = position
                self._let_go_of_policies()
                self._policy = policy
        self._keep(records[begin:])

    def _keep(self, alike: list[Record]) -> None:
        """Keep decisions of one policy."""
        size = 0
        for record in alike:
            size += record.size
        with self._lock:
            kept = self._kept
            kept += alike
            self._number += len(alike)
            self._bytes += size
            gone = max(0, len(kept) - self._most)
            forgotten = 0
            for one in kept[:gone]:
                forgotten += one.size
            while self._bytes - forgotten > MOST_KEPT_BYTES and gone < len(kept) - 1:
                forgotten += kept[gone].size
                gone += 1
            self._bytes -= forgotten
            del kept[:gone]

    def close(self) -> None:
        """Nothing is left to be written."""

    def after(self, number: int, wanted: Filter, most: int = MOST_GIVEN) -> Given:
        """Return the decisions after this one, the newest first.

        Args:
            number: The `last` of an earlier answer; 0 for all that are kept.
            wanted: Which.
            most: How many at most.
        """
        with self._lock:
            last = self._number
            first = last - len(self._kept) + 1
            newer = [
                found
                for found in enumerate(self._kept, first)
                if found[0] > number and wanted.wants(_outcome_of(found[1]))
            ]
        shown = newer[::-1][:most]
        return Given(last, self._lines(shown), len(newer) > most or (0 < number < first - 1))

    def _let_go_of_policies(self) -> None:
        # A policy may be large, and a decision kept for long would keep it: after a reload only the lines are kept.
        with self._lock:
            kept = list(enumerate(self._kept, self._number - len(self._kept) + 1))
        self._lines(kept)
        with self._making:
            self._maker = None  # it remembers the policy whose lines it made last

    def _lines(self, wanted: Sequence[tuple[int, _Kept]]) -> list[tuple[int, DecisionLine]]:
        """Return the lines of decisions, by number; each is made once, and kept in the place of its record."""
        with self._making:
            redact, maker = set(self._redact()), self._maker
            if maker is None or redact != self._made_with:
                maker, self._made_with = LineMaker(redact), redact
                self._maker = maker
            lines = []
            for number, one in wanted:
                with self._lock:
                    at = self._at(number)
                    found = self._kept[at] if at >= 0 else one
                told = found if isinstance(found, _Told) else _Told(found, maker.line(found))
                with self._lock:
                    at = self._at(number)
                    if at >= 0:
                        self._kept[at] = told
                lines.append((number, told.line))
        return lines

    def _at(self, number: int) -> int:
        """Return where a decision stands among those that are kept; below 0 if it is gone."""
        return number - self._number + len(self._kept) - 1

    def _count_denied(self, records: list[Record]) -> None:
        denied = [record for record in records if not isinstance(record.decided.decision, Allow)]
        if not denied:
            return
        hidden = {fold(trim(name)) for name in self._redact()}
        for record in denied:
            decision = record.decided.decision
            denial = decision.denial if isinstance(decision, Shadowed) else decision
            peer = str(denial.peer) if denial.peer is not None else record.request.source or str(record.request.caller)
            self.denied_peers.add(peer)
            if denial.user and denial.gateway is not None and denial.gateway.user_header not in hidden:
                self.denied_users.add(denial.user)


def _outcome_of(kept: _Kept) -> Outcome:
    return kept.outcome if isinstance(kept, _Told) else outcome_of(kept.decided.decision)
