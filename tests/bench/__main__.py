"""`make bench`: measure, print tables, write the figures as JSON and as plots; on request, docs/performance.md."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console

from bench import doors, envoy, growth, http_doors, inprocess, page, plots, processes, startup, tables
from bench.loading import LoadError
from bench.machine import Noise, described
from bench.plan import PLANS, Plan
from bench.programs import UnavailableError
from bench.results import Report, Section

RESULTS = Path(__file__).parents[2] / "bench-results"
FIGURES = "figures.json"

PARTS: dict[str, Callable[[Plan, Path], Iterator[Section]]] = {
    "inprocess": lambda plan, _: inprocess.measure(plan),
    "doors": lambda plan, _: doors.measure(plan),
    "http": lambda plan, _: http_doors.measure(plan),
    "envoy": lambda plan, _: envoy.measure(plan),
    "growth": lambda plan, _: growth.measure(plan),
    "processes": lambda plan, _: processes.measure(plan),
    "startup": startup.measure,
}

console = Console()


class _Parts(click.ParamType[list[str]]):
    name = "parts"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        names = str(value).split(",")
        for name in names:
            if name not in PARTS:
                self.fail(f"{name!r} is none of {', '.join(PARTS)}", param, ctx)
        return [name for name in PARTS if name in names]


@click.command()
@click.option("--quick", "plan", flag_value="quick", help="Fewer rounds: some ten minutes, and more noise.")
@click.option("--tiny", "plan", flag_value="tiny", help="See that everything runs. The figures mean nothing.")
@click.option("--full", "plan", flag_value="full", default="full", help="What the page shows. The default.")
@click.option("--only", type=_Parts(), default=",".join(PARTS), help=f"Of {', '.join(PARTS)}; separated by commas.")
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, help="Folder for figures and plots.")
@click.option("--write-docs", is_flag=True, help="Write docs/performance.md from the figures in the folder, and end.")
def main(plan: str, only: list[str], output: Path, write_docs: bool) -> None:
    """Measure extauthz on this machine.

    Candidates are measured in turn, round by round; ratios are formed within each round. What is told is the median,
    with the least and the most. Exit status 0: measured, whatever the figures. 1: something could not be measured.
    """
    output.mkdir(parents=True, exist_ok=True)
    if write_docs:
        _write_docs(output)
        return
    # Ended from outside, it stops what it started, as it does at Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console.print("[dim]" + ", ".join(f"{name} {value}" for name, value in described().items()) + "[/]")
    began, noise = time.monotonic(), Noise()
    sections: list[Section] = []
    for name in only:
        sections += _measured(name, PLANS[plan], output)
        report = Report(described(), noise.told(), plan, time.monotonic() - began, tuple(sections))
        # After each part, so that a run that is ended keeps what it has.
        text = json.dumps(report.to_data(), indent=1, ensure_ascii=False) + "\n"
        (output / FIGURES).write_text(text, encoding="utf-8")
    _tell(report, output)
    if any(not section.lines for section in sections):
        raise SystemExit(1)


def _measured(name: str, plan: Plan, output: Path) -> Iterator[Section]:
    began = time.monotonic()
    try:
        with console.status(f"{name} ..."):
            sections = list(PARTS[name](plan, output))
    except (UnavailableError, LoadError) as error:
        console.print(f"[red]{name} was not measured: {error}[/]", highlight=False)
        yield Section(name, name, "", notes=(f"not measured: {error}",))
        return
    for section in sections:
        tables.show(console, section)
        yield section
    console.print(f"[dim]{name}: {time.monotonic() - began:.0f} s[/]")


def _tell(report: Report, output: Path) -> None:
    for name, value in report.noise.items():
        console.print(f"[dim]{name}: {value}[/]", highlight=False)
    missed = [one for section in report.sections for one in tables.held(section) if not one[2]]
    for what, found, _ in missed:
        console.print(f"[red]missed[/] {what}; measured {found}", highlight=False)
    files = [output / FIGURES]
    try:
        files += plots.draw(report, output)
    except ImportError:
        console.print("[yellow]no plots: matplotlib is not installed (pip install '.[bench]')[/]")
    console.print(f"{report.took_seconds:.0f} s; written: {', '.join(map(str, files))}", highlight=False)


def _write_docs(output: Path) -> None:
    try:
        report = Report.from_data(json.loads((output / FIGURES).read_text(encoding="utf-8")))
        page.write(report, output)
    except (OSError, page.PageError) as error:
        raise click.ClickException(f"{error}. Measure first: make bench") from error
    console.print(f"written: {page.PAGE}")


if __name__ == "__main__":
    main()
