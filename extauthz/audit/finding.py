"""What the audit says, and what a check is. Data: nothing here looks at a configuration."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

SHOWN_CHARACTERS: Final = 80
"""Of one value of the file that a finding shows."""
SHOWN_PLACES: Final = 5
"""Places that one finding names; of more, the number is told."""

View = TypeVar("View")


class Severity(StrEnum):
    """How bad a finding is."""

    INFO = "info"
    WARN = "warn"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """A number that grows with the severity."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Who saw a finding and accepted it.

    Attributes:
        by: Who.
        because: Why.
    """

    by: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that somebody should know about a configuration.

    Attributes:
        id: What kind of thing: public, and never changed, since dashboards and `accepted` name it.
        severity: How bad it is. An acceptance does not change it.
        gateway: The gateway that it is about; None for the service.
        title: What it is, in few words; the same for every finding of this id.
        seen: What was seen, with the place in the file. Never a secret.
        do: What to do about it.
        accepted: Who accepted it, and why; None where nobody did.
    """

    id: str
    severity: Severity
    gateway: str | None
    title: str
    seen: str
    do: str
    accepted: Acceptance | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the finding as `audit --format json` has it; `accepted` only where somebody did."""
        found: dict[str, Any] = {
            "id": self.id,
            "severity": self.severity.value,
            "gateway": self.gateway,
            "title": self.title,
            "seen": self.seen,
            "do": self.do,
        }
        if self.accepted is not None:
            found["accepted"] = {"by": self.accepted.by, "because": self.accepted.because}
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Check(Generic[View]):
    """One kind of finding, and how it is found.

    Attributes:
        id: As in the finding.
        severity: As in the finding.
        title: As in the finding.
        do: As in the finding.
        look: Returns what was seen, a text for each place; nothing where all is well.
        lesser: Where this holds, the finding is a warning and not critical.
        openclaw: Only an openclaw.json can have it: extauthz.yaml has no such key, or is refused with it.
    """

    id: str
    severity: Severity
    title: str
    do: str
    look: Callable[[View], Iterable[str]]
    lesser: Callable[[View], bool] | None = None
    openclaw: bool = False

    def find(self, view: View, gateway: str | None) -> Finding | None:
        """Look, and return the one finding there is, however many places it has."""
        places = list(self.look(view))
        if not places:
            return None
        more = len(places) - SHOWN_PLACES
        seen = "; ".join(places[:SHOWN_PLACES]) + (f"; and {more} more" if more > 0 else "")
        lesser = self.lesser is not None and self.lesser(view)
        return Finding(
            id=self.id,
            severity=Severity.WARN if lesser else self.severity,
            gateway=gateway,
            title=self.title,
            seen=seen,
            do=self.do,
        )


def quoted(text: str) -> str:
    """Return a value of the file for a message: short, and nothing in it that a terminal would obey."""
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return repr(shown)
