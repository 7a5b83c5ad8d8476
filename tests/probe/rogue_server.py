"""Servers that answer a probe badly, or as a test scripts it, by the request's bytes. Loopback, threads, no asserts."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

from support.ports import free_port

Script = Callable[[socket.socket, bytes], None]
"""What is done with a connection, given the head of its request."""


@contextlib.contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run the script for each connection while the block runs, on a port of 127.0.0.1, which is what the block gets."""
    port = free_port()
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    threading.Thread(target=_accept, args=(listener, script, context), daemon=True).start()
    try:
        yield port
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, script: Script, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, script, context), daemon=True).start()


def _serve(connection: socket.socket, script: Script, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), connection:
        connection.settimeout(60)
        client = connection if context is None else context.wrap_socket(connection, server_side=True)
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65_536)
                if not data:
                    return
                head += data
            script(client, head)
            # Closed by the other side, so that nothing sent is lost to a reset.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                while client.recv(65_536):
                    pass


def says(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of an answer."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
