"""Envoy in front, run with the configuration that extauthz writes for it. What it asks and what is behind are given."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extauthz.proxies.envoy import Route, Settings, render
from support.envoy import Envoy, running_envoy
from support.ports import free_port


@dataclass(frozen=True)
class Front:
    """A running Envoy that listens on 127.0.0.1."""

    port: int
    envoy: Envoy
    settings: Settings


@contextlib.contextmanager
def running_front(
    directory: Path, *, routes: Sequence[Route], extauthz: Sequence[str], **settings: Any
) -> Iterator[Front]:
    """Run Envoy while the block runs, on ports of its own, with these routes, endpoints and further settings.

    Raises:
        ProgramError: Envoy did not become ready; the message has the end of its log.
    """
    port, admin = free_port(), free_port()
    chosen = Settings(
        routes=tuple(routes),
        extauthz=tuple(extauthz),
        listen=f"127.0.0.1:{port}",
        admin=f"127.0.0.1:{admin}",
        # Long enough that a slow machine is no failure, and quick to notice what a test does.
        **{"timeout": 5.0, "health_interval": 0.5, **settings},
    )
    directory.mkdir(parents=True, exist_ok=True)
    with running_envoy(render(chosen), admin_port=admin, directory=directory) as program:
        yield Front(port, program, chosen)
