"""What the README shows is what happens: its configuration loads, its commands say what it says they say."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from extauthz.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's configuration in it, where its commands are run."""
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "extauthz.yaml").write_text(found[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_explanation_is_what_is_printed() -> None:
    shown = re.search(r"```console\n\$ extauthz (.*?)\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    result = CliRunner().invoke(main, shlex.split(shown[1]))
    assert result.output == shown[2]


@pytest.mark.usefixtures("folder")
def test_the_configuration_is_good() -> None:
    result = CliRunner().invoke(main, ["check", "--config", "extauthz.yaml"])
    assert (result.exit_code, result.output) == (0, "extauthz.yaml: 1 gateway, good\n")


def test_every_file_it_points_at_is_there() -> None:
    missing = [target for target in re.findall(r"\]\(([^)#:]+)\)", README) if not (ROOT / target).exists()]
    assert missing == []


def test_both_commands_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:.*##", makefile, re.MULTILINE), command
