"""What came back: an answer, or how there was none. Reads HTTP/1.1 within bounds; neither connects nor judges."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import h11

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from extauthz.probe.limits import Limits

_CHUNK: Final = 65_536
SWITCHING: Final = 101


class Fault(StrEnum):
    """How there was no answer."""

    NO_NAME = "the host's name is not known"
    NO_CONNECTION = "nothing listens there"
    NO_CERTIFICATE = "the certificate cannot be trusted"
    NO_TLS = "TLS cannot be agreed on"
    SILENCE = "no answer in time"
    CLOSED = "the connection was closed without an answer"
    NO_HTTP = "what came is no HTTP/1.1"
    SPENT = "the probe's own limits are used up"


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that had no answer."""

    fault: Fault
    detail: str = ""

    def __str__(self) -> str:
        """Say what happened."""
        return f"{self.fault}: {self.detail}" if self.detail else str(self.fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, as far as it was read."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    """The body; of a WebSocket that was accepted, its first message."""
    cut: str = ""
    """Why the body is not all there; empty if it is."""
    close_code: int | None = None
    """With which code an accepted WebSocket was closed at once."""
    rest: bytes = b""
    """What came after the head of a 101."""

    def values(self, name: str) -> list[str]:
        """Return the values of every header with this name, in lower case, in order."""
        return [value for key, value in self.headers if key == name]


def read_answer(
    connection: socket.socket, sent: Sequence[tuple[str, str]], limits: Limits, deadline: float
) -> Answer | Failure:
    """Read one answer.

    Args:
        connection: where it comes from.
        sent: the `Connection` and `Upgrade` headers that were sent, which say what a 101 means.
        limits: how much is read.
        deadline: until when, by the monotonic clock.
    """
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.head_bytes)
    # What was sent is written by hand: h11 refuses what a probe sends. It only has to know what it reads the answer to.
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "probe"), *sent]))
    parser.send(h11.EndOfMessage())
    try:
        return _read(connection, parser, limits, deadline)
    except TimeoutError:
        return Failure(Fault.SILENCE, f"after {limits.request_seconds:g} s")
    except h11.RemoteProtocolError as error:
        nothing = parser.trailing_data == (b"", True)
        return Failure(Fault.CLOSED) if nothing else Failure(Fault.NO_HTTP, str(error))
    except OSError:
        return Failure(Fault.CLOSED)


def _read(connection: socket.socket, parser: h11.Connection, limits: Limits, deadline: float) -> Answer | Failure:
    interim = 0
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(receive(connection, deadline))
        elif isinstance(event, h11.InformationalResponse):
            if event.status_code == SWITCHING:
                return Answer(status=SWITCHING, headers=_fields(event), rest=parser.trailing_data[0])
            interim += 1
            if interim > limits.interim_answers:
                return Failure(Fault.NO_HTTP, f"more than {limits.interim_answers} answers with a 1xx status")
        elif isinstance(event, h11.Response):
            return _with_body(event, connection, parser, limits, deadline)
        else:
            return Failure(Fault.CLOSED)


def _with_body(
    head: h11.Response, connection: socket.socket, parser: h11.Connection, limits: Limits, deadline: float
) -> Answer:
    body = bytearray()
    cut = ""
    try:
        while not isinstance(event := parser.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if event is h11.NEED_DATA:
                parser.receive_data(receive(connection, deadline))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > limits.body_bytes:
                    cut = f"it is longer than {limits.body_bytes} bytes"
                    break
    except TimeoutError:
        cut = f"it did not end in {limits.request_seconds:g} s"
    except (h11.RemoteProtocolError, OSError):
        cut = "the connection ended before it did"
    return Answer(status=head.status_code, headers=_fields(head), body=bytes(body[: limits.body_bytes]), cut=cut)


def receive(connection: socket.socket, deadline: float) -> bytes:
    """Return what comes next, or nothing at the end.

    Raises:
        TimeoutError: nothing came until the deadline.
        OSError: the connection was lost.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(_CHUNK)


def _fields(event: h11.InformationalResponse | h11.Response) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in event.headers)
