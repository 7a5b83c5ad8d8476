"""A running OpenClaw: started with a `gateway` block, everything else of it switched off, and asked. No asserts."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed

from openclaw.installing import Installed
from support.clients import Response, WebSocket, http1
from support.ports import free_port
from support.process import Program, running

START_SECONDS = 240.0

_QUIET: dict[str, Any] = {
    "discovery": {"mdns": {"mode": "off"}},
    "update": {"checkOnStart": False, "auto": {"enabled": False}},
    "telemetry": {"enabled": False},
    "models": {"catalogRefresh": {"enabled": False}},
    "browser": {"enabled": False},
    "plugins": {"enabled": False},
    "cron": {"enabled": False},
}
_ENVIRONMENT = {
    "OPENCLAW_DISABLE_BONJOUR": "1",
    "OPENCLAW_NO_AUTO_UPDATE": "1",
    "OPENCLAW_NO_RESPAWN": "1",
    "OPENCLAW_SKIP_CANVAS_HOST": "1",
    "OPENCLAW_SKIP_CHANNELS": "1",
    "OPENCLAW_SKIP_CRON": "1",
    "OPENCLAW_SKIP_GMAIL_WATCHER": "1",
    "DO_NOT_TRACK": "1",
}
_LIST_SESSIONS = json.dumps({"tool": "sessions_list", "action": "json", "args": {}}).encode()


@dataclass(frozen=True)
class Claw:
    """A running OpenClaw on 127.0.0.1."""

    port: int
    program: Program
    _tried: Path

    def tried_to_reach(self) -> set[str]:
        """Whatever it wanted to reach outside this host, in vain."""
        return set(self._tried.read_text(encoding="utf-8").split("\n")) - {""} if self._tried.exists() else set()


def surroundings(directory: Path, installed: Installed) -> dict[str, str]:
    """The environment of an OpenClaw that keeps everything in a directory, with `openclaw.json`, and stays there."""
    for folder in ("home", "state", "tmp"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    return {
        **_ENVIRONMENT,
        "PATH": f"{installed.node.parent}:/usr/bin:/bin",
        "HOME": str(directory / "home"),
        "TMPDIR": str(directory / "tmp"),
        "OPENCLAW_STATE_DIR": str(directory / "state"),
        "OPENCLAW_CONFIG_PATH": str(directory / "openclaw.json"),
        "NODE_OPTIONS": f"--require {Path(__file__).with_name('guard.cjs')}",
        "GUARD_LOG": str(directory / "tried.log"),
    }


@contextlib.contextmanager
def running_claw(directory: Path, installed: Installed, gateway: dict[str, Any]) -> Iterator[Claw]:
    """Run OpenClaw with this `gateway` block while the block runs, from the moment it says that it has started.

    Raises:
        ProgramError: it did not; the message has the end of its log.
    """
    port, tried = free_port(), directory / "tried.log"
    environment = surroundings(directory, installed)
    config = {**_QUIET, "logging": {"file": str(directory / "file.log")}, "gateway": {**gateway, "port": port}}
    (directory / "openclaw.json").write_text(json.dumps(config), encoding="utf-8")
    # Nothing of our own environment: a key or a token in it would switch something on.
    # All that it writes is below the directory, but for a file of locks in /tmp/openclaw, whose place cannot be set.
    argv = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    argv += [str(installed.node), str(installed.openclaw), "gateway", "run", "--verbose"]
    log = directory / "openclaw.log"
    with running(argv, log=log, ready=lambda: _has_started(port), seconds=START_SECONDS, cwd=directory) as program:
        yield Claw(port, program, tried)


def _has_started(port: int) -> bool:
    answer = http1(port, target="/startupz", host="127.0.0.1")
    return answer.status == 200 and answer.json()["status"] == "started"


def list_sessions(port: int, headers: list[tuple[str, str]], **request: Any) -> Response:
    """Ask for something that OpenClaw gives only to whom it has let in."""
    typed = [*headers, ("content-type", "application/json")]
    return http1(port, typed, method="POST", target="/tools/invoke", body=_LIST_SESSIONS, **request)


@dataclass(frozen=True)
class Greeting:
    """How OpenClaw answers on a WebSocket that it has accepted."""

    challenge: dict[str, Any]
    """Its first frame, which it sends before it knows anybody."""
    answer: dict[str, Any]
    """What it says to `connect`."""
    closed: int | None
    """The code with which it closed the WebSocket then; None if it is still open."""


def greet(socket: WebSocket) -> Greeting:
    """Say `connect` as its Control UI does, and ask for its health if it lets us in."""
    # Of another build than OpenClaw itself, it would be told to load itself again; `dev` is none.
    client = {"id": "openclaw-control-ui", "version": "1", "buildId": "dev", "platform": "linux", "mode": "webchat"}
    connect = {"minProtocol": 4, "maxProtocol": 4, "client": client, "role": "operator", "scopes": ["operator.read"]}
    answer = json.loads(socket.echo(_request("connect", connect)))
    closed = None
    if not answer["ok"]:
        try:
            socket.echo(_request("health", {}))
        except ConnectionClosed as end:
            closed = end.rcvd.code if end.rcvd is not None else None
    return Greeting(socket.hello, answer, closed)


def _request(method: str, parameters: dict[str, Any]) -> str:
    return json.dumps({"type": "req", "id": method, "method": method, "params": parameters})
