"""A decision log decided again under the present file: what would change, counted by gateway, reason and user.

Memory stays the same however long the log is: what is counted apart is bounded in number and in length, and the rest
is counted together.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from extauthz.core.decision import Allow, Decision, Shadowed
from extauthz.core.policy import Policy
from extauthz.explaining.asserted import UntoldError
from extauthz.explaining.decision_log import (
    Again,
    Logged,
    NoDecisionError,
    decide_again,
    read_decision,
)
from extauthz.explaining.lines import Line

Kind = Literal[
    "unchanged", "newly_denied", "newly_allowed", "newly_shadowed", "reason_changed", "user_changed", "untold"
]
"""What becomes of a line; `KINDS` says what each means."""

KINDS: Final[dict[Kind, str]] = {
    "newly_denied": "passed then, would be denied now",
    "newly_allowed": "denied then, or passed by shadow mode alone; would be allowed now",
    "newly_shadowed": "would be denied now, and passes without an identity, for the gateway is in shadow mode",
    "reason_changed": "denied then and now, for another reason",
    "user_changed": "allowed then and now, as another user",
    "untold": "the present file weighs what the log does not hold",
    "unchanged": "the same then and now",
}

MOST_COUNTED_APART: Final = 10_000
"""Gateways, users, reasons and causes that are counted one by one, of each; the rest is counted together."""
LONGEST_COUNTED_CHARACTERS: Final = 256
"""Longer names are cut before they are counted."""
MOST_FAULTS_KEPT: Final = 5
"""Lines that cannot be read of which number and cause are kept; the others are counted."""

K = TypeVar("K", bound=Hashable)


class Change(NamedTuple):
    """What became of a reason: None is an allow."""

    kind: Kind
    then: str | None
    now: str | None


class Counts(Generic[K]):
    """How often what happened, for a bounded number of keys.

    Attributes:
        rows: Counts by key.
        others: Of the keys for which there was no room.
    """

    def __init__(self, most: int = MOST_COUNTED_APART) -> None:
        self.rows: Final[dict[K, Counter[str]]] = {}
        self.others: Final[Counter[str]] = Counter()
        self._most: Final = most

    def add(self, key: K, what: str) -> None:
        """Count one more."""
        row = self.rows.get(key)
        if row is None:
            row = self.others if len(self.rows) >= self._most else self.rows.setdefault(key, Counter())
        row[what] += 1

    def top(self, number: int, whats: Iterable[str]) -> list[tuple[K, Counter[str]]]:
        """Return the keys with most of `whats`, the most first, then those with most of anything."""
        chosen = tuple(whats)

        def order(item: tuple[K, Counter[str]]) -> tuple[int, int, str]:
            key, row = item
            return -sum(row[what] for what in chosen), -row.total(), str(key)

        return sorted(self.rows.items(), key=order)[:number]


@dataclass(slots=True)
class Replay:
    """What came of a log so far.

    Attributes:
        lines: Lines read, without blank and unreadable ones.
        unreadable: Lines that could not be read.
        faults: The first of these: number and cause.
        kinds: Lines by what became of them.
        enforced: Lines that only shadow mode lets pass under the present file: what enforce would deny.
        by_gateway: All lines.
        by_reason: Those that change, and those that enforce would deny.
        by_user: The same.
        untold: Those that cannot be told, by cause.
        rests_on: Lines by what was taken to be as it was then.
    """

    lines: int = 0
    unreadable: int = 0
    faults: list[Line] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    enforced: int = 0
    by_gateway: Counts[str | None] = field(default_factory=Counts)
    by_reason: Counts[Change] = field(default_factory=Counts)
    enforced_by_reason: Counts[str | None] = field(default_factory=Counts)
    by_user: Counts[str | None] = field(default_factory=Counts)
    untold: Counts[str] = field(default_factory=Counts)
    rests_on: Counts[str] = field(default_factory=Counts)

    @property
    def changes(self) -> bool:
        """Whether anything changes, or cannot be told."""
        return self.lines != self.kinds["unchanged"]


ENFORCED: Final = "enforce_would_deny"


def replay(
    policy: Policy, lines: Iterable[Line], *, version: str | None = None, before: Policy | None = None
) -> Iterator[Replay]:
    """Decide a log again, and yield the same report after each line: complete when there are no more.

    Args:
        policy: The policy of the present file.
        lines: The log.
        version: The version of the present file: what that version decided is decided the same, whatever the log holds.
        before: As in `decide_again`.
    """
    report = Replay()
    for line in lines:
        read = _read(line)
        if isinstance(read, Line):
            report.unreadable += 1
            if len(report.faults) < MOST_FAULTS_KEPT:
                report.faults.append(read)
        else:
            _count(report, policy, read, before, same=version is not None and read.version == version)
        yield report


def _read(line: Line) -> Logged | Line:
    """Return what was logged, or the line with why it cannot be read, and without its content."""
    if line.data is None:
        return line
    try:
        return read_decision(line.data)
    except NoDecisionError as error:
        return Line(line.number, None, str(error))


def _count(report: Replay, policy: Policy, logged: Logged, before: Policy | None, *, same: bool) -> None:
    report.lines += 1
    again: Again | None = None
    try:
        again = decide_again(policy, logged, before)
    except UntoldError as error:
        if not same:
            report.untold.add(_cut(str(error)) or "", "lines")
    if again is None:
        kind: Kind = "unchanged" if same else "untold"
        now, user = logged.reason, logged.user
        enforced = same and logged.result == "shadow"
    else:
        kind = _kind(logged, again.decision)
        now, user = _reason(again.decision), logged.user or _user(again.decision)
        enforced = isinstance(again.decision, Shadowed)
        for what in () if same else again.rests_on:
            report.rests_on.add(_cut(what) or "", "lines")
    report.kinds[kind] += 1
    gateway, user = _cut(logged.gateway), _cut(user)
    report.by_gateway.add(gateway, kind)
    if kind not in {"unchanged", "untold"}:
        report.by_reason.add(Change(kind, _cut(logged.reason), _cut(now)), "lines")
    if kind != "unchanged":
        report.by_user.add(user, kind)
    if enforced:
        report.enforced += 1
        report.by_gateway.add(gateway, ENFORCED)
        report.by_user.add(user, ENFORCED)
        report.enforced_by_reason.add(_cut(now), "lines")


def _kind(logged: Logged, now: Decision) -> Kind:
    if isinstance(now, Allow):
        if logged.result != "allow":
            return "newly_allowed"
        return "unchanged" if logged.user in {None, now.user} else "user_changed"
    if isinstance(now, Shadowed):
        if logged.result != "shadow":
            return "newly_shadowed"
    elif logged.result != "deny":
        return "newly_denied"
    return "unchanged" if logged.reason == _reason(now) else "reason_changed"


def _reason(decision: Decision) -> str | None:
    if isinstance(decision, Allow):
        return None
    return (decision.denial if isinstance(decision, Shadowed) else decision).reason.code


def _user(decision: Decision) -> str | None:
    return (decision.denial.user if isinstance(decision, Shadowed) else decision.user) or None


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST_COUNTED_CHARACTERS:
        return text
    return text[:LONGEST_COUNTED_CHARACTERS] + "…"


def as_json(report: Replay, top: int) -> dict[str, Any]:
    """Return the report for machines; each list has its `top` first rows."""
    kinds: tuple[str, ...] = (*KINDS, ENFORCED)
    changing = [kind for kind in kinds if kind != "unchanged"]
    return {
        "lines": report.lines,
        "unreadable": {
            "lines": report.unreadable,
            "first": [{"line": line.number, "why": line.fault} for line in report.faults],
        },
        **{kind: report.kinds[kind] for kind in KINDS},
        ENFORCED: report.enforced,
        "by_gateway": [
            {"gateway": key, **{kind: row[kind] for kind in kinds}} for key, row in report.by_gateway.top(top, changing)
        ],
        "by_reason": [
            {"change": key.kind, "then": key.then, "now": key.now, "lines": row["lines"]}
            for key, row in report.by_reason.top(top, ["lines"])
        ],
        f"{ENFORCED}_by_reason": _lines(report.enforced_by_reason, "reason", top),
        "by_user": [
            {"user": key, **{kind: row[kind] for kind in changing}} for key, row in report.by_user.top(top, changing)
        ],
        "untold_because": _lines(report.untold, "why", top),
        "rests_on": _lines(report.rests_on, "what", top),
        "counted_together": {
            "gateways": dict(report.by_gateway.others),
            "reasons": report.by_reason.others["lines"],
            "users": dict(report.by_user.others),
        },
    }


def _lines(counts: Counts[Any], name: str, top: int) -> list[dict[str, Any]]:
    return [{name: key, "lines": row["lines"]} for key, row in counts.top(top, ["lines"])]
