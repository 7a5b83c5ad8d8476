"""Plots of a run, PNG. matplotlib is imported here alone, and only when plots are drawn."""

from __future__ import annotations

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.measuring import Figure
    from bench.results import Line, Report, Section

INK, GRID = "#333333", "#dddddd"
# Told apart by those who see colours differently, too (Okabe and Ito).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
FLOOR = "#999999"
DPI = 110
COLOURS = 48
WIDTH = 8.0


def draw(report: Report, folder: Path) -> list[Path]:
    """Draw what there is of a run; returns the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import

    mpl.use("Agg")
    style = {
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "font.size": 10,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
    }
    drawn: list[Path] = []
    with mpl.rc_context(style):
        for key, plot in PLOTS.items():
            section = report.section(key)
            if section is not None:
                drawn.append(_saved(plot(section), folder / f"{key}.png", report))
    return drawn


def _saved(figure: Any, file: Path, report: Report) -> Path:
    import matplotlib.pyplot as plt  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415 - which matplotlib needs itself

    told = f"{report.machine.get('processor', '')}; measured {report.machine.get('measured', '')}"
    figure.supxlabel(told, x=0.01, ha="left", fontsize=7, color=FLOOR)
    drawn = io.BytesIO()
    # No version in the file: the same figures are the same bytes.
    figure.savefig(drawn, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    # Few colours are enough, and a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(file, optimize=True)
    return file


def _bars(title: str, of: str) -> Callable[[Section], Any]:
    """Return a plot of one bar for each line: its median, and from the least to the most of the rounds."""

    def plot(section: Section) -> Any:
        import matplotlib.pyplot as plt  # noqa: PLC0415

        lines = list(reversed(section.lines))
        figure, axes = plt.subplots(layout="constrained", figsize=(WIDTH, 1.2 + 0.36 * len(lines)))
        floors = ["floor" in line.name or "alone" in line.name for line in lines]
        axes.barh(
            range(len(lines)),
            [line.figure.median for line in lines],
            xerr=_errors([line.figure for line in lines]),
            color=[FLOOR if is_floor else PALETTE[0] for is_floor in floors],
            error_kw={"ecolor": INK, "capsize": 3, "lw": 1},
            height=0.62,
        )
        axes.set_yticks(range(len(lines)), [textwrap.fill(line.name, 48) for line in lines], fontsize=8)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{of} (bar: median of the rounds; line: least to most)")
        axes.set_title(title, loc="left")
        axes.xaxis.label.set_size(8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return figure

    return plot


def _errors(figures: Sequence[Figure]) -> list[list[float]]:
    return [[one.median - one.least for one in figures], [one.most - one.median for one in figures]]


def _growth(section: Section) -> Any:
    """Each thing that grows is a line over its size; a band goes from the least to the most."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(layout="constrained", figsize=(WIDTH, 4.2))
    for number, thing in enumerate(dict.fromkeys(str(line.tags["thing"]) for line in section.lines)):
        lines = [line for line in section.lines if line.tags["thing"] == thing]
        _banded(axes, [float(line.tags["size"]) for line in lines], lines, thing, PALETTE[number % len(PALETTE)])
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_log_scale(axes, section.lines)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("how many")
    axes.set_ylabel("microseconds a request, bytes to bytes")
    axes.set_title("What grows, and what that costs", loc="left")
    axes.legend(fontsize=8)
    return figure


def _envoy(section: Section) -> Any:
    """The median and the 99th percentile over the rate, for each candidate, where each was measured."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    # At random moments, and before a floor, one rate alone is measured: these have no line.
    at_rates = [line for line in section.lines if line.tags["rate"] and line.tags["pace"] == "even"]
    rates: dict[str, set[float]] = {}
    for line in at_rates:
        rates.setdefault(str(line.tags["candidate"]), set()).add(float(line.tags["rate"]))
    everywhere = set.union(*rates.values())
    candidates = [candidate for candidate, found in rates.items() if found == everywhere]
    places = list(dict.fromkeys(str(line.tags["place"]) for line in at_rates))
    size = (WIDTH, 0.6 + 3.2 * len(places))
    figure, rows = plt.subplots(len(places), 2, layout="constrained", figsize=size, squeeze=False)
    for place, row in zip(places, rows, strict=True):
        for axes, (what, title) in zip(row, (("p50", "median (p50)"), ("p99", "99th percentile (p99)")), strict=True):
            for number, candidate in enumerate(candidates):
                wanted = (place, candidate, what)
                tags = ("place", "candidate", "what")
                lines = [line for line in at_rates if tuple(line.tags[tag] for tag in tags) == wanted]
                colour = FLOOR if number == 0 else PALETTE[number - 1]
                _banded(axes, [float(line.tags["rate"]) for line in lines], lines, candidate, colour)
            axes.set_xticks(sorted(everywhere))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_yscale("log")  # a server that does not keep up must not hide the others
            _plain_log_scale(axes, at_rates)
            axes.set_title(f"{place}: {title}", loc="left", fontsize=10)
        row[0].set_ylabel("milliseconds")
    for axes in rows[-1]:
        axes.set_xlabel("requests a second")
    rows[0][0].legend(fontsize=8)
    figure.suptitle(
        "Through Envoy: median of the rounds, and from the least to the most", x=0.01, ha="left", fontsize=11
    )
    return figure


def _plain_log_scale(axes: Any, lines: Sequence[Line]) -> None:
    """Let a logarithmic axis go over whole decades, which is what has a number."""
    least, most = min(line.figure.least for line in lines), max(line.figure.most for line in lines)
    axes.set_ylim(10 ** math.floor(math.log10(least)), 10 ** math.ceil(math.log10(most)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.yaxis.set_minor_formatter(lambda _value, _: "")


def _banded(axes: Any, at: Sequence[float], lines: Sequence[Line], label: str, colour: str) -> None:
    axes.plot(at, [line.figure.median for line in lines], marker="o", markersize=4, color=colour, label=label)
    least, most = [line.figure.least for line in lines], [line.figure.most for line in lines]
    axes.fill_between(at, least, most, color=colour, alpha=0.15, linewidth=0)


PLOTS: dict[str, Callable[[Section], Any]] = {
    "doors": _bars("The gRPC doors, one core", "requests a second"),
    "http": _bars("The HTTP doors, one core", "requests a second"),
    "envoy": _envoy,
    "growth": _growth,
    "inprocess": _bars("In process", "microseconds"),
}
