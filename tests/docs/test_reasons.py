"""docs/reasons.md is the code's table: a row per reason, and none that nothing returns."""

import re
from pathlib import Path

from extauthz.core.reasons import REASONS
from extauthz.core.rulesets import RULESETS

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"


def _rows() -> list[list[str]]:
    """Return the cells of each row of the page's first table, without its head."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def _head() -> list[str]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = next(line for line in lines if line.startswith("| Reason"))
    return [cell.strip() for cell in head.split("|")[1:-1]]


def _code(row: list[str]) -> str:
    found = re.match(r"`([^`]+)`", row[0])
    assert found is not None, row[0]
    return found[1]


def test_every_reason_has_its_row_in_the_order_of_the_code() -> None:
    assert [_code(row) for row in _rows()] == list(REASONS)


def test_status_of_every_reason_is_told() -> None:
    column = _head().index("Status")
    assert {_code(row): int(row[column]) for row in _rows()} == {code: r.status for code, r in REASONS.items()}


def test_meaning_and_cure_are_those_that_explain_tells() -> None:
    head = _head()
    for row in _rows():
        reason = REASONS[_code(row)]
        assert row[head.index("Meaning")].replace("\\|", "|") == reason.meaning
        assert row[head.index("What to do")].replace("\\|", "|") == reason.cure


def test_rulesets_that_ask_are_marked() -> None:
    head = _head()
    everywhere = {code for code, reason in REASONS.items() if not reason.shadowed}
    for name, ruleset in RULESETS.items():
        asked = everywhere | {reason.code for step in ruleset.steps for reason in step.reasons}
        assert {_code(row) for row in _rows() if row[head.index(name)] == "x"} == asked


def test_column_of_shadow_mode_says_what_denies_all_the_same() -> None:
    column = _head().index("In shadow")
    denied = {_code(row) for row in _rows() if row[column] == "denied"}
    assert denied == {code for code, reason in REASONS.items() if not reason.shadowed}
