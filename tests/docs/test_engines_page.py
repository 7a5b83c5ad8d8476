"""docs/engines.md names tests that exist, tells of everything that is tried, and has an example that is good.

That the outcomes are true is for tests/doors/test_breaking_engines.py to see.
"""

import re
from pathlib import Path

import pytest

from doors.breaking import FLOODS, FORMS, PAGE, outcomes
from extauthz.config.load import loads
from support.engine import ENGINES

TEXT = PAGE.read_text(encoding="utf-8")
TESTS = Path(__file__).parents[1]


def _rows(text: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not set(row[0]) <= {"-"}]


def test_every_exception_names_a_test_that_exists() -> None:
    defined = {
        name
        for file in TESTS.glob("*/test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    exceptions = TEXT.partition("<!-- exceptions -->")[2].partition("<!-- end of the exceptions -->")[0]
    (heading, *rows) = _rows(exceptions)
    assert heading[-1] == "Held by"
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named, row
    assert set(re.findall(r"`(test_\w+)`", TEXT)) <= defined


def test_everything_that_is_tried_is_told_for_each_engine_and_nothing_else() -> None:
    assert outcomes().keys() == FORMS.keys() | FLOODS.keys()
    assert all(tuple(told) == ENGINES and all(told.values()) for told in outcomes().values())


def test_every_test_of_the_file_is_named() -> None:
    file = TESTS / "doors" / "test_breaking_engines.py"
    written = set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    assert written <= set(re.findall(r"`(test_\w+)`", TEXT))


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
def test_the_example_is_a_good_file(example: str) -> None:
    assert loads(example).settings.server.engine == "native"
