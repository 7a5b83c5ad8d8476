"""What one request shows: whether it was let in, whether the Gateway saw it, and what of it. Pure functions.

A Gateway that reports is one whose answer repeats the word that was sent with this very request, so that no cached
page and no other JSON is taken for a report.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from extauthz.gateway.arrivals import REPORT_KEY
from extauthz.gateway.checks import show
from extauthz.gateway.headers import canonical
from extauthz.gateway.refusal import CHALLENGE
from extauthz.probe.answers import Answer, Failure, Fault
from extauthz.probe.forgeries import Forged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOTHING: Final = Forged((), {})
"""For a request in which nothing is forged."""

_REFUSED: Final = frozenset({401, 403})
# In a 429 it says that extauthz denied this request too; without it anybody may have, before anything was decided.
_TOO_MANY: Final = "too_many_refusals"
_REASON: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_ERROR: Final = re.compile(rf'{CHALLENGE} error="([a-z_]{{1,50}})"')


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, and all that can be said of it."""

    outcome: Answer | Failure
    forged: Forged
    arrived: tuple[tuple[str, str], ...] | None
    """The headers that the Gateway got, in its own words; None if it did not say."""

    @property
    def status(self) -> int:
        """The answer's status; 0 if there was none."""
        return self.outcome.status if isinstance(self.outcome, Answer) else 0

    @property
    def let_in(self) -> bool:
        """Whether it was answered as who is allowed is answered; a WebSocket that is closed at once is not."""
        closed = isinstance(self.outcome, Answer) and self.outcome.close_code is not None
        return 200 <= self.status < 300 or (self.status == 101 and not closed)

    @property
    def reached(self) -> bool:
        """Whether the Gateway has seen it: it says so, let it in, or refused it in its own words."""
        return self.arrived is not None or self.let_in or self.status == 101 or self.stamp_refusal is not None

    @property
    def refused(self) -> bool:
        """Whether somebody refused it: by a status, a redirect to where one signs in, or a closed connection.

        A 5xx is no refusal: it may be a Gateway that is down, behind a proxy that lets everything through.
        """
        if isinstance(self.outcome, Failure):
            return self.outcome.fault in {Fault.CLOSED, Fault.NO_HTTP}
        if self.status == 429:
            return self.reason == _TOO_MANY
        return not self.let_in and self.status < 500

    @property
    def denied(self) -> bool:
        """Whether it was refused as it should be: 401, 403, the way to sign in, or extauthz's 429 after many."""
        return self.status in _REFUSED or 300 <= self.status < 400 or (self.status == 429 and self.reason == _TOO_MANY)

    @property
    def reason(self) -> str | None:
        """The reason that extauthz gives."""
        return next((one for one in self._values("x-authz-reason") if _REASON.fullmatch(one)), None)

    @property
    def stamp_refusal(self) -> str | None:
        """The reason for which the Gateway's own verifier refused the stamp."""
        found = (_ERROR.match(one) for one in self._values("www-authenticate"))
        return next((match[1] for match in found if match is not None), None)

    def times(self, name: str) -> int:
        """Return how often a header arrived."""
        return sum(key.lower() == name for key, _ in self.arrived or ())

    def values_of(self, name: str) -> list[str]:
        """Return the values with which a header arrived."""
        return [value for key, value in self.arrived or () if key.lower() == name]

    def _values(self, name: str) -> list[str]:
        return self.outcome.values(name) if isinstance(self.outcome, Answer) else []

    def __str__(self) -> str:
        """Say in a few words what became of it; nothing that was sent is in them."""
        if isinstance(self.outcome, Failure):
            return show(str(self.outcome))
        if self.outcome.close_code is not None:
            return f"101, closed with {self.outcome.close_code}"
        said = self.reason or self.stamp_refusal
        return f"{self.status} {said}" if said else str(self.status)


def see(outcome: Answer | Failure, word: str, forged: Forged = NOTHING) -> Seen:
    """Return what an answer shows to a request that was sent with this word."""
    return Seen(outcome, forged, _report(outcome, word) if isinstance(outcome, Answer) else None)


def _report(answer: Answer, word: str) -> tuple[tuple[str, str], ...] | None:
    if answer.cut or not answer.body.lstrip().startswith(b"{"):
        return None
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    report = said.get(REPORT_KEY)
    if not isinstance(report, dict) or report.get("probe") != word or not isinstance(report.get("headers"), list):
        return None
    pairs = [tuple(pair) if isinstance(pair, list) else () for pair in report["headers"]]
    if not all(len(pair) == 2 and all(isinstance(one, str) for one in pair) for pair in pairs):
        return None
    return tuple((name, value) for name, value in pairs)


def passages(seen: Seen) -> Iterator[str]:
    """Name what forged headers have reached the Gateway: by their marks in its report, or in the page of who got in."""
    if seen.arrived is None:
        body = seen.outcome.body if isinstance(seen.outcome, Answer) and seen.let_in else b""
        yield from (f"{name} arrives" for mark, name in seen.forged.marks.items() if mark.encode() in body)
        return
    for mark, name in seen.forged.marks.items():
        for arrived, value in seen.arrived:
            if mark in value and not _is_appended_to(arrived, mark, seen):
                yield f"{name} arrives" if arrived.lower() == name else f"{name} arrives as {show(arrived)}"


def _is_appended_to(name: str, mark: str, seen: Seen) -> bool:
    """Whether this is X-Forwarded-For with a proxy's own entry after the forged one, as such a chain grows."""
    if name.lower() != "x-forwarded-for":
        return False
    entries = [one.strip() for one in ",".join(seen.values_of("x-forwarded-for")).split(",")]
    return mark in entries and mark not in entries[-1]


def chained(seen: Seen) -> bool:
    """Whether a forged entry has arrived in X-Forwarded-For, left of a proxy's own."""
    return any(
        mark in value and _is_appended_to(name, mark, seen)
        for mark in seen.forged.marks
        for name, value in seen.arrived or ()
    )


def differences(seen: Seen, before: Seen, protected: Iterable[str]) -> Iterator[str]:
    """Name what of the protected headers arrived otherwise than without forgery: more, less, under another name."""
    if seen.arrived is None or before.arrived is None:
        return
    names = frozenset(protected)
    for name in sorted(names):
        now, then = seen.times(name), before.times(name)
        if now > then:
            yield f"{name} arrives {now} times instead of {then}"
        elif now < then:
            yield f"{name} is dropped"
    forms = {canonical(name) for name in names}
    known = {name.lower() for name, _ in before.arrived}
    for arrived, _ in seen.arrived:
        if canonical(arrived) in forms and arrived.lower() not in names | known:
            yield f"{canonical(arrived)} arrives as {show(arrived)}"
    bidden = {one.strip().lower() for one in ",".join(seen.values_of("connection")).split(",")}
    yield from (f"Connection still names {name}" for name in sorted(bidden & names))
