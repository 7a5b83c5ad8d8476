"""docs/performance.md: its marked parts are replaced by what the last run wrote."""

import re
import shutil
from pathlib import Path

from bench.results import Report
from bench.tables import machine, markdown, summary

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
PLOTS = "performance"
"""The folder of the plots, beside the page."""
MOST_PLOT_BYTES = 60_000
_PART = re.compile(r"(<!-- bench: (?P<key>[a-z]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_NOT_MEASURED = "Not measured in the last run."


class PageError(Exception):
    """The page cannot be written; the text says why."""


def parts(text: str) -> dict[str, str]:
    """Return the marked parts of a page, by key."""
    return {found["key"]: found[0] for found in _PART.finditer(text)}


def written(text: str, report: Report) -> str:
    """Return the page with its marked parts made anew."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n{_content(found['key'], report)}\n\n{found[3]}"

    return _PART.sub(part, text)


def write(report: Report, plots: Path, page: Path = PAGE) -> None:
    """Write the marked parts of the page, and put the plots beside it.

    Raises:
        PageError: the page has a mark for a part that there is not, or a plot is too large to be kept.
    """
    page.write_text(written(page.read_text(encoding="utf-8"), report), encoding="utf-8")
    folder = page.parent / PLOTS
    folder.mkdir(exist_ok=True)
    for plot in sorted(plots.glob("*.png")):
        if plot.stat().st_size > MOST_PLOT_BYTES:
            raise PageError(f"{plot}: {plot.stat().st_size} bytes, and {MOST_PLOT_BYTES} at most are kept in docs/")
        shutil.copyfile(plot, folder / plot.name)


def _content(key: str, report: Report) -> str:
    if key == "machine":
        return machine(report)
    if key == "summary":
        return summary(report)
    section = report.section(key)
    return markdown(section) if section is not None else _NOT_MEASURED
