"""A run of the tests tests the build that it is about: in its own process, and in the programs that it starts."""

import re
import subprocess
import sys
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from extauthz.build import build
from support.build import ROOT, WANTED, require_compiled, same_build


def _hook() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    hook: dict[str, Any] = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    return hook


SOURCES = [
    path.relative_to(ROOT)
    for pattern in _hook()["modules"]
    for path in sorted(ROOT.glob(pattern))
    if path.name != "__init__.py"
]


def _is_compiled(path: str | Path) -> bool:
    return str(path).endswith(tuple(EXTENSION_SUFFIXES))


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_this_process_runs_what_is_tested(source: Path) -> None:
    found = find_spec(".".join(source.with_suffix("").parts))
    assert found is not None
    assert found.origin is not None
    assert _is_compiled(found.origin) == (WANTED == "compiled")
    assert build() == WANTED


def test_a_program_that_is_started_runs_what_is_tested() -> None:
    version = [sys.executable, "-m", "extauthz.cli", "--version"]
    for env in (None, same_build()):
        told = subprocess.run(version, capture_output=True, text=True, check=True, env=env).stdout
        assert told.rstrip().endswith(f"({WANTED})")


def test_everything_that_is_named_is_compiled_and_nothing_else() -> None:
    built = require_compiled()
    found = {re.sub(r"\..*", "", str(path.relative_to(built))) for path in built.rglob("*.so")}
    assert found == {str(source.with_suffix("")) for source in SOURCES} | {"extauthz__mypyc"}


def test_every_pattern_names_something() -> None:
    assert all(list(ROOT.glob(pattern)) for pattern in _hook()["modules"])


def test_nothing_that_is_compiled_lies_beside_the_sources_where_it_would_be_run_in_their_place() -> None:
    assert not [path for path in (ROOT / "extauthz").rglob("*") if _is_compiled(path)]
