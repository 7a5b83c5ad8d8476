"""Loopback ports that nobody else takes. Only the choosing of ports lives here.

A port from the kernel's ephemeral range may become the source port of somebody's outgoing connection between the
moment it is chosen and the moment a server binds it. So ports are drawn from below that range, and each is held by a
bound socket until the interpreter ends: a server that sets SO_REUSEADDR, as all here do, can still listen on it, while
another test process that looks for a port finds it taken.
"""

import atexit
import contextlib
import random
import socket
import time
from collections.abc import Iterator

from support.process import READY_SECONDS

_FIRST, _LAST = 10_000, 32_000
_held: list[socket.socket] = []
_draw = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port on `host` that was free, and that no other caller of this function is given.

    Raises:
        RuntimeError: no port could be had after many draws.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(500):
        port = _draw.randint(_FIRST, _LAST)
        holder = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Not with SO_REUSEADDR yet: that would bind what another process has just bound so, and both had it.
            holder.bind((host, port))
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _held.append(holder)
        return port
    raise RuntimeError(f"no free port on {host} between {_FIRST} and {_LAST}")


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen on a port of 127.0.0.1 that cannot be chosen, such as a default one, while the block runs.

    A service of another test may have it for a while, which is waited for. Who has it for longer than READY_SECONDS
    has it for as long as the block runs.
    """
    deadline = time.monotonic() + READY_SECONDS
    with contextlib.ExitStack() as stack:
        while time.monotonic() < deadline:
            try:
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                break
            except OSError:
                time.sleep(0.1)
        yield


@atexit.register
def _release() -> None:
    while _held:
        with contextlib.suppress(OSError):
            _held.pop().close()
