"""The last decisions, kept in memory for the console; who was denied most; how the counts grew. Bounded in all."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from extauthz.core.decision import Allow, Decision, Deny, Shadowed
from extauthz.core.policy import Policy
from extauthz.core.text import fold, trim
from extauthz.telemetry.frequent import FrequentTexts
from extauthz.telemetry.history import History
from extauthz.telemetry.lines import DecisionLine, LineMaker
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Counted, Outcome, outcome_of

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


class _Kept:
    """One decision, as it came until somebody wants to see it."""

    __slots__ = ("_line", "_outcome", "_record", "number", "size")

    def __init__(self, number: int, record: Record) -> None:
        self.number = number
        self.size = record.size
        self._record: Record | None = record
        self._outcome: Outcome | None = None
        self._line: DecisionLine | None = None

    @property
    def outcome(self) -> Outcome:
        """What the decision is counted as."""
        record = self._record  # first: it is let go of when the outcome is there
        if record is not None:
            return outcome_of(record.decided.decision)
        if self._outcome is None:
            raise AssertionError("a decision has its record or its outcome")
        return self._outcome

    def line(self, maker: LineMaker) -> DecisionLine:
        """Return the decision log's line, made once: after that the request and its policy are let go of."""
        if self._record is not None:
            self._outcome = outcome_of(self._record.decided.decision)
            self._line, self._record = maker.line(self._record), None
        if self._line is None:
            raise AssertionError("a decision has its record or its line")
        return self._line


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
        self._kept: Final[deque[_Kept]] = deque()
        self._bytes = 0
        self._number = 0
        self._policy: Policy | None = None
        self._lock: Final = threading.Lock()
        self._making: Final = threading.Lock()  # of lines; never taken within the other
        self._maker: LineMaker | None = None
        self._made_with: set[str] = set()

    def take(self, records: Sequence[Record]) -> None:
        """Remember these, and forget the oldest for them."""
        hidden = {fold(trim(name)) for name in self._redact()} if records else set()
        for policy, alike in groupby(records, _policy_of):
            if policy is not self._policy:
                self._let_go_of_policies()
                self._policy = policy
            with self._lock:
                for record in alike:
                    self._keep(record)
        for record in records:
            if not isinstance(record.decided.decision, Allow):
                self._count_denied(record, hidden)
        self.history.sample(self._clock())

    def _keep(self, record: Record) -> None:
        self._number += 1
        kept = _Kept(self._number, record)
        self._kept.append(kept)
        self._bytes += kept.size
        while len(self._kept) > self._most or (self._bytes > MOST_KEPT_BYTES and len(self._kept) > 1):
            self._bytes -= self._kept.popleft().size

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
            gone = self._kept[0].number - 1 if self._kept else last
            newer = [kept for kept in self._kept if kept.number > number and wanted.wants(kept.outcome)]
        shown = newer[::-1][:most]
        lines = zip((kept.number for kept in shown), self._lines(shown), strict=True)
        return Given(last, list(lines), len(newer) > most or (0 < number < gone))

    def _let_go_of_policies(self) -> None:
        # A policy may be large, and a decision kept for long would keep it: after a reload only the lines are kept.
        self._lines(self._kept)
        with self._making:
            self._maker = None  # it remembers the policy whose lines it made last

    def _lines(self, kept: Iterable[_Kept]) -> list[DecisionLine]:
        with self._making:
            redact, maker = set(self._redact()), self._maker
            if maker is None or redact != self._made_with:
                maker, self._made_with = LineMaker(redact), redact
                self._maker = maker
            return [one.line(maker) for one in kept]

    def _count_denied(self, record: Record, hidden: Collection[str]) -> None:
        denial = _denial(record.decided.decision)
        if denial is None:
            return
        peer = str(denial.peer) if denial.peer is not None else record.request.source or str(record.request.caller)
        self.denied_peers.add(peer)
        if denial.user and denial.gateway is not None and denial.gateway.user_header not in hidden:
            self.denied_users.add(denial.user)


def _policy_of(record: Record) -> Policy:
    return record.decided.policy


def _denial(decision: Decision) -> Deny | None:
    if isinstance(decision, Allow):
        return None
    return decision.denial if isinstance(decision, Shadowed) else decision
