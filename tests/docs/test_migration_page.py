"""docs/migration.md: its OpenClaw is migrated by its command, gives the files shown, and takes its six steps."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import json5
import pytest
from click.testing import CliRunner, Result

from extauthz.cli import main
from support.envoy import validate_envoy

PAGE_FILE = Path(__file__).parents[2] / "docs" / "migration.md"
PAGE = PAGE_FILE.read_text(encoding="utf-8")
CONSOLE = "".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
LOG = (
    '{"time": "2026-11-22T17:05:54.123456Z", "id": "a1", "gateway": "openclaw", "door": "grpc", "caller": "127.0.0.1", '
    '"peer": "127.0.0.1", "client": null, "user": null, "method": "GET", "host": "gateway.example.com", "path": "/", '
    '"result": "shadow", "reason": "trusted_proxy_untrusted_source", "step": "trusted", "policy": "0123456789ab", '
    '"shadow": true, "headers": {"host": true}}\n'
)
"""What the stranger's request leaves in the decision log."""


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert isinstance(found, str)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's folder, written by the page's command from the page's file; commands run in it."""
    monkeypatch.chdir(tmp_path)
    Path("openclaw.json").write_text(block("json5"), encoding="utf-8")
    command = CONSOLE.splitlines()[0].removeprefix("$ extauthz ")
    result = CliRunner().invoke(main, shlex.split(command))
    assert result.exit_code == 0, result.output
    written = tmp_path / "extauthz-migration"
    monkeypatch.chdir(written)
    Path("decisions.jsonl").write_text(LOG, encoding="utf-8")
    return written


def test_every_file_that_it_names_is_written_and_no_other(folder: Path) -> None:
    named = re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE)
    files = {file.name for file in folder.iterdir()} - {"decisions.jsonl"}
    assert files <= set(named)
    assert {name for name in named if name.endswith((".json5", ".md", ".yaml"))} >= files


def test_what_it_shows_is_what_is_written(folder: Path) -> None:
    assert (folder / "extauthz.yaml").read_text() == block("yaml")
    assert json5.loads((folder / "openclaw.patch.json5").read_text()) == json.loads(block("json"))
    assert validate_envoy((folder / "envoy.yaml").read_text(), folder) is None


def test_its_commands_are_those_of_the_guide(folder: Path) -> None:
    guide = (folder / "MIGRATION.md").read_text(encoding="utf-8").splitlines()
    shown = [line.removeprefix("$ ") for line in CONSOLE.splitlines()[1:] if line.startswith("$ ")]
    assert [line for line in [*SHELL, *shown] if line not in guide] == []
    commands = {line for line in guide if re.match(r"(extauthz|openclaw|envoy|cp|mv|sed|unset|curl|tail) ", line)}
    # The page leaves out how OpenClaw itself is asked once more.
    assert {line for line in commands if line not in {*SHELL, *shown}} == {
        line for line in commands if "/tools/invoke" in line
    }


def test_its_steps_run_and_print_what_it_shows(folder: Path) -> None:
    results: list[tuple[str, Result]] = []
    for text in CONSOLE.split("$ ")[2:]:
        line, _, output = text.partition("\n")
        if line.startswith("extauthz "):
            result = CliRunner().invoke(main, shlex.split(line)[1:])
            results.append((line, result))
            assert output in {"", result.stdout}, line
        else:
            subprocess.run(["/bin/sh", "-c", line], check=True, cwd=folder)
    status = [result.exit_code for _, result in results]
    # Good; allowed; denied; a stranger would be denied; good.
    assert status == [0, 0, 1, 1, 0], [(line, result.output) for line, result in results]
    assert "newly denied" in results[3][1].stdout
    assert "    mode: enforce\n" in (folder / "extauthz.yaml").read_text()


def test_the_audits_find_what_it_says(folder: Path) -> None:
    result = CliRunner().invoke(main, ["audit", "--config", str(folder / "extauthz.yaml"), "--format", "json"])
    assert "gateway.trusted_proxy_auth" in {finding["id"] for finding in json.loads(result.stdout)["findings"]}


def test_every_option_that_it_names_is_there() -> None:
    shown = CliRunner().invoke(main, ["migrate", "--help"]).stdout
    named = set(re.findall(r"--[a-z][a-z-]+", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    assert len(named) > 10
    assert [option for option in sorted(named) if option not in shown] == []


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert targets
    assert [target for target in targets if not (PAGE_FILE.parent / target).exists()] == []
