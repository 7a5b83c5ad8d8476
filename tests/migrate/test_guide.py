"""`extauthz migrate`: the six steps. Their commands are run as they stand, those of extauthz at least."""

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from extauthz.cli import main
from migrate.migrating import COMPLETE, TRUSTED_PROXY, Migrated, migrate

CONFIGS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "token": ("{gateway: {auth: {token: '${T}'}, trustedProxies: ['10.0.0.9', \"o'hara\"]}}", COMPLETE),
    "password": ("{gateway: {auth: {mode: 'password'}}}", (*COMPLETE, "--proxy", "envoy")),
    "none": ("{gateway: {auth: {mode: 'none'}}}", COMPLETE),
    "trusted-proxy": ({"gateway": TRUSTED_PROXY}, ("--proxy", "nginx", "--host", "gateway.example.com")),
    "open": ("{gateway: {}}", ()),
}
TITLES = [
    "Configure the proxy",
    "Test the proxy by itself",
    "Change OpenClaw's configuration",
    "Restart the Gateway",
    "Test the WebSocket, then enforce",
    "Audit",
]
# What the decision log has after a day: nick, and a stranger who came past the identity-aware proxy.
LOG = """\
{"time": "2026-11-22T17:05:54.123456Z", "id": "a1", "gateway": "openclaw", "door": "grpc", "caller": "127.0.0.1", \
"peer": "10.0.0.8", "client": null, "user": null, "method": "GET", "host": "gateway.example.com", "path": "/", \
"result": "shadow", "reason": "trusted_proxy_untrusted_source", "step": "trusted", "policy": "0123456789ab", \
"shadow": true, "headers": {"x-forwarded-user": "eve@example.com", "x-forwarded-proto": "https"}}
{"time": "2026-11-22T17:05:55.123456Z", "id": "a2", "gateway": "openclaw", "door": "grpc", "caller": "127.0.0.1", \
"peer": "10.0.0.7", "client": "203.0.113.9", "user": "nick@example.com", "method": "GET", \
"host": "gateway.example.com", "path": "/", "result": "allow", "reason": null, "step": null, \
"policy": "0123456789ab", "shadow": true, "headers": {"x-forwarded-user": "nick@example.com", \
"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9,10.0.0.7"}}
"""


def migrated(name: str, folder: Path) -> Migrated:
    config, options = CONFIGS[name]
    return migrate(folder, config, *options)


def commands(found: Migrated, number: int | None = None) -> list[str]:
    """The command lines of the guide, or of one of its steps."""
    text = found.guide if number is None else found.guide.partition(f"\n## {number}. ")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def run(line: str) -> Result:
    return CliRunner().invoke(main, shlex.split(line)[1:])


def shell(line: str, folder: Path) -> None:
    subprocess.run(["/bin/sh", "-c", line], check=True, cwd=folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_there_are_six_steps_and_a_way_back_printed_and_written(name: str, tmp_path: Path) -> None:
    found = migrated(name, tmp_path)
    titles = re.findall(r"^## (.*)$", found.guide, re.MULTILINE)
    assert [title for title in titles if title != "To know"] == [
        *(f"{number}. {title}" for number, title in enumerate(TITLES, 1)),
        "The way back",
    ]
    assert found.result.stdout == found.guide
    assert all(commands(found, number) for number in range(1, 7))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_command_of_extauthz_is_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = migrated(name, tmp_path)
    monkeypatch.chdir(found.folder)
    Path("decisions.jsonl").write_text(LOG)
    seen = set()
    for line in commands(found):
        if line.startswith("sed "):
            shell(line, found.folder)
        if not line.startswith("extauthz "):
            continue
        _, command, *_ = shlex.split(line)
        seen.add(command)
        if command in {"serve", "probe"} or "ADDR" in line:
            # These would go on, or out into the network; what click takes of them is looked at.
            context = main.make_context("extauthz", shlex.split(line)[1:2], resilient_parsing=True)
            found_command = main.get_command(context, command)
            assert found_command is not None
            found_command.make_context(command, shlex.split(line)[2:])
            continue
        result = run(line)
        assert result.exit_code in {0, 1}, f"{line}\n{result.output}"
    assert seen >= {"check", "serve", "explain", "probe", "audit"}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "open"])
