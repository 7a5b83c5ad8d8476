"""docs/openclaw.md: its files load, its commands run in the order of the page and print what it shows, Envoy agrees."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from extauthz.cli import main
from extauthz.config.load import loads
from support.certificates import Authority
from support.envoy import validate_envoy

PAGE_FILE = Path(__file__).parents[2] / "docs" / "openclaw.md"
PAGE = PAGE_FILE.read_text(encoding="utf-8")
CONFIG, SHOWN = (re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) for language in ("yaml", "json"))
CONSOLE = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Result]:
    """Every command of the page, run in one folder with the page's file, with what came of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tls").mkdir()
    authority = Authority(tmp_path / "tls", "ca")
    authority.issue("envoy", dns="gateway.example.com")
    Path("extauthz.yaml").write_text(CONFIG[0], encoding="utf-8")
    found = {}
    for line in "".join(CONSOLE).splitlines():
        if not line.startswith("$ extauthz "):
            continue
        arguments, _, target = line.removeprefix("$ extauthz ").partition(" > ")
        result = found[line] = CliRunner().invoke(main, shlex.split(arguments))
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if target:
            Path(target).write_text(result.stdout, encoding="utf-8")
    return found


def test_there_is_one_file_of_each_kind() -> None:
    assert (len(CONFIG), len(SHOWN)) == (1, 1)


def test_the_configuration_is_complete() -> None:
    loaded = loads(CONFIG[0])
    assert not loaded.incomplete
    assert not loaded.notices


def test_what_the_commands_print_is_what_the_page_shows(ran: dict[str, Result]) -> None:
    # A command under which the page shows nothing prints what the page speaks of elsewhere, or too much to show.
    shown = "".join(CONSOLE).split("$ ")[1:]
    for command, _, output in (text.partition("\n") for text in shown):
        if output:
            result = ran[f"$ {command}"]
            assert (result.stdout if result.stdout and not result.stderr else result.stderr) == output


def test_the_block_for_openclaw_is_what_is_printed(ran: dict[str, Result]) -> None:
    (printed,) = (
        result.stdout
        for line, result in ran.items()
        if line.endswith("openclaw --config extauthz.yaml --gateway openclaw")
    )
    assert printed == SHOWN[0]


def test_envoy_takes_its_file(ran: dict[str, Result], tmp_path: Path) -> None:
    assert ran
    assert validate_envoy(Path("envoy.yaml").read_text(encoding="utf-8"), tmp_path) is None


def test_the_other_blocks_differ_by_what_the_page_says(ran: dict[str, Result]) -> None:
    assert ran

    def block(text: str) -> Any:
        return json.loads(text)["gateway"]

    usual, remote, verified = (
        block(text) for text in (SHOWN[0], Path("remote.json").read_text(), Path("verified.json").read_text())
    )
    assert (remote["trustedProxies"], remote["bind"]) == (["10.0.0.5"], "lan")
    assert "allowLoopback" not in remote["auth"]["trustedProxy"]
    usual["auth"]["trustedProxy"]["userHeader"] = "x-authz-user"
    assert verified == usual
    assert json.loads(Path("jwks.json").read_text())["keys"]


def test_every_file_it_points_at_is_there() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert targets
    assert [target for target in targets if not (PAGE_FILE.parent / target).exists()] == []
