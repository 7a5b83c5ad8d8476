"""docs/probe.md is the code's table of checks and limits, and its commands are ones that the program takes."""

import dataclasses
import re
import shlex
from pathlib import Path

import click
import pytest

from extauthz.cli.gateway import command as gateway
from extauthz.cli.probe import command as probe
from extauthz.probe.checks import CHECKS, Outcome
from extauthz.probe.limits import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "probe.md").read_text(encoding="utf-8")


def rows(begins: str, ends: str) -> list[list[str]]:
    """Return the cells of the table between two lines, without its head."""
    lines = PAGE.partition(begins)[2].partition(ends)[0].splitlines()
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("| ")][1:]


def test_every_check_has_its_row_in_the_order_of_the_code() -> None:
    written = [[f"`{check.id}`", check.title, check.meaning] for check in CHECKS.values()]
    assert rows("<!-- the table of checks", "<!-- the end of the table -->") == written


def test_every_limit_has_its_row() -> None:
    found = {row[0]: float(row[2]) for row in rows("No header's value is printed.", "A refusal is noted")}
    assert found == {f"`{field}`": default for field, default in dataclasses.asdict(Limits()).items()}


def test_the_words_of_the_json_are_those_of_the_code() -> None:
    for outcome in Outcome:
        assert f"`{outcome.value}`" in PAGE


@pytest.mark.parametrize(("name", "command"), [("probe", probe), ("gateway", gateway)])
def test_the_commands_shown_are_taken(name: str, command: click.Command) -> None:
    shown = re.findall(rf"^\$ extauthz {name} (.*)$", PAGE, re.MULTILINE)
    assert shown
    for line in shown:
        parser = command.make_parser(click.Context(command))
        values, rest, _ = parser.parse_args(shlex.split(line))
        assert values
        assert rest == []
