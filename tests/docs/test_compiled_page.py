"""docs/compiled.md: what it says to type is there, and what it says is printed is printed."""

import re
import subprocess
import sys
import tomllib

from support.build import ROOT, WANTED

PAGE = (ROOT / "docs" / "compiled.md").read_text(encoding="utf-8")


def test_targets_of_make_are_there() -> None:
    targets = re.findall(r"^make ([a-z-]+)", PAGE, re.MULTILINE)
    assert targets
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        assert f"\n{target}: " in makefile


def test_version_is_told_as_shown() -> None:
    shown = re.search(r"extauthz --version +# (.*)", PAGE)
    assert shown is not None
    version = [sys.executable, "-m", "extauthz.cli", "--version"]
    told = subprocess.run(version, capture_output=True, text=True, check=True).stdout.rstrip()
    assert shown[1].replace("(compiled)", f"({WANTED})") == told


def test_what_a_build_needs_is_what_the_build_itself_and_ci_say() -> None:
    found = re.search(r"Debian: ((?:`[a-z0-9 -]+`))", PAGE)
    assert found is not None
    packages = found[1].strip("`").split()
    assert f"apt-get install {' '.join(packages)}" in (ROOT / "hatch_build.py").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(package in ci for package in packages)


def test_compiler_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
    assert [name for name in hook["dependencies"] if re.fullmatch(r"mypy==[\d.]+", name)]
    assert hook["enable-by-default"] is False


def test_every_file_it_points_at_is_there() -> None:
    for target in re.findall(r"\]\(([a-z][a-z./-]*\.md)", PAGE):
        assert (ROOT / "docs" / target).is_file()