def test_the_first_example_is_allowed_and_the_second_denied(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = migrated(name, tmp_path)
    monkeypatch.chdir(found.folder)
    first, second = (line for line in commands(found, 2) if "--peer" in line)
    assert run(first).exit_code == 0
    assert run(second).exit_code == 1


@pytest.mark.parametrize("name", ["token", "password", "trusted-proxy"])
def test_shadow_comes_first_and_the_replay_shows_what_enforcing_changes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = migrated(name, tmp_path)
    monkeypatch.chdir(found.folder)
    assert found.ours["mode"] == "shadow"
    Path("decisions.jsonl").write_text(LOG)
    lines = commands(found, 5)
    for line in lines:
        if line.startswith(("sed ", "mv ")):
            shell(line, found.folder)
        elif "--replay" in line:
            replayed = run(line)
            assert "newly denied" in replayed.stdout
            assert replayed.exit_code == 1
    assert found.ours["mode"] == "enforce"
    order = [
        next(at for at, line in enumerate(lines) if what in line) for what in ("--replay", "mv ", "check", "probe")
    ]
    assert order == sorted(order)


def test_an_openclaw_that_asks_nobody_is_never_behind_shadow_mode(tmp_path: Path) -> None:
    found = migrated("none", tmp_path)
    assert found.ours["mode"] == "enforce"
    assert "mode: shadow" not in found.guide
    assert "enforces from the start" in found.guide


@pytest.mark.parametrize(
    ("name", "entries"), [("token", ["10.0.0.9", "o'hara", "127.0.0.1"]), ("password", ["127.0.0.1"])]
)
def test_openclaw_is_told_of_the_proxy_before_people_come_through_it(
    name: str, entries: list[str], tmp_path: Path
) -> None:
    # Seen on OpenClaw 2026.9.6: it refuses X-Forwarded-For from whom it does not know, in every mode.
    (line,) = (line for line in commands(migrated(name, tmp_path), 2) if line.startswith("openclaw config set"))
    assert shlex.split(line) == [
        *("openclaw", "config", "set", "gateway.trustedProxies"),
        "[" + ", ".join(f'"{entry}"' for entry in entries) + "]",
        "--strict-json",
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_way_back_puts_back_what_was_kept(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = migrated(name, tmp_path)
    monkeypatch.chdir(found.folder)
    before = (tmp_path / "openclaw.json").read_text()
    copies = [line for line in commands(found) if line.startswith("cp ")]
    assert len(copies) == 2
    shell(copies[0], found.folder)
    (tmp_path / "openclaw.json").write_text("changed")
    shell(copies[1], found.folder)
    assert (tmp_path / "openclaw.json").read_text() == before


def test_the_command_that_writes_it_again_has_what_was_said_and_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = migrate(
        tmp_path, "{gateway: {}}", "--allow-user", "o'hara@x", "--host", "a.example.com", "--gateway", "claw"
    )
    monkeypatch.chdir(found.folder)
    (line,) = (line for line in commands(found, 1) if "migrate" in line)
    assert line == (
        "extauthz migrate ../openclaw.json --gateway claw --allow-user 'o'\"'\"'hara@x' --host a.example.com "
        "--trusted-proxy ADDR --user-header NAME --output . --force"
    )
    again = run(line.replace("ADDR", "10.0.0.7").replace("NAME", "x-forwarded-user"))
    assert again.exit_code == 0, again.output
    assert found.ours["auth"]["trustedProxy"]["allowUsers"] == ["o'hara@x"]


def test_a_block_out_of_several_files_is_changed_by_hand(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "gateway.json5").write_text("{auth: {token: 'x'}}")
    found = migrate(tmp_path, "{gateway: {$include: './parts/gateway.json5'}}", *COMPLETE)
    assert "`../parts/gateway.json5`" in found.guide
    assert "openclaw config" not in found.guide


@pytest.mark.parametrize("user", ["a\nb", "\x1b[31m", "$(id)", "`id`", "'; id; '"])
def test_no_text_of_the_file_becomes_a_command(user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {**TRUSTED_PROXY["auth"]["trustedProxy"], "allowUsers": [user], "requiredHeaders": [f"x; {user}"[:20]]}
    found = migrate(tmp_path, {"gateway": {**TRUSTED_PROXY, "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}})
    if found.result.exit_code == 2:
        assert "control character" in found.result.stderr
        return
    monkeypatch.chdir(found.folder)
    first = next(line for line in commands(found, 2) if "--peer" in line)
    assert f"x-forwarded-user: {user}" in shlex.split(first)


@pytest.mark.parametrize("name", ["my openclaw.json", "$(id).json", "a'b.json", "a;b.json"])
def test_the_name_of_the_file_becomes_no_command(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("{gateway: {}}", encoding="utf-8")
    found = Migrated(tmp_path / "out", run(f"extauthz migrate {shlex.quote(str(file))} --output {tmp_path / 'out'}"))
    naming = [words for words in map(shlex.split, commands(found)) if f"../{name}" in words]
    assert [words[:2] for words in naming] == [
        ["extauthz", "migrate"],
        ["cp", "-p"],
        ["extauthz", "audit"],
        ["cp", "-p"],
    ]


def test_at_a_terminal_each_command_can_be_copied(tmp_path: Path) -> None:
    found = migrated("password", tmp_path)
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "extauthz.cli", "migrate", str(tmp_path / "openclaw.json"), *COMPLETE]
    argv += ["--proxy", "envoy", "--output", str(found.folder), "--force"]
    with subprocess.Popen(argv, stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as program:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert program.returncode == 0
    assert "\x1b[1m1. Configure the proxy\x1b[0m" in shown
    assert [line for line in commands(found) if f"  {line}\x1b[0m\r\n" not in shown] == []


def read_terminal(descriptor: int) -> bytes:
    """Read what a program wrote to a terminal; nothing once it has gone."""
    try:
        return os.read(descriptor, 65_536)
    except OSError:
        return b""
