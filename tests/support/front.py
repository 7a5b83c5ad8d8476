"""Envoy in front, run with the configuration that extauthz writes for it. What it asks and what is behind are given."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extauthz.proxies.envoy import Route, Settings, render
from support.envoy import Envoy, running_envoy
from support.ports import free_port
from support.process import wait_until

# Long enough that a machine that stands still for a while is no failure, and no health check finds one.
PATIENT: dict[str, Any] = {"timeout": 10.0, "health_interval": 20.0}
WATCHFUL: dict[str, Any] = {**PATIENT, "health_interval": 0.5}
"""For tests that stop what Envoy asks: it notices soon."""


@dataclass(frozen=True)
class Front:
    """A running Envoy that listens on 127.0.0.1."""

    port: int
    envoy: Envoy
    settings: Settings


@contextlib.contextmanager
def running_front(
    directory: Path, *, routes: Sequence[Route], extauthz: Sequence[str], well: bool = True, **settings: Any
) -> Iterator[Front]:
    """Run Envoy while the block runs, on ports of its own, with these routes, endpoints and further settings.

    It is waited for that Envoy finds all endpoints `well`.

    Raises:
        ProgramError: Envoy did not become ready; the message has the end of its log.
    """
    port, admin = free_port(), free_port()
    chosen = Settings(
        routes=tuple(routes),
        extauthz=tuple(extauthz),
        listen=f"127.0.0.1:{port}",
        admin=f"127.0.0.1:{admin}",
        **{**PATIENT, **settings},
    )
    directory.mkdir(parents=True, exist_ok=True)
    with running_envoy(render(chosen), admin_port=admin, directory=directory) as envoy:
        if well:
            wait_until(lambda: envoy.finds_well(len(extauthz)), "Envoy finds them all well")
        yield Front(port, envoy, chosen)
