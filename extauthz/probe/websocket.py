"""The client's side of a WebSocket as far as a probe needs it: the upgrade's headers, the first message, the close."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Final

from websockets.exceptions import WebSocketException
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side

from extauthz.probe.answers import Answer, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from extauthz.probe.limits import Limits

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_GOING_AWAY: Final = 1001
_MESSAGE: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


def upgrade_headers(key: str, named: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Return the headers that ask for an upgrade; `named` are further names for Connection."""
    return [
        ("Connection", ", ".join(["Upgrade", *named])),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]


def fresh_key() -> str:
    """Return a key for one upgrade."""
    return base64.b64encode(secrets.token_bytes(16)).decode("ascii")


def is_accepted(answer: Answer, key: str) -> bool:
    """Whether a 101 was made for this key by a WebSocket server, and by nobody who only says 101."""
    made = hashlib.sha1((key + _GUID).encode("ascii"), usedforsecurity=False).digest()
    return answer.values("sec-websocket-accept") == [base64.b64encode(made).decode("ascii")]


def read_message(connection: socket.socket, answer: Answer, limits: Limits) -> Answer:
    """Return the answer with the first message in it, or with the code of a close, and end the WebSocket."""
    deadline = time.monotonic() + limits.message_seconds
    protocol = Protocol(Side.CLIENT, max_size=limits.body_bytes)
    body, code, cut = bytearray(), None, ""
    data, done = answer.rest, False
    try:
        while not done:
            protocol.receive_data(data) if data else None
            for frame in protocol.events_received():
                if done or not isinstance(frame, Frame):
                    continue
                if frame.opcode is Opcode.CLOSE:
                    code, done = Close.parse(frame.data).code, True
                elif frame.opcode in _MESSAGE:
                    body += frame.data
                    done = frame.fin or len(body) > limits.body_bytes
            if not done:
                data = receive(connection, deadline)
                if not data:
                    cut, done = "the connection was closed", True
    except TimeoutError:
        cut = f"no message came in {limits.message_seconds:g} s"
    except (OSError, WebSocketException):
        cut = "what came is no WebSocket"
    _end(connection, protocol)
    return Answer(
        status=answer.status,
        headers=answer.headers,
        body=bytes(body[: limits.body_bytes]),
        cut=cut,
        close_code=code,
    )


def _end(connection: socket.socket, protocol: Protocol) -> None:
    with contextlib.suppress(OSError, WebSocketException):
        protocol.send_close(_GOING_AWAY)
        connection.settimeout(1)
        connection.sendall(b"".join(protocol.data_to_send()))
