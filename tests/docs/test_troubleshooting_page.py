"""docs/troubleshooting.md: a section for every reason, whose command shows that reason; what is printed is shown."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from assertion.issuer import Issuer
from assertion.judge import jwks_file
from cases.build import request_of
from explaining.logged import log_line
from extauthz.cli import main
from extauthz.config.load import load, loads
from extauthz.core.reasons import REASONS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
CONFIGS = re.findall(r"```yaml\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
ACCESS_LINE, CAPTURED = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```console\n\$ extauthz (.*?)\n(.*?)```", PAGE, re.DOTALL)
SECTIONS = re.findall(r"^### `(\S+)`\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)

# Reasons that no request can be written down for; their sections say where to look instead.
NOT_SHOWN = {"internal_error", "trusted_proxy_local_interface_check_failed"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files in it, where its commands are run."""
    monkeypatch.chdir(tmp_path)
    for name, text in CONFIGS:
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "access.jsonl").write_text(json.dumps(json.loads(ACCESS_LINE)) + "\n", encoding="utf-8")
    (tmp_path / "captured.json").write_text(CAPTURED, encoding="utf-8")
    # What the page calls a new file: eve may come in, and the containers' address is gone.
    present = yaml.safe_load(dict(CONFIGS)["extauthz.yaml"])
    present["gateways"]["openclaw"]["trustedProxies"] = ["10.0.0.7"]
    present["gateways"]["openclaw"]["auth"]["trustedProxy"]["allowUsers"].append("eve@example.com")
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(present), encoding="utf-8")
    (tmp_path / "decisions.jsonl").write_bytes(b"".join(_decisions(tmp_path / "extauthz.yaml")))
    _write_tokens(tmp_path)
    return tmp_path


def _write_tokens(folder: Path) -> None:
    issuer = Issuer()
    jwks_file(folder, issuer).rename(folder / "pomerium-jwks.json")
    for name, token in {
        "nick": issuer.token(),
        "forged": Issuer().token(),
        # Between two and three hours ago, however long the tests take.
        "expired": issuer.token(now=time.time() - 2.5 * 3600 - 300),
        "other": issuer.token({"aud": "research.example.com"}),
    }.items():
        (folder / f"{name}.jwt").write_text(token, encoding="utf-8")


def _decisions(config: Path) -> Iterator[bytes]:
    then = load(config)
    for user, peer, times in (
        ("nick@example.com", "10.0.0.7", 40),
        ("nick@example.com", "172.17.0.1", 3),
        ("eve@example.com", "10.0.0.7", 2),
    ):
        pairs = [("x-forwarded-user", user), ("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.9")]
        yield log_line(then, request_of(pairs, peer=peer, gateway="openclaw", host="openclaw.example.com")) * times


def printed(command: str) -> str:
    """Run a command of the page as a shell would, and return what it prints."""
    command, _, tail = command.partition(" | tail -")
    # What in the page only a shell can write: a cookie of 20,000 characters, and the content of a file.
    command = command.replace("$(printf %20000s x)", "x" * 20_000)
    argv = shlex.split(re.sub(r"\$\(cat (\S+)\)", lambda found: Path(found[1]).read_text(encoding="utf-8"), command))
    result = CliRunner().invoke(main, argv)
    assert result.exit_code in {0, 1}, result.output
    lines = result.stdout.splitlines()
    return "".join(f"{line.rstrip()}\n" for line in (lines[-int(tail) :] if tail else lines))


def test_there_is_a_section_for_every_reason_in_the_order_of_the_table() -> None:
    assert [code for code, _ in SECTIONS] == list(REASONS)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", [command for command, _ in COMMANDS])
def test_what_a_command_prints_is_what_the_page_shows(command: str) -> None:
    assert printed(command) == dict(COMMANDS)[command]


@pytest.mark.parametrize(("code", "text"), SECTIONS, ids=[code for code, _ in SECTIONS])
def test_a_section_shows_its_reason_and_the_cure(code: str, text: str) -> None:
    if code in NOT_SHOWN:
        assert "```sh" in text
        return
    shown = re.findall(r"```console\n\$ extauthz .*?\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 1
    assert re.search(rf": {code}{'' if REASONS[code].open_ended else '$'}", shown[0], re.MULTILINE)
    assert REASONS[code].cure in shown[0]


def test_its_files_load() -> None:
    found = {name: loads(text) for name, text in CONFIGS}
    assert not found["extauthz.yaml"].incomplete
    assert not found["loopback.yaml"].incomplete
    assert found["unfinished.yaml"].incomplete


def test_every_link_leads_somewhere() -> None:
    anchors = {_anchor(title) for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    for file, anchor in re.findall(r"\]\(([\w.-]*)(?:#([\w-]+))?\)", PAGE):
        if file:
            assert (DOCS / file).exists(), file
            text = (DOCS / file).read_text(encoding="utf-8")
            titles = {_anchor(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
            assert not anchor or anchor in titles, f"{file}#{anchor}"
        else:
            assert anchor in anchors, anchor


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("topic", ["WebSockets", "container", "load balancer", "bare 401"])
def test_what_people_come_for_is_there(topic: str) -> None:
    assert topic in PAGE
