"""Figures in words, for tables and the page: rounded to the side that flatters less, never to more than was seen."""

import math

from bench.measuring import Figure
from bench.results import MORE_IS_BETTER, Compared, Line, Target, Unit

DIGITS = 3
"""Significant digits: more than the noise of any machine allows."""


def number(value: float, *, upwards: bool) -> str:
    """Return a number with three significant digits at most, rounded up or down."""
    if value == 0:
        return "0"
    places = DIGITS - 1 - math.floor(math.log10(abs(value)))
    # What a float cannot hold exactly is no reason to round a whole step away.
    scaled = round(value * 10**places, 6)
    rounded = (math.ceil(scaled) if upwards else math.floor(scaled)) / 10**places
    return f"{rounded:,.{max(0, min(places, 4))}f}"


def quantity(value: float, unit: Unit) -> str:
    """Return a figure with its unit, rounded down where more is better, up where less is."""
    if unit == "x":
        return f"{number(value, upwards=False)} x"
    return f"{number(value, upwards=unit not in MORE_IS_BETTER)} {unit}"


def spread(figure: Figure, unit: Unit) -> str:
    """Return the least and the most of the rounds: never narrower than it was."""
    sign = " x" if unit == "x" else f" {unit}"
    return f"{number(figure.least, upwards=False)} to {number(figure.most, upwards=True)}{sign}"


def _multiple(value: float, target: Target | None) -> str:
    """Return a ratio; as a percentage below two, where a share is easier to read."""
    upwards = target is not None and target.at_most is not None
    return f"{number(value * 100, upwards=upwards)} %" if value < 2 else f"{number(value, upwards=upwards)} times"


def compared(one: Compared) -> str:
    """Return a comparison in words."""
    if one.unit == "x":
        return f"{_multiple(one.figure.median, one.target)} of {one.to}"
    sign = "+" if one.figure.median >= 0 else ""
    return f"{sign}{number(one.figure.median, upwards=True)} {one.unit} over {one.to}"


def targets(line: Line) -> list[tuple[str, bool]]:
    """Return every target of a line in words, and whether it is met."""
    found = []
    if line.target is not None:
        found.append((_bound(line.target, line.unit), line.target.is_met(line.figure)))
    for one in line.compared:
        if one.target is not None:
            what = _bound(one.target, one.unit)
            found.append((what if len(line.compared) == 1 else f"{what} of {one.to}", one.target.is_met(one.figure)))
    return found


def _bound(target: Target, unit: Unit) -> str:
    least = target.at_least is not None
    value = target.at_least if target.at_least is not None else target.at_most or 0.0
    worded = f"{value:g} {unit}" if unit != "x" else f"{value * 100:g} %" if value < 2 else f"{value:g} times"
    return f"at least {worded}" if least else f"at most {worded}"
