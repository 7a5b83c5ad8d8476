"""A real OpenClaw migrated by `extauthz migrate`, with the commands of the guide, from token mode to the end."""

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.migrating import Migrated, migrate, patched
from openclaw.chain import IDENTITY, ORIGIN, STRANGER, TRUSTED, USER, run
from openclaw.claw import Claw, greet, list_sessions, running_claw, surroundings
from openclaw.installing import Installed
from support.clients import websocket
from support.envoy import running_envoy
from support.ports import free_port
from support.service import running_service

TOKEN = "a-token-of-before"
HOST = "openclaw.example.com"
BEFORE: dict[str, Any] = {
    "mode": "local",
    "bind": "loopback",
    "auth": {"mode": "token", "token": TOKEN, "rateLimit": {"maxAttempts": 3}},
    "controlUi": {"basePath": "/claw"},
    "remote": {"url": "ws://127.0.0.1:18789", "token": TOKEN},
    "tailscale": {"mode": "off"},
}
OPTIONS = ("--trusted-proxy", TRUSTED, "--user-header", "x-forwarded-user", "--allow-user", USER, "--host", HOST)
FORWARDED = ("x-forwarded-for", "203.0.113.10")
"""Without it, OpenClaw finds no client but a proxy on loopback."""
CLI_SECONDS = 240.0


@pytest.fixture
def migrated(tmp_path: Path) -> Migrated:
    found = migrate(tmp_path, {"gateway": BEFORE}, *OPTIONS)
    assert found.result.exit_code == 0, found.result.output
    return found


def openclaw(directory: Path, installed: Installed, line: str) -> None:
    """Run a command line of the guide."""
    program, *arguments = shlex.split(line)
    assert program == "openclaw"
    done = subprocess.run(
        [str(installed.node), str(installed.openclaw), *arguments],
        check=False,
        cwd=directory / "out",
        env=surroundings(directory, installed),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLI_SECONDS,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def guide_lines(found: Migrated, begins: str) -> list[str]:
    return [line for line in found.guide.splitlines() if line.startswith(begins)]


def gateway_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "openclaw.json").read_text(encoding="utf-8"))["gateway"]
    return found


@contextlib.contextmanager
def front(directory: Path, found: Migrated, claw: Claw) -> Iterator[int]:
    """Run extauthz with our file, and Envoy with what follows from it, and say where Envoy listens."""
    directory.mkdir()
    config = yaml.safe_load((found.folder / "extauthz.yaml").read_text())
    port, admin = free_port(), free_port()
    with running_service(directory / "service", config) as service:
        argv = ["proxy-config", "envoy", "--config", str(found.folder / "extauthz.yaml")]
        argv += ["--extauthz", service.address, "--upstream", f"openclaw=127.0.0.1:{claw.port}", "--timeout", "5"]
        text = run(*argv, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
        with running_envoy(text, admin_port=admin, directory=directory):
            yield port


def test_openclaw_takes_the_patch_and_its_file_is_the_block(
    migrated: Migrated, installed: Installed, tmp_path: Path
) -> None:
    lines = guide_lines(migrated, "openclaw config ")
    assert [shlex.split(line)[2] for line in lines] == ["set", "patch", "patch"]
    for line in lines:
        openclaw(tmp_path, installed, line)
    assert gateway_of(tmp_path) == migrated.block == patched(BEFORE, migrated.patch)


def test_shadow_mode_lets_the_token_decide_as_before(migrated: Migrated, installed: Installed, tmp_path: Path) -> None:
    openclaw(tmp_path, installed, guide_lines(migrated, "openclaw config set")[0])
    before = {**gateway_of(tmp_path), "remote": {}}
    bearer = [("authorization", f"Bearer {TOKEN}"), FORWARDED]
    with running_claw(tmp_path / "claw", installed, before) as claw, front(tmp_path / "front", migrated, claw) as port:
        for source in (TRUSTED, STRANGER):
            assert list_sessions(port, bearer, host=HOST, source=source).status == 200
            assert list_sessions(port, [*IDENTITY.items()], host=HOST, source=source).status == 401


def test_who_is_named_comes_in_and_nobody_else_in_shadow_mode_and_then_enforced(
    migrated: Migrated, installed: Installed, tmp_path: Path
) -> None:
    identity = [*IDENTITY.items()]
    with running_claw(tmp_path / "claw", installed, migrated.block) as claw:
        with front(tmp_path / "shadow", migrated, claw) as port:
            assert list_sessions(port, identity, host=HOST, source=TRUSTED).status == 200
            # extauthz lets them pass without any identity, and OpenClaw does not.
            forged = [*identity, ("x-authz-stamp", "made-up")]
            for refused in (forged, [("authorization", f"Bearer {TOKEN}"), FORWARDED]):
                answer = list_sessions(port, refused, host=HOST, source=STRANGER)
                assert (answer.status, answer.values("x-authz-reason")) == (401, [])
        enforced = (migrated.folder / "extauthz.yaml").read_text().replace("mode: shadow", "mode: enforce")
        (migrated.folder / "extauthz.yaml").write_text(enforced)
        with front(tmp_path / "enforced", migrated, claw) as port:
            assert list_sessions(port, identity, host=HOST, source=TRUSTED).status == 200
            answer = list_sessions(port, identity, host=HOST, source=STRANGER)
            assert answer.values("x-authz-reason") == ["trusted_proxy_untrusted_source"]
            with websocket(port, [*identity, ("origin", ORIGIN)], host=HOST, source=TRUSTED) as opened:
                assert greet(opened).answer["ok"]
