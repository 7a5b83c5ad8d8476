"""The demonstration's programs: their ports, their start, their logs, their end. What they are is not known here."""

import contextlib
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# How long a program may take until it is ready, and until it has ended.
READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 12.0
_POLL_SECONDS: Final = 0.05
# Below the usual ephemeral ranges: a port of these can become the source port of somebody's connection before it is
# listened on.
PORTS: Final = range(10_000, 32_000)
_TRIED_PORTS: Final = 500


class DemoError(Exception):
    """The demonstration cannot be run; the text says why and what to do."""


class Programs:
    """The programs of the demonstration, each with its log; stopped in reverse order."""

    def __init__(self, logs: Path, stack: contextlib.ExitStack) -> None:
        self._logs = logs
        self._stack = stack
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: list[str], ready: Callable[[], bool], output: Path | None = None) -> None:
        """Start a program and wait until it is ready.

        Args:
            name: Of the program; its log has it too.
            argv: The program and its arguments.
            ready: Asked again and again.
            output: What it writes to standard output; None: its log, as what it writes to standard error.

        Raises:
            DemoError: It ended, or was not ready in time; it is stopped, and holds no port.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as said, (output or log).open("ab") as out:
            # A group of its own: Ctrl-C is for us, and we stop it in order.
            program = subprocess.Popen(  # noqa: S603 - our own programs, and Envoy
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True
            )
        self._started[name] = program
        self._stack.callback(_stop, program)
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if program.poll() is not None or time.monotonic() > deadline:
                _stop(program)
                raise DemoError(f"{name} did not come up; its log ends:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(_POLL_SECONDS)

    def wait(self) -> str:
        """Wait until one of the programs ends, and return its name."""
        while True:
            for name, program in self._started.items():
                if program.poll() is not None:
                    return name
            time.sleep(_POLL_SECONDS * 4)


def _stop(program: subprocess.Popen[bytes]) -> None:
    program.send_signal(signal.SIGTERM)
    try:
        program.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def free_port(stack: contextlib.ExitStack) -> int:
    """Return a port that was free, kept from others who look for one until `stack` ends.

    A bound socket keeps it: on Linux a server that sets SO_REUSEADDR, as all here do, still listens on it. Elsewhere it
    could not, and the port is only drawn.

    Raises:
        DemoError: No port was free in many tries.
    """
    for port in random.sample(PORTS, _TRIED_PORTS):
        holder = socket.socket()
        try:
            # Not with SO_REUSEADDR yet: that would bind what another demonstration keeps.
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stack.enter_context(holder)
        else:
            holder.close()
        return port
    raise DemoError(f"no port between {PORTS.start} and {PORTS.stop} on 127.0.0.1 was free: stop what listens there")


def is_free(port: int) -> bool:
    """Tell whether nobody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
