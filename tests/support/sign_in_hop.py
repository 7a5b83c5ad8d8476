"""An identity-aware proxy in tests: signs in by a cookie, names the user, and passes the rest on byte by byte.

It removes the headers that it is told to, each under its own name, and says itself where the client comes from. All
else goes on untouched, so that what happens to it is the next proxy's doing. One request a connection.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.certificates import Issued
from support.ports import free_port

SESSION = "session=good"
"""The cookie of who is signed in."""

_MAX_HEAD = 1 << 20
_SECONDS = 60.0


@dataclass
class SignInHop:
    """A running hop on 127.0.0.1."""

    port: int
    behind: int
    """The port of 127.0.0.1 that it passes requests on to."""
    source: str
    """The address it connects from, which is the trusted proxy's."""
    user: str
    user_header: str
    removes: tuple[str, ...]
    """Which of the client's own headers it removes, in lower case; a careless one leaves the user header."""
    hsts: str | None = None
    """What it adds to answers as Strict-Transport-Security."""


@contextlib.contextmanager
def sign_in_hop(
    behind: int,
    *,
    source: str,
    user: str,
    user_header: str,
    removes: tuple[str, ...] | None = None,
    certificate: Issued | None = None,
    hsts: str | None = None,
) -> Iterator[SignInHop]:
    """Run the hop in threads of this process while the block runs; with a certificate, behind TLS."""
    hop = SignInHop(
        free_port(), behind, source, user, user_header, (user_header,) if removes is None else removes, hsts
    )
    context = None
    if certificate is not None:
        context = _context(certificate.certificate, certificate.private_key)
    listener = socket.create_server(("127.0.0.1", hop.port), backlog=64)
    threading.Thread(target=_accept, args=(hop, listener, context), daemon=True).start()
    try:
        yield hop
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _accept(hop: SignInHop, listener: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(hop, connection, context), daemon=True).start()


def _serve(hop: SignInHop, connection: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), connection:
        connection.settimeout(_SECONDS)
        client = connection if context is None else context.wrap_socket(connection, server_side=True)
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65_536)
                if not data or len(head) > _MAX_HEAD:
                    return
                head += data
            behind = socket.create_connection(("127.0.0.1", hop.behind), _SECONDS, source_address=(hop.source, 0))
            with behind:
                behind.sendall(_rewritten(hop, head))
                _relay(hop, client, behind)


def _rewritten(hop: SignInHop, head: bytes) -> bytes:
    fields, _, rest = head.partition(b"\r\n\r\n")
    # A folded line belongs to the one before it.
    start, *lines = fields.replace(b"\r\n ", b"\0").split(b"\r\n")
    dropped = {b"x-forwarded-for", b"x-forwarded-proto", *(name.encode() for name in hop.removes)}
    kept = [line for line in lines if line.partition(b":")[0].lower() not in dropped]
    kept += [b"x-forwarded-for: 203.0.113.10", b"x-forwarded-proto: https"]
    if any(line.lower().startswith(b"cookie:") and SESSION.encode() in line for line in lines):
        kept.append(f"{hop.user_header}: {hop.user}".encode())
    return b"\r\n".join([start, *kept]).replace(b"\0", b"\r\n ") + b"\r\n\r\n" + rest


def _relay(hop: SignInHop, client: socket.socket, behind: socket.socket) -> None:
    threading.Thread(target=_pump, args=(client, behind), daemon=True).start()
    if hop.hsts is not None:
        line, newline, rest = behind.recv(65_536).partition(b"\r\n")
        client.sendall(line + newline + f"Strict-Transport-Security: {hop.hsts}\r\n".encode() * bool(newline) + rest)
    _pump(behind, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
