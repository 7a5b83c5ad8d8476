"""The whole chain on this host: Envoy, extauthz, OpenClaw, with the configurations that extauthz writes. No asserts.

Each gateway of the file is there for what it denies, and is reached at <id>.example.com; behind all of them is one
OpenClaw. The identity-aware proxy in front is played by whoever connects from its address.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from extauthz.cli import main
from openclaw.claw import Claw, list_sessions, running_claw
from openclaw.installing import Installed
from support.clients import Response, WebSocket, proxy_protocol, websocket
from support.envoy import Envoy, running_envoy
from support.ports import free_port
from support.service import Service, running_service

USER = "nick@example.com"
ORIGIN = "https://openclaw.example.com"
TRUSTED = "127.0.0.7"
"""Where the identity-aware proxy connects from, on loopback."""
HERE = "127.0.0.1"
"""The address that a program of this host has by itself."""
STRANGER = "127.0.0.8"
"""A peer that nobody trusts; also a balancer, for peers on other hosts."""
REMOTE = "10.0.0.7"
"""The same proxy on another host, as the balancer tells of it."""
LOCAL = "10.0.0.2"
"""An address of the Gateway's own host, which is among the trusted proxies by mistake."""
IDENTITY = {
    "x-forwarded-user": USER,
    "x-forwarded-proto": "https",
    "x-forwarded-host": "openclaw.example.com",
    "x-forwarded-for": "203.0.113.10",
}
"""What the identity-aware proxy sends."""


def _gateway(name: str, *, rules: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    usual = {
        "userHeader": "x-forwarded-user",
        "requiredHeaders": ["X-Forwarded-Proto", "X-Forwarded-Host"],
        "allowUsers": [USER],
    }
    return {
        "hosts": [f"{name}.example.com"],
        "trustedProxies": [TRUSTED, REMOTE, LOCAL],
        "auth": {"mode": "trusted-proxy", "trustedProxy": {**usual, **(rules or {})}},
        "controlUi": {"allowedOrigins": [ORIGIN]},
        **changed,
    }


_CHANGES: dict[str, dict[str, Any]] = {
    "openclaw": {},
    "claw": {"ruleset": "openclaw-2026.9", "localInterfaces": [LOCAL]},
    "claw-loopback": {"ruleset": "openclaw-2026.9", "rules": {"allowLoopback": True}},
    "here": {"ruleset": "openclaw-2026.9", "trustedProxies": [HERE], "rules": {"allowLoopback": True}},
    "no-rules": {"auth": {"mode": "trusted-proxy"}},
    "no-proxies": {"trustedProxies": []},
    "elsewhere": {"callers": {"addresses": ["192.0.2.1"]}},
}
GATEWAYS = {name: _gateway(name, **changed) for name, changed in _CHANGES.items()}


@dataclass(frozen=True)
class Chain:
    """All of it, running."""

    service: Service
    claw: Claw
    directory: Path
    _near: tuple[int, Envoy]
    _far: tuple[int, Envoy]

    def invoke(
        self, gateway: str = "openclaw", headers: list[tuple[str, str]] | None = None, *, peer: str = TRUSTED
    ) -> Response:
        """Ask OpenClaw for something, by way of everything, as the proxy at `peer`."""
        port, source, preface = self._enter(peer)
        sent = [*IDENTITY.items()] if headers is None else headers
        return list_sessions(port, sent, host=f"{gateway}.example.com", source=source, preface=preface)

    @contextlib.contextmanager
    def open(
        self, gateway: str = "openclaw", headers: list[tuple[str, str]] | None = None, *, peer: str = TRUSTED
    ) -> Iterator[WebSocket]:
        """Open a WebSocket to OpenClaw, by way of everything, while the block runs.

        Raises:
            Refused: the upgrade was refused.
        """
        port, source, preface = self._enter(peer)
        sent = [*IDENTITY.items()] if headers is None else headers
        with websocket(port, sent, host=f"{gateway}.example.com", source=source, preface=preface) as opened:
            yield opened

    def reached(self) -> int:
        """How many requests have gone on to OpenClaw so far."""
        names = [f"cluster.gateway_{number}_{name}.upstream_rq_total" for number, name in enumerate(written())]
        return sum(envoy.counter(name) for _, envoy in (self._near, self._far) for name in names)

    @property
    def envoy_port(self) -> int:
        """Where Envoy listens for peers of this host."""
        return self._near[0]

    def _enter(self, peer: str) -> tuple[int, str, bytes]:
        if peer.startswith("127."):
            return self._near[0], peer, b""
        return self._far[0], STRANGER, proxy_protocol(peer)


def written() -> dict[str, Any]:
    """The gateways that Envoy knows: those of extauthz, and one that was taken out of its file since."""
    return {**GATEWAYS, "gone": _gateway("gone")}


def run(*arguments: str) -> str:
    """Run a command of extauthz and return what it prints.

    Raises:
        RuntimeError: it failed.
    """
    result = CliRunner().invoke(main, arguments)
    if result.exit_code:
        raise RuntimeError(result.output)
    return result.stdout


def openclaw_block(directory: Path, *options: str) -> dict[str, Any]:
    """The `gateway` block that extauthz writes for OpenClaw."""
    file = _file(directory)
    block: dict[str, Any] = json.loads(
        run("proxy-config", "openclaw", "--config", str(file), "--gateway", "openclaw", *options)
    )["gateway"]
    return block


@contextlib.contextmanager
def running_front(directory: Path, service: Service, upstream: str, *options: str) -> Iterator[tuple[int, Envoy]]:
    """Run an Envoy with the configuration that extauthz writes, while the block runs, and say where it listens."""
    directory.mkdir(parents=True, exist_ok=True)
    port, admin = free_port(), free_port()
    argv = ["proxy-config", "envoy", "--config", str(_file(directory)), "--extauthz", service.address, *options]
    argv += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--timeout", "5"]
    argv += [option for name in written() for option in ("--upstream", f"{name}={upstream}")]
    with running_envoy(run(*argv), admin_port=admin, directory=directory) as envoy:
        yield port, envoy


@contextlib.contextmanager
def running_chain(directory: Path, installed: Installed) -> Iterator[Chain]:
    """Run everything while the block runs.

    Raises:
        ProgramError: a program did not become ready; the message has the end of its log.
    """
    claw_directory = directory / "claw"
    claw_directory.mkdir()
    with (
        running_service(directory / "service", {"gateways": GATEWAYS}) as service,
        running_claw(claw_directory, installed, openclaw_block(directory)) as claw,
        running_front(directory / "near", service, f"127.0.0.1:{claw.port}") as near,
        running_front(directory / "far", service, f"127.0.0.1:{claw.port}", "--proxy-protocol-from", STRANGER) as far,
    ):
        yield Chain(service, claw, directory, near, far)


def _file(directory: Path) -> Path:
    file = directory / "written-from.yaml"
    file.write_text(yaml.safe_dump({"gateways": written()}), encoding="utf-8")
    return file
