"""The one exception to bodies that are never read: a small one, announced by its length, within a time.

For the admin address alone, where a request to be explained is too much for a URL and does not belong into one.
"""

from typing import TYPE_CHECKING, Final

from extauthz.doors.http_connection import Connection, Serving
from extauthz.doors.http_writing import CONTINUE
from extauthz.wire.forward_auth import HttpMessage, RawHeaders

if TYPE_CHECKING:
    import asyncio

# A request that is to be explained: more than `limits.headerBytes` of a usual configuration.
BODY_BYTES: Final = 65_536


class BodyConnection(Connection):
    """A `Connection` that hands on the body of a POST, if its Content-Length is `BODY_BYTES` at most.

    Any other body is dropped, and the application finds none. The connection is closed after an answer to a request
    with a body, whichever it was.
    """

    def __init__(self, serving: Serving) -> None:
        super().__init__(serving)
        self._taken: HttpMessage | None = None
        self._body = bytearray()
        self._body_clock: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_body_clock()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Hand the request on, unless its body is awaited."""
        super().on_headers_complete()
        message = self._waiting[-1]
        if message is None or message.method != "POST" or not _is_awaited(headers := message.headers):
            return
        self._taken = self._waiting.pop()
        self._whole, self._over = True, False  # until it is here
        self._body_clock = self._loop.call_later(self._patience.body, self.abort)
        if not self._waiting and any(name == b"expect" for name, _ in headers):
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Keep what is awaited; the parser gives no more of it than its length."""
        if self._taken is None:
            super().on_body(body)
        self._body += body

    def on_message_complete(self) -> None:
        """Hand a request on that has its body now, and read nothing behind it."""
        super().on_message_complete()
        if self._taken is not None:
            self._stop_body_clock()
            self._waiting.append(self._taken._replace(body=bytes(self._body)))
            self._taken = None
            self._over = self._lingers = True

    def _stop_body_clock(self) -> None:
        if self._body_clock is not None:
            self._body_clock.cancel()
            self._body_clock = None


def _is_awaited(headers: RawHeaders) -> bool:
    """Tell whether a body is to be read: exactly one Content-Length within the limit, nothing else."""
    if any(name == b"transfer-encoding" for name, _ in headers):
        return False
    found = [value for name, value in headers if name == b"content-length"]
    return len(found) == 1 and found[0].isdigit() and 0 < int(found[0]) <= BODY_BYTES
