"""`extauthz explain --replay`: runs a decision log through the present file and prints what would change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from extauthz.cli.explain_input import opened, shown, watched
from extauthz.cli.explain_text import echo_unreadable
from extauthz.cli.options import EXIT_REFUSED, UnusableError, echo_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from extauthz.config.load import Loaded
    from extauthz.core.policy import Policy
    from extauthz.explaining.replay import Replay

# Where the report goes to a file or a pipe, rows are not broken before this many columns.
_WIDTH_ELSEWHERE = 200


def run(loaded: Loaded, before: Loaded | None, name: str, *, top: int, output_format: str) -> int:
    """Decide a log again and print the report; return the status to end with.

    Raises:
        UnusableError: Not one line of it is of a decision log.
    """
    from extauthz.assembly import version_of  # noqa: PLC0415 - help must be quick
    from extauthz.cli.explain_policy import resolved_policy  # noqa: PLC0415
    from extauthz.explaining.lines import read_lines  # noqa: PLC0415
    from extauthz.explaining.replay import Replay, as_json, replay  # noqa: PLC0415

    report = Replay()
    policy, version = resolved_policy(loaded), version_of(loaded.settings)
    then = resolved_policy(before) if before is not None else None
    _say_names(policy)
    with opened(name) as file:
        found = replay(policy, read_lines(file), version=version, before=then)
        for report in watched(found, file, "deciding again", prints=False):  # noqa: B007 - the last one is complete
            pass
    if report.unreadable and not report.lines:
        for line in report.faults:
            echo_unreadable(line.number, line.fault)
        raise UnusableError(
            f"{shown(name)} has no line of a decision log: docs/decision-log.md has what one looks like"
        )
    if output_format == "json":
        echo_json(as_json(report, top))
    else:
        _show(report, as_json(report, top), top)
    return EXIT_REFUSED if report.changes else 0


def _say_names(policy: Policy) -> None:
    """Say whom names stand for now: when a line was written, it may have been somebody else."""
    for name in dict.fromkeys(str(name) for gateway in policy.gateways.values() for name in gateway.peer_names):
        click.echo(f"note: {name}; lines are decided by that, whenever they were written", err=True)


def _show(report: Replay, found: dict[str, Any], top: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - help must be quick

    from extauthz.explaining.replay import KINDS  # noqa: PLC0415

    console = Console(
        width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE, highlight=False, markup=False, emoji=False
    )
    for line in report.faults:
        echo_unreadable(line.number, line.fault)
    if report.unreadable > len(report.faults):
        click.echo(f"            and {report.unreadable - len(report.faults)} more", err=True)
    click.echo(f"{report.lines} lines decided again, {report.unreadable} could not be read")
    rows = [(_title(kind), report.kinds[kind], meaning) for kind, meaning in KINDS.items()]
    _table(console, "", ["", "lines", ""], [row for row in rows if row[1] or row[0] == "unchanged"])
    if report.enforced:
        click.echo(f"Shadow mode lets {report.enforced} of them pass that enforce would deny.")
    columns = [kind for kind in found["by_gateway"][0] if kind != "gateway"] if found["by_gateway"] else []
    _by(console, "By gateway", "gateway", found["by_gateway"], columns)
    changes = [
        (_title(one["change"]), _said(one["then"]), _said(one["now"]), one["lines"]) for one in found["by_reason"]
    ]
    _table(console, "By reason", ["change", "then", "now", "lines"], changes)
    enforced = [(_said(one["reason"]), one["lines"]) for one in found["enforce_would_deny_by_reason"]]
    _table(console, "What enforce would deny, by reason", ["reason", "lines"], enforced)
    _by(console, "By user", "user", found["by_user"], columns)
    _table(
        console,
        "Cannot be told, because",
        ["", "lines"],
        [(one["why"], one["lines"]) for one in found["untold_because"]],
    )
    _table(
        console,
        "Taken to be as it was then (--before tells)",
        ["", "lines"],
        [(one["what"], one["lines"]) for one in found["rests_on"]],
    )
    shown = (len(found["by_reason"]), len(found["by_user"]), len(found["by_gateway"]))
    if top in shown:
        click.echo(f"Each table has its first {top} rows: --top shows more.")


def _by(console: Console, title: str, key: str, rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print a table of counts, without the columns in which there is nothing."""
    used = [column for column in columns if any(row.get(column) for row in rows)]
    found = [(_named(row[key]), *(row[column] for column in used)) for row in rows]
    _table(console, title, [key, *map(_title, used)], found)


def _table(console: Console, title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    from rich.table import Table  # noqa: PLC0415 - help must be quick
    from rich.text import Text  # noqa: PLC0415

    from extauthz.core.wording import plain  # noqa: PLC0415

    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, show_header=any(head))
    for name, value in zip(head, rows[0], strict=True):
        table.add_column(name, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows:
        # Users and reasons are a log's: nothing of them is markup, nor may it steer the terminal.
        table.add_row(*(Text(str(value) if isinstance(value, int) else plain(value)) for value in row))
    if title:
        console.print()
    console.print(table)


def _title(kind: str) -> str:
    return kind.replace("untold", "cannot be told").replace("_", " ")


def _said(reason: str | None) -> str:
    return reason or "allowed"


def _named(name: str | None) -> str:
    return name if name is not None else "(none)"
