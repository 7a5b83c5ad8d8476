"""Which loop the HTTP doors of a test run on. The configuration of a test need not know."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from extauthz.doors.http_server import Loop

LOOPS: tuple[Loop, ...] = ("asyncio", "uvloop")

_chosen: list[Loop] = ["asyncio"]


@contextlib.contextmanager
def chosen(loop: Loop) -> Iterator[Loop]:
    """Start doors on this loop while the block runs; of several blocks the innermost counts."""
    _chosen.append(loop)
    try:
        yield loop
    finally:
        _chosen.pop()


def chosen_loop() -> Loop:
    """Return the loop that a door in this process is to run on."""
    return _chosen[-1]


def with_loop(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the chosen loop, unless that is the default or it says itself which one."""
    server = config.get("server", {})
    if chosen_loop() == "asyncio" or "httpLoop" in server:
        return dict(config)
    return {**config, "server": {**server, "httpLoop": chosen_loop()}}
