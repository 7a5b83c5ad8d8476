"""What uvicorn leaves open and a door must not: a limit to everything that a client can send or hold.

One class around uvicorn's own HTTP/1.1 protocol. It counts and watches the clock; it reads no header but those that
frame the message, and decides nothing. Each limit below is reached by no proxy that works.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from extauthz.core.address import Address, parse_address
from extauthz.core.request import Caller
from extauthz.logs import get_logger
from extauthz.wire.forward_auth import HttpAnswer

_log: Final = get_logger(__name__)

# The request line and all headers of one request, in bytes; Envoy takes 60 KiB from a client, nginx 32 KiB.
HEAD_BYTES: Final = 131_072
# Header lines for each name that `limits.headers` allows: a name may come again, as cookies do.
LINES_PER_NAME: Final = 4
# Time for a request to arrive whole, from its first byte, or from the connection's start.
HEAD_SECONDS: Final = 10.0
# How long a connection may be kept without a request: longer than the 90 s and 60 s after which Traefik, Caddy and
# nginx close theirs, so that none sends a request into a connection that is just being closed.
IDLE_SECONDS: Final = 120
# How long a client may take to read what it was sent.
STALL_SECONDS: Final = 10.0
# Requests of one connection that wait for the one before them; no proxy sends more than one.
MOST_WAITING: Final = 16
# A body is never read. The connection is closed after the answer; so that the client reads the answer before it hears
# of that, what it still sends is dropped for this long.
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1_048_576
# Of all connections, those that addresses may hold which are no callers: one in so many. The JWKS is open to all.
STRANGERS_SHARE: Final = 4
# Of the strangers' connections, those that one address may hold: one in so many.
STRANGER_SHARE: Final = 4


class Gatekeeper(Protocol):
    """What the protocol asks of those who decide."""

    def admits(self, caller: Caller) -> bool:
        """Tell whether this caller may ask at all."""

    def refuse(self, caller: Caller) -> HttpAnswer:
        """Return the answer to bytes that are no request, or one over a limit."""


@dataclass(slots=True, kw_only=True)
class Limits:
    """The limits of one door, and what counts against them.

    Attributes:
        connections: Connections at once.
        header_lines: Header lines of one request.
        head_bytes: The request line and all headers of one request.
        gatekeeper: Who knows the callers and how to refuse.
        door: Which door it is, for the log.
    """

    connections: int
    header_lines: int
    gatekeeper: Gatekeeper
    head_bytes: int = HEAD_BYTES
    door: str = "http"

    open: int = field(default=0, init=False)
    strangers: Counter[Address | None] = field(default_factory=Counter, init=False)
    full: bool = field(default=False, init=False)

    def enter(self, address: Address | None, *, stranger: bool) -> bool:
        """Count a connection in; False if there is no room for it."""
        room = self.open < self.connections
        if stranger:
            places = max(1, self.connections // STRANGERS_SHARE)
            room = room and self.strangers.total() < places
            room = room and self.strangers[address] < max(1, places // STRANGER_SHARE)
        if room:
            self.open += 1
            if stranger:
                self.strangers[address] += 1
            self.full = False
        elif not self.full:
            self.full = True  # said once, until there is room again
            _log.warning(
                "connections are refused at a door", door=self.door, open=self.open, of_strangers=self.strangers.total()
            )
        return room

    def leave(self, address: Address | None, *, stranger: bool) -> None:
        """Count a connection out."""
        self.open -= 1
        if stranger:
            self.strangers[address] -= 1
            if not self.strangers[address]:
                del self.strangers[address]


class _OverLimitError(Exception):
    """A limit is passed; raised through the parser, which stops there."""


class _LastWord:
    """A transport for the last answer of a connection: closing it waits until the client may have read."""

    __slots__ = ("_linger", "_transport", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], None]) -> None:
        self._transport = transport
        self._linger = linger
        self.write = transport.write
        self.is_closing = transport.is_closing

    def close(self) -> None:
        self._linger()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, with limits.

    To the application it gives, in the scope's `state`, the raw request target and the caller.
    """

    def __init__(self, limits: Limits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits: Final = limits
        self._caller = Caller(None)
        self._stranger = True
        self._counted = False
        self._in_head = True  # from the connection's start to the end of the headers, and so on
        self._head_bytes = 0  # as parsed, of this head
        self._unparsed_bytes = 0  # as received since this head began
        self._head_lines = 0
        self._over = False  # nothing more is read from this connection
        self._dropped_bytes = 0
        self._clock: asyncio.TimerHandle | None = None
        self._stall_clock: asyncio.TimerHandle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the connection, if there is room for it."""
        super().connection_made(transport)
        self._caller = _caller(transport)
        self._stranger = not self._limits.gatekeeper.admits(self._caller)
        self._counted = self._limits.enter(self._caller.address, stranger=self._stranger)
        if not self._counted:
            self._over = True
            transport.abort()
            return
        self._start_clock(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_clock()
        self._stop_stall_clock()
        if self._counted:
            self._counted = False
            self._limits.leave(self._caller.address, stranger=self._stranger)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless the last request of this connection is already there."""
        if self._over:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._over or self.transport.is_closing():
            return
        # Between two requests too, what arrives is no request yet: empty lines are allowed there.
        if not self._in_head and self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
        elif self._unparsed_bytes > self._limits.head_bytes:
            # A line without an end: the parser tells of it only when it is complete.
            self.send_400_response("")
        elif self._clock is None:
            self._start_clock(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not for ever."""
        super().pause_writing()
        self._stall_clock = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        super().resume_writing()
        self._stop_stall_clock()

    # The parser.

    def on_message_begin(self) -> None:
        """Begin to count; refuse whatever comes behind the last request."""
        if self._over or len(self.pipeline) >= MOST_WAITING:
            raise _OverLimitError
        self._in_head = True
        self._head_bytes = self._head_lines = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the header."""
        self._head_lines += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on; whatever its framing announces behind the headers, nothing of it is read."""
        self._in_head = False
        self._unparsed_bytes = 0
        super().on_headers_complete()
        state = self.scope["state"]
        state["target"] = self.url
        state["caller"] = self._caller
        if self.parser.should_upgrade() or _has_body(self.headers):
            self.cycle.keep_alive = False
            self.cycle.transport = _LastWord(self.transport, self._linger)  # type: ignore[assignment]  # all that it uses
        if self._stranger:
            # One answer each: the places are few, and none is for keeping.
            self.cycle.keep_alive = False
        self._over = not self.cycle.keep_alive

    def on_body(self, body: bytes) -> None:
        """Drop it."""

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes or self._head_lines > self._limits.header_lines:
            raise _OverLimitError

    # The end.

    def send_400_response(self, _msg: str) -> None:
        """Refuse what the parser or a limit refused: as a denial, which every proxy understands."""
        last = self._over
        self._over = True
        self._stop_clock()
        if self.cycle is not None and not self.cycle.response_complete:
            # The requests before it are answered first, and then the connection is closed.
            self.cycle.keep_alive = False
            return
        if last or self.transport.is_closing():
            return
        status, headers, body = self._limits.gatekeeper.refuse(self._caller)
        lines = [b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        if self.parser.get_method() == b"HEAD":
            body = b""
        self.transport.write(b"".join(lines) + b"connection: close\r\n\r\n" + body)
        self._linger()

    def _linger(self) -> None:
        """Close our side now, and the connection when the client did or its time is up."""
        self._over = True
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._start_clock(LINGER_SECONDS)

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, self._too_slow)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _stop_stall_clock(self) -> None:
        if self._stall_clock is not None:
            self._stall_clock.cancel()
            self._stall_clock = None

    def _too_slow(self) -> None:
        self._clock = None
        self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: Caddy sends every WebSocket's Upgrade along, and it is the Gateway's business."""


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)


def _caller(transport: asyncio.Transport) -> Caller:
    found = transport.get_extra_info("socket")
    if found is not None and found.family == socket.AF_UNIX:
        return Caller(None, unix=True)
    try:
        address = found.getpeername() if found is not None else None
    except OSError:  # gone already
        return Caller(None)
    return Caller(parse_address(str(address[0]))) if isinstance(address, tuple) else Caller(None)
