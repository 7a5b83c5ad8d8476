"""How `extauthz probe` shows its results: a table with advice for people, plain data for machines. It tests nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from extauthz.probe.checks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extauthz.probe.checks import Check, Result

_SHOWN: Final = {
    Outcome.PASSED: ("passed", "green"),
    Outcome.HOLE: ("HOLE", "bold red"),
    Outcome.WARNING: ("warning", "yellow"),
    Outcome.NOT_TESTED: ("not tested", "dim"),
}
_TO_DO: Final = (Outcome.HOLE, Outcome.WARNING)
_NAMES: Final = {"envoy": "Envoy", "traefik": "Traefik", "caddy": "Caddy", "nginx": "nginx"}
_FILE_WIDTH: Final = 160
"""Columns where the output is no terminal."""


def as_json(results: Sequence[Result], proxy: str | None) -> dict[str, Any]:
    """Return the results as data; advice is with what was found only."""
    return {
        "holes": sum(one.outcome is Outcome.HOLE for one in results),
        "checks": [
            {
                "id": one.check.id,
                "title": one.check.title,
                "result": one.outcome.value,
                "seen": one.seen,
                "meaning": one.check.meaning if one.outcome in _TO_DO else None,
                "do": one.check.do if one.outcome in _TO_DO else None,
                "settings": _settings(one.check, proxy) if one.outcome in _TO_DO else {},
            }
            for one in results
        ],
    }


def print_text(results: Sequence[Result], proxy: str | None) -> None:
    """Print the table, and what to do about each finding."""
    from rich.console import Console  # noqa: PLC0415 - help must be quick
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False, soft_wrap=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("check", overflow="fold")
    table.add_column("result", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for one in results:
        # Text, not markup: what was seen is partly the other side's word.
        table.add_row(Text(one.check.title), Text(*_SHOWN[one.outcome]), Text(one.seen))
    console.print(table)
    for one in results:
        if one.outcome in _TO_DO:
            console.print()
            for style, line in _advice(one, proxy):
                console.print(Text(line, style))
    console.print()


def _advice(one: Result, proxy: str | None) -> Iterator[tuple[str, str]]:
    word, style = _SHOWN[one.outcome]
    yield style, f"{word} {one.check.id}: {one.seen}"
    yield "", f"  What it means: {one.check.meaning}"
    yield "", f"  What to do: {one.check.do}"
    for name, setting in _settings(one.check, proxy).items():
        yield "", f"    {_NAMES[name]}: {setting}"


def _settings(check: Check, proxy: str | None) -> Mapping[str, str]:
    return {name: text for name, text in check.settings.items() if proxy in {None, name}}
