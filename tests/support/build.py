"""Which build of extauthz is tested: its sources, or with `make test-compiled` what is compiled of them."""

import os
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
COMPILED: Final = ROOT / ".compiled"
"""Where `make compiled` builds."""

WANTED: Final = os.environ.get("EXTAUTHZ_TEST_BUILD", "pure")
"""The build that this run is about: "compiled" or "pure"."""


def require_compiled() -> Path:
    """Return the directory of the compiled build.

    Where it is missing the test is skipped; with `CI=true` in the environment the test fails.
    """
    if not (COMPILED / ".made").is_file():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail("the compiled build is missing (make compiled), and in CI no test is skipped", pytrace=False)
        pytest.skip("the compiled build is missing: make compiled")
    return COMPILED


def environment(*directories: Path) -> dict[str, str]:
    """Return an environment in which these directories alone are looked at for modules, before what is installed."""
    return {"PYTHONPATH": os.pathsep.join(map(str, directories)), "PYTHONSAFEPATH": "1"}


def same_build(**variables: str) -> dict[str, str]:
    """Return an environment with these variables alone, in which a program is of the build that is tested."""
    return environment(COMPILED if WANTED == "compiled" else ROOT, ROOT / "tests") | variables
