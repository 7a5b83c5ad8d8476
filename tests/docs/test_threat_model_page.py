"""docs/threat-model.md names tests that exist, reasons and options that exist, and has every place in its order."""

import ast
import functools
import re
from pathlib import Path

import pytest

from extauthz.core.reasons import REASONS
from extauthz.gateway import REASONS as STAMP_REASONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([a-z_0-9]+/test_[a-z_0-9]+\.py)(?:::([A-Za-z_0-9]+))?`", PAGE)))
PLACES = re.split(r"^### (?=\d+\. )", PAGE.partition("\n## What happens when something fails")[0], flags=re.MULTILINE)[
    1:
]


@functools.cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return frozenset(name for name in found if name.startswith("test_"))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=["::".join(filter(None, one)) for one in NAMED])
def test_every_named_test_exists(file: str, name: str) -> None:
    assert names_in(file)
    assert not name or name in names_in(file)


def test_no_test_is_named_in_a_form_that_is_not_looked_at() -> None:
    assert PAGE.count("test_") == sum(
        text.count("test_") for text in re.findall(r"`[^`\s]+/test_[^`\s]+\.py[^`\s]*`", PAGE)
    )


def test_every_place_is_there_with_tests_and_with_what_remains() -> None:
    assert [int(place.partition(".")[0]) for place in PLACES] == list(range(1, 15))
    for place in PLACES:
        assert "::test_" in place, place.splitlines()[0]
        assert "**Remains.**" in place, place.splitlines()[0]


def test_every_row_of_an_attack_names_a_test_or_says_that_none_shows_it() -> None:
    for place in PLACES:
        rows = [line for line in place.splitlines() if line.startswith("| ") and not line.endswith("| Test |")]
        assert rows
        for row in rows:
            last = row.rstrip("| ").rpartition("|")[2]
            assert "/test_" in last or "not tested" in last, row


def test_every_reason_is_one() -> None:
    for name in re.findall(r"`((?:trusted_proxy|stamp|header|gateway|caller|request|internal)_[a-z_]+)`", PAGE):
        assert name in REASONS or name in STAMP_REASONS, name


def test_every_link_leads_somewhere() -> None:
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in PAGE.splitlines()}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / "docs" / file).is_file(), target
        assert file or anchor in headings, target
