"""Names at the terminal: `explain` asks what they stand for, everything else leaves the network alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cases.build import PAIRS, gateway
from extauthz.cli import main
from extauthz.config.load import load
from peers.naming import NAME, OLD, dns_section
from support.name_server import NameServer, name_server


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server({NAME: [OLD, "fd00::7"]}) as running:
        yield running


@pytest.fixture
def file(server: NameServer, tmp_path: Path) -> Path:
    return write(tmp_path, server)


def write(folder: Path, server: NameServer, **dns: str) -> Path:
    config = {
        "dns": dns_section(server, **dns),
        "gateways": {"openclaw": gateway(trustedProxies=[f"dns:{NAME}", "10.0.9.0/28"])},
    }
    path = folder / "extauthz.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def run(*argv: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in argv])


def explained(file: Path, peer: str) -> dict[str, Any]:
    headers = [part for name, value in PAIRS for part in ("-H", f"{name}: {value}")]
    result = run("explain", "--config", file, "--gateway", "openclaw", "--peer", peer, *headers, "--format", "json")
    assert result.exit_code in {0, 1}, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return {**told, **{step["step"]: step["detail"] for step in told["steps"]}}


@pytest.mark.parametrize("peer", [OLD, "fd00::7"])
def test_explain_says_which_name_the_address_came_from(file: Path, peer: str) -> None:
    told = explained(file, peer)
    assert told["allowed"]
    stands = f"dns:{NAME} stands for {OLD}, fd00::7 (asked just now)"
    assert told["proxies"] == f"2 entries in trustedProxies; {stands}"
    assert told["trusted_source"] == f"the peer is {peer}, an address of dns:{NAME}"


def test_hint_says_whom_the_name_stands_for(file: Path) -> None:
    told = explained(file, "10.0.0.99")
    assert told["reason"] == "trusted_proxy_untrusted_source"
    assert f"dns:{NAME} stands for {OLD}, fd00::7 (asked just now)." in told["hint"]


def test_hint_says_why_a_name_stands_for_nobody(file: Path, server: NameServer) -> None:
    server.records[NAME] = ["127.0.0.1"]
    told = explained(file, OLD)
    assert told["reason"] == "trusted_proxy_untrusted_source"
    assert "127.0.0.1, which is loopback" in told["hint"]
    del server.records[NAME]
    assert "there is no such name (NXDOMAIN)" in explained(file, OLD)["hint"]


def test_explain_waits_no_longer_for_a_name_server_than_it_may(server: NameServer, tmp_path: Path) -> None:
    server.say = server.silent
    file = write(tmp_path, server, timeout="500ms")
    assert f"dns:{NAME} stands for nobody (asked just now: no usable answer from" in explained(file, OLD)["hint"]


def test_replay_says_that_names_are_as_they_are_now(file: Path, tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    log.write_text('{"no": "decision"}\n')
    result = run("explain", "--config", file, "--replay", log)
    assert f"note: dns:{NAME} stands for {OLD}, fd00::7 (asked just now); lines are decided by that" in result.stderr


@pytest.mark.parametrize("command", [("check",), ("audit",), ("proxy-config", "openclaw")])
def test_other_commands_ask_nobody(file: Path, server: NameServer, command: tuple[str, ...]) -> None:
    result = run(*command, "--config", file)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert server.asked == []


@pytest.mark.parametrize("proxy", ["traefik", "caddy", "nginx"])
def test_proxy_whose_own_list_has_addresses_alone_says_so(file: Path, proxy: str) -> None:
    argv = ["proxy-config", proxy, "--config", file, "--upstream", "127.0.0.1:18789"]
    result = run(*argv)
    assert result.exit_code == 2
    assert "trustedProxies[0]: is a name" in result.output
    assert "--front" in result.output


def test_migration_to_a_name(tmp_path: Path) -> None:
    source = tmp_path / "openclaw.json"
    source.write_text(json.dumps({"gateway": {"port": 18789, "auth": {"mode": "token", "token": "t" * 40}}}))
    argv = [
        "migrate",
        source,
        "--output",
        tmp_path / "out",
        "--trusted-proxy",
        f"dns:{NAME}",
        "--user-header",
        "x-user",
    ]
    result = run(*argv, "--required-header", "x-proof", "--allow-user", "nick@example.com", "--host", "g.example.com")
    assert "Traceback" not in result.output
    assert result.exit_code in {0, 1}, result.output
    (found,) = load(tmp_path / "out" / "extauthz.yaml").settings.gateways.values()
    assert found.trusted_proxies == [f"dns:{NAME}"]


def test_nothing_of_dns_is_loaded_where_no_name_is_configured(tmp_path: Path) -> None:
    # A service without names neither pays for the library nor has its code in reach.
    path = tmp_path / "extauthz.yaml"
    path.write_text(yaml.safe_dump({"gateways": {"g": gateway()}}), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from extauthz.config.load import load;"
        "from extauthz.service import Service;"
        f"file = Path({str(path)!r}); Service(file, load(file), lambda: load(file)).telemetry.close();"
        "print('dns' in sys.modules, 'extauthz.peers' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.split() == ["False", "True"]
