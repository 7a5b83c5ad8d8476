"""`make bench`: measure, print a table, and on request write the figures as JSON."""

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench import door, growth, inprocess
from bench.measuring import Figure

console = Console()


@dataclass
class Report:
    """Everything that was measured, for machines."""

    machine: str
    figures: dict[str, dict[str, object]] = field(default_factory=dict)

    def add(self, section: str, name: str, value: object) -> None:
        """Keep one line."""
        self.figures.setdefault(section, {})[name] = value


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Rounds of the servers under load.")
@click.option("--requests", default=8_000, show_default=True, help="Requests in each round.")
@click.option("--largest", default=100_000, show_default=True, help="The largest size in the growth table.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(rounds: int, requests: int, largest: int, json_file: Path | None) -> None:
    """Measure extauthz on this machine. Figures are medians of rounds taken in turn."""
    report = Report(
        f"{platform.processor() or platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    )
    console.print(f"[dim]{report.machine}[/]")
    with console.status("in process ..."):
        _inprocess(report)
    with console.status("the gRPC door under h2load ..."):
        _door(report, rounds, requests)
    with console.status("growth ..."):
        _growth(report, largest)
    if json_file is not None:
        json_file.write_text(
            json.dumps({"machine": report.machine, **report.figures}, indent=2) + "\n", encoding="utf-8"
        )
        console.print(f"written to {json_file}")


def _inprocess(report: Report) -> None:
    table = Table("microseconds a call", "median", "best", "worst", "budget", title="In process")
    for row in inprocess.rows():
        budget = "" if row.budget is None else f"< {row.budget:g}"
        table.add_row(row.name, *_columns(row.figure, 1), budget)
        report.add("inprocess", row.name, row.figure._asdict())
    console.print(table)


def _door(report: Report, rounds: int, requests: int) -> None:
    table = Table("requests a second, one core", "median", "best", "worst", "of the floor", "MB", title="The gRPC door")
    found = list(door.rows(rounds, requests))
    if not found:
        console.print("[yellow]h2load is not installed (Debian: nghttp2-client): the door was not measured[/]")
        return
    for row in found:
        share = "" if row.share is None else f"{row.share.median:.0%}"
        table.add_row(row.name, *_columns(row.rate, 0), share, f"{row.megabytes:.0f}")
        shares = None if row.share is None else row.share._asdict()
        report.add("door", row.name, {"rate": row.rate._asdict(), "share": shares, "megabytes": row.megabytes})
    console.print(table)


def _growth(report: Report, largest: int) -> None:
    for row in growth.rows(largest):
        table = Table(
            "microseconds, bytes to bytes", *(f"{size:,}" for size in row.figures), title=f"Growth: {row.name}"
        )
        table.add_row("median", *(f"{one.median:.1f}" for one in row.figures.values()))
        console.print(table)
        report.add("growth", row.name, {str(size): one._asdict() for size, one in row.figures.items()})


def _columns(found: Figure, digits: int) -> tuple[str, str, str]:
    return f"{found.median:,.{digits}f}", f"{found.best:,.{digits}f}", f"{found.worst:,.{digits}f}"


if __name__ == "__main__":
    main()
