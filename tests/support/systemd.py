"""A stand-in for systemd's end of its notification socket: a real datagram socket. What is said is not judged here."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from support.process import READY_SECONDS


class Listener:
    """What systemd would hear."""

    def __init__(self, bound: socket.socket, address: str) -> None:
        self._bound = bound
        self.address = address
        """What NOTIFY_SOCKET is set to."""

    def heard(self, seconds: float = READY_SECONDS) -> dict[str, str]:
        """Return the variables of the next datagram.

        Raises:
            TimeoutError: There was none in time.
        """
        self._bound.settimeout(seconds)
        lines = self._bound.recv(65_536).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def hears_nothing(self) -> bool:
        """Whether no datagram is waiting."""
        self._bound.setblocking(False)
        try:
            self._bound.recv(65_536)
        except BlockingIOError:
            return True
        return False


@contextlib.contextmanager
def listening(where: Path | str) -> Iterator[Listener]:
    """Listen at a path, or at the name of an abstract socket."""
    path = isinstance(where, Path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(where) if path else f"\0{where}")
        yield Listener(bound, str(where) if path else f"@{where}")
