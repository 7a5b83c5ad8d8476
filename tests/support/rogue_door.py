"""A server in the place of extauthz's HTTP doors that answers with whatever bytes a test gives it. It has no rules."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from support.ports import free_port

HANGS: None = None
"""As an answer: the question is taken, and never answered."""


@dataclass
class RogueDoor:
    """A running server. Set `answer` to change what it says; after it, the connection is closed."""

    port: int
    answer: bytes | Callable[[bytes], bytes] | None = b""
    """Bytes, HANGS, or what makes bytes of the head of a question."""
    asked: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def rogue_door() -> Iterator[RogueDoor]:
    """Run the server in threads of this process while the block runs."""
    door = RogueDoor(free_port())
    end = threading.Event()
    listener = socket.create_server(("127.0.0.1", door.port))
    threading.Thread(target=_accept, args=(door, listener, end), daemon=True).start()
    try:
        yield door
    finally:
        end.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(door: RogueDoor, listener: socket.socket, end: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not end.is_set():
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(door, connection, end), daemon=True).start()


def _answer(door: RogueDoor, connection: socket.socket, end: threading.Event) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(30)
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65_536)
            if not data:
                return
            head += data
        door.asked.append(head)
        if door.answer is None:
            # Until the other side has had enough.
            while not end.is_set() and connection.recv(65_536):
                pass
            return
        connection.sendall(door.answer(head) if callable(door.answer) else door.answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
