"""The report at a terminal, and as the Markdown of docs/performance.md."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from bench.results import Line, Report, Section
from bench.words import compared, quantity, spread, targets

MARK = "bench"
"""The page has `<!-- bench: KEY -->` and `<!-- /bench -->`; what is between them is written here."""


def show(console: Console, section: Section) -> None:
    """Print one part of a run."""
    table = Table("", "median", "least to most", "beside", "target", title=section.title, title_justify="left")
    for line in section.lines:
        marks = "\n".join(f"[{'green' if met else 'red'}]{text}[/]" for text, met in targets(line))
        beside = "\n".join(compared(one) for one in line.compared)
        table.add_row(line.name, quantity(line.figure.median, line.unit), spread(line.figure, line.unit), beside, marks)
    console.print(table)
    for note in section.notes:
        console.print(f"[yellow]{note}[/]", highlight=False)


def markdown(section: Section) -> str:
    """Return one part of a run as a Markdown table, with how it was measured."""
    rows = [
        "| | median | least to most | beside (least to most) | target | met |",
        "|---|---|---|---|---|---|",
        *(_row(line) for line in section.lines),
    ]
    notes = [f"\n{note}." for note in section.notes]
    return "\n".join([section.how, "", *rows, *notes])


def _row(line: Line) -> str:
    beside = "<br>".join(f"{compared(one)} ({spread(one.figure, one.unit)})" for one in line.compared)
    wanted = targets(line)
    cells = (
        line.name,
        quantity(line.figure.median, line.unit),
        spread(line.figure, line.unit),
        beside,
        "<br>".join(text for text, _ in wanted),
        "<br>".join("yes" if met else "**no**" for _, met in wanted),
    )
    return "| " + " | ".join(cells) + " |"


def machine(report: Report) -> str:
    """Return what was measured on, and how quiet it was, as Markdown."""
    rows = [*report.machine.items(), *report.noise.items(), ("run", f"{report.plan}, {report.took_seconds:.0f} s")]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def summary(report: Report) -> str:
    """Return every target with what was measured, as Markdown."""
    rows = ["| target | measured | |", "|---|---|---|"]
    for section in report.sections:
        rows += [f"| {what} | {found} | {'met' if met else '**missed**'} |" for what, found, met in held(section)]
    return "\n".join(rows)


def held(section: Section) -> Iterator[tuple[str, str, bool]]:
    """Yield every target of a section: of what, what was measured, whether it is met."""
    for line in section.lines:
        wanted = targets(line)
        measured = [quantity(line.figure.median, line.unit)] if line.target is not None else []
        measured += [compared(one) for one in line.compared if one.target is not None]
        for (bound, met), found in zip(wanted, measured, strict=True):
            yield f"{section.title}, {line.name}: {bound}", found, met
