"""What was measured, as data: the one form from which the table, the JSON file, the plots and the page are made."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from bench.measuring import Figure

Unit = Literal["/s", "µs", "ms", "s", "MB", "x"]

MORE_IS_BETTER: frozenset[Unit] = frozenset({"/s", "x"})


@dataclass(frozen=True)
class Target:
    """What a median is held against; one bound of the two is set."""

    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, figure: Figure) -> bool:
        """Tell whether the median, as measured and not as printed, keeps the bound."""
        if self.at_least is not None and figure.median < self.at_least:
            return False
        return self.at_most is None or figure.median <= self.at_most


@dataclass(frozen=True)
class Compared:
    """One figure beside another of the same run, round by round."""

    to: str
    """What it is compared to, as it is called in the tables."""
    figure: Figure
    unit: Unit = "x"
    """`x`: a multiple of the other; else by how much it is above the other."""
    target: Target | None = None


@dataclass(frozen=True)
class Line:
    """One line of a table."""

    name: str
    unit: Unit
    figure: Figure
    target: Target | None = None
    compared: tuple[Compared, ...] = ()
    tags: dict[str, str | float] = field(default_factory=dict)
    """For the plots: what the name says, apart."""


@dataclass(frozen=True)
class Section:
    """One part of a run."""

    key: str
    title: str
    how: str
    """How it was measured, in a few sentences for who reads the figures."""
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    """What happened in this run: decisions that were not logged, parts that could not be measured."""


@dataclass(frozen=True)
class Report:
    """One run."""

    machine: dict[str, str]
    noise: dict[str, str]
    plan: str
    took_seconds: float
    sections: tuple[Section, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the run as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """Read what `to_data` returned, after JSON."""
        return cls(**{**data, "sections": tuple(map(section_of, data["sections"]))})

    def section(self, key: str) -> Section | None:
        """Return a part of the run, if it was measured."""
        return next((section for section in self.sections if section.key == key and section.lines), None)


def section_of(data: dict[str, Any]) -> Section:
    """Read a part of a run, after JSON."""
    return Section(**{**data, "lines": tuple(map(_line, data["lines"])), "notes": tuple(data["notes"])})


def _line(data: dict[str, Any]) -> Line:
    compared = tuple(
        Compared(**{**one, "figure": Figure(*one["figure"]), "target": _target(one["target"])})
        for one in data["compared"]
    )
    return Line(**{**data, "figure": Figure(*data["figure"]), "target": _target(data["target"]), "compared": compared})


def _target(data: dict[str, Any] | None) -> Target | None:
    return None if data is None else Target(**data)
