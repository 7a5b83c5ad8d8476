"""One connection to an HTTP door: httptools parses, this keeps the limits, and answers in the order of the questions.

Nothing here reads a header but by the parser, which frames the message, and decides nothing. What a body announces is
never waited for and never read: the answer goes out, and then the connection is closed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import httptools

from extauthz.core.request import Caller
from extauthz.doors.deadline import Deadline
from extauthz.doors.http_limits import LINGER_BYTES, MOST_WAITING, Limits, caller_of
from extauthz.doors.http_writing import written
from extauthz.logs import get_logger
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage

_log: Final = get_logger(__name__)


class Application(Protocol):
    """Who answers."""

    def answer(self, message: HttpMessage, caller: Caller) -> HttpAnswer | Awaitable[HttpAnswer]:
        """Answer one request, at once or later."""


@dataclass(slots=True, eq=False)
class Serving:
    """What the connections of one server have in common.

    Attributes:
        application: Who answers.
        limits: The limits, and what counts against them.
        loop: The loop that all of them live in.
        connections: Those that are open.
        emptied: Set when the last of them has gone.
    """

    application: Application
    limits: Limits
    loop: asyncio.AbstractEventLoop

    connections: "set[Connection]" = field(default_factory=set, init=False)
    emptied: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def leave(self, connection: "Connection") -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        if not self.connections:
            self.emptied.set()


# Of a connection that is gone.
_NO_PARSER: Final = httptools.HttpRequestParser(object())


class _RefusedError(Exception):
    """The parser is to stop: a limit is passed, or nothing more is read. Raised by its callbacks, through it."""


class Connection(asyncio.Protocol):
    """One connection.

    The parser calls `on_...` as it reads what was received; each request whose head is complete then waits, for a
    moment, until it is answered. `_over` says that no further request is read: what then still waits are the last.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving: Final = serving
        self._loop: Final = serving.loop
        self._limits: Final = serving.limits
        self._patience: Final = serving.limits.patience
        self._most_lines: Final = serving.limits.header_lines
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._caller = Caller(None)
        self._stranger = True
        self._counted = False

        # The request that is being read.
        self._in_head = False  # from its first byte to the end of its headers
        self._target = b""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._piece = 0  # bytes that were received last, at once
        self._before = 0  # bytes that were received at once with its first, and may be its own
        self._received = 0  # bytes since then
        self._whole = True  # nothing is announced behind its headers

        # The requests that are not answered; None stands for bytes that are none.
        self._waiting: Final[deque[HttpMessage | None]] = deque()
        self._later: asyncio.Future[HttpAnswer] | None = None  # what makes an answer that was not there at once
        self._blocked = False  # the client does not read
        self._over = False  # no further request is read
        self._lingers = False  # something that is not read may still come: the client must read before it hears of it
        self._ended = False  # the last answer was given
        self._dropped_bytes = 0

        self._deadline: Final = Deadline(serving.loop, self.abort)
        self._hurries = True  # it is set for a request of which a byte may be here already

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, if there is room for it."""
        self._transport = transport
        self._caller = caller_of(self._transport)
        self._stranger = not self._limits.gatekeeper.admits(self._caller)
        self._counted = self._limits.enter(self._caller.address, stranger=self._stranger)
        if not self._counted:
            self._over = self._ended = True
            self._transport.abort()
            return
        self._serving.connections.add(self)
        self._await_request(begun=True)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget the connection."""
        self._over = self._ended = True
        self._parser = _NO_PARSER  # its own knows this connection, and so would be kept by it
        self._waiting.clear()
        self._deadline.forget()
        if self._later is not None:
            self._later.cancel()
        if self._counted:
            self._limits.leave(self._caller.address, stranger=self._stranger)
            self._serving.leave(self)

    def data_received(self, data: bytes) -> None:
        """Read what arrived, unless the last request of this connection is already there; then answer."""
        if self._over:
            self._drop(len(data))
            return
        self._piece = len(data)
        self._received += self._piece
        self._feed(data)
        if self._waiting:
            self._answer()
        elif not self._hurries and self._later is None:
            # The first bytes of a request, or of what is none yet: empty lines are allowed before one.
            self._await_request(begun=True)

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not for ever."""
        self._blocked = True
        if not self._over:
            self._transport.pause_reading()
        if not self._ended:
            self._deadline.set(self._patience.stall)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._blocked = False
        if self._ended:
            return
        if not self._over:
            self._transport.resume_reading()
        self._answer()

    def shut_down(self) -> None:
        """Answer what waits, and close."""
        self._lingers = self._lingers or self._blocked  # then there may be questions that were not taken yet
        self._over = True
        self._answer()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # The parser.

    def on_message_begin(self) -> None:
        """Begin to count; refuse whatever comes behind the last request."""
        if self._over or len(self._waiting) >= MOST_WAITING:
            raise _RefusedError
        self._in_head = True
        self._target = b""
        self._names = []
        self._values = []

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        names = self._names
        names.append(name)
        self._values.append(value)
        if len(names) > self._most_lines:
            raise _RefusedError

    def on_headers_complete(self) -> None:
        """Hand the request on; whatever its framing announces behind the headers, nothing of it is read."""
        target, parser, size = self._target, self._parser, self._before + self._received
        if size > self._limits.head_bytes:
            size = len(target) + sum(map(len, self._names)) + sum(map(len, self._values))
            if size > self._limits.head_bytes:
                raise _RefusedError
        if not target.startswith(b"/"):
            httptools.parse_url(target)  # raises for what is none
        if not target.isascii():
            raise _RefusedError
        self._in_head = self._whole = self._hurries = False
        self._before, self._received = self._piece, 0
        # HTTP/1.0 is closed whatever it asks for, and a stranger gets one answer: the places are few.
        kept = parser.should_keep_alive() and parser.get_http_version() == "1.1" and not self._stranger
        self._over = not kept
        self._waiting.append(HttpMessage(parser.get_method().decode(), target, self._names, self._values, size))

    def on_chunk_header(self) -> None:
        """Read no body."""
        raise _RefusedError

    def on_body(self, _body: bytes) -> None:
        """Read no body."""
        raise _RefusedError

    def on_message_complete(self) -> None:
        """Know that nothing is to come behind the headers."""
        self._whole = True

    def _feed(self, data: bytes) -> None:
        """Read a part of the stream, and see what is to become of the connection."""
        refused = upgrade = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Caddy sends every WebSocket's Upgrade along; it is answered as any request, and nothing read behind it.
            upgrade = True
        except httptools.HttpParserError:
            refused = True
        if upgrade or not self._whole:
            self._over = self._lingers = True
        elif not self._over and (refused or (self._in_head and self._received > self._limits.head_bytes)):
            self._refuse()

    def _refuse(self) -> None:
        """Have what cannot be read, or is over a limit, refused, after what came before it."""
        self._over = self._lingers = True
        self._waiting.append(None)

    # The answers.

    def _answer(self) -> None:
        """Answer what waits, unless the client does not read, or an answer is not there yet."""
        waiting = self._waiting
        while waiting and not self._blocked and self._later is None and not self._transport.is_closing():
            message = waiting.popleft()
            answer = self._ask(message)
            if isinstance(answer, HttpAnswer):
                self._write(answer, message)
            else:
                self._deadline.lift()
                self._later = asyncio.ensure_future(answer, loop=self._loop)
                self._later.add_done_callback(partial(self._write_later, message))
        if waiting or self._later is not None or self._ended:
            return
        if self._over:
            self._end()
        else:
            self._await_request(begun=self._in_head)

    def _ask(self, message: HttpMessage | None) -> HttpAnswer | Awaitable[HttpAnswer]:
        if message is not None:
            try:
                return self._serving.application.answer(message, self._caller)
            except Exception:  # noqa: BLE001 - whatever it is, it is a denial and not an error that a proxy may pass
                _log.exception("a request could not be answered", door=self._limits.door)
        return self._limits.gatekeeper.refuse(self._caller)

    def _write_later(self, message: HttpMessage | None, answered: asyncio.Future[HttpAnswer]) -> None:
        # Called, not awaited: Python 3.12 deprecates how a compiled coroutine is cancelled.
        self._later = None
        if self._ended:
            return
        error = asyncio.CancelledError() if answered.cancelled() else answered.exception()
        if error is not None:  # as above
            _log.error("a request could not be answered", exc_info=error, door=self._limits.door)
        try:
            found = answered.result() if error is None else self._limits.gatekeeper.refuse(self._caller)
            self._write(found, message)
            self._answer()
        except Exception:  # noqa: BLE001 - no deadline runs: nobody else would close what holds a place
            _log.exception("an answer could not be written", door=self._limits.door)
            self.abort()

    def _write(self, answer: HttpAnswer, message: HttpMessage | None) -> None:
        to_head = message.method == "HEAD" if message is not None else self._parser.get_method() == b"HEAD"
        self._transport.write(written(answer, to_head=to_head, last=self._over and not self._waiting))

    # The end.

    def _end(self) -> None:
        """Close, after the last answer; where something may still come, our side first."""
        self._ended = True
        if self._transport.is_closing():
            return
        if not self._lingers:
            self._deadline.set(self._patience.stall)
            self._transport.close()  # when all is written
            return
        self._deadline.set(self._patience.stall if self._blocked else self._patience.linger)
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _drop(self, size: int) -> None:
        self._dropped_bytes += size
        if self._dropped_bytes > LINGER_BYTES:
            self._transport.abort()

    def _await_request(self, *, begun: bool) -> None:
        self._hurries = begun
        self._deadline.set(self._patience.head if begun else self._patience.idle)
