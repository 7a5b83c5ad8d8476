"""docs/peers.md, the part on names: its files load, its numbers are the code's, and its example is what happens."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from extauthz.cli import main
from extauthz.config.checks import MOST_PEER_NAMES
from extauthz.config.load import loads
from extauthz.config.schema import Dns
from extauthz.peers.answers import MOST_ADDRESSES
from extauthz.peers.known import ABSENT_TIMES
from extauthz.service import FIRST_ANSWERS_SECONDS
from peers.naming import OLD, dns_section
from support.name_server import name_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8").partition("\n## By name\n")[2].partition("\n## ")[0]
FILES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", FILES)
def test_files_of_the_page_load(text: str) -> None:
    assert loads(text).settings.gateways


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"more than {MOST_PEER_NAMES} different names" in PAGE
    assert f"more than {MOST_ADDRESSES} of a kind" in PAGE
    assert ABSENT_TIMES == 2
    assert "until it was said twice" in PAGE
    assert f"A start waits {FIRST_ANSWERS_SECONDS:.0f} seconds at most" in PAGE


def test_defaults_of_the_page_are_those_of_the_schema() -> None:
    (shown,) = (found for found in map(yaml.safe_load, FILES) if "dns" in found)
    assert Dns.model_validate(shown["dns"]) == Dns()


def test_what_explain_shows_is_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ((command, shown),) = re.findall(r"```console\n\$ extauthz (.*?)\n(.*?)```", PAGE, re.DOTALL)
    with name_server({"traefik.internal": [OLD]}) as server:
        config = yaml.safe_load(FILES[0])
        config["gateways"]["openclaw"]["trustedProxies"] = ["dns:traefik.internal."]
        config["dns"] = dns_section(server)
        Path("extauthz.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        result = CliRunner().invoke(main, shlex.split(command))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    for line in shown.splitlines():
        assert line.strip() == "..." or line in lines
