"""The one exception to bodies that are never read: a small one, announced by its length, within a time.

For the admin address alone, where a request to be explained is too much for a URL and does not belong into one.
"""

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from extauthz.doors.http_limits import LimitedProtocol, Limits

if TYPE_CHECKING:
    import asyncio

# A request that is to be explained: more than `limits.headerBytes` of a usual configuration.
BODY_BYTES: Final = 65_536
# Time for a body to arrive whole.
BODY_SECONDS: Final = 10.0


class BodyProtocol(LimitedProtocol):
    """`LimitedProtocol` that hands on the body of a POST, if its Content-Length is `BODY_BYTES` at most.

    Any other body is dropped, and the application finds None as the state's `length`. The connection is closed after
    an answer to a request with a body, whichever it was.
    """

    def __init__(self, limits: Limits, **uvicorn: Any) -> None:
        super().__init__(limits, **uvicorn)
        self._takes = False
        self._body_clock: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_body_clock()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Say whether a body is awaited."""
        super().on_headers_complete()
        length = _length(self.headers) if self.scope["method"] == "POST" else None
        self._takes = length is not None
        self.scope["state"]["length"] = length
        if self._takes:
            self._over = False  # until it is here
            self._body_clock = self.loop.call_later(BODY_SECONDS, self.transport.abort)

    def on_body(self, body: bytes) -> None:
        """Keep what is awaited; the parser gives no more of it than its length."""
        if self._takes:
            HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """Read nothing behind the body."""
        super().on_message_complete()
        if self._takes:
            self._takes = False
            self._over = True
            self._stop_body_clock()

    def _stop_body_clock(self) -> None:
        if self._body_clock is not None:
            self._body_clock.cancel()
            self._body_clock = None


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return the length of a body that is to be read: exactly one Content-Length within the limit, nothing else."""
    if any(name == b"transfer-encoding" for name, _ in headers):
        return None
    found = [value for name, value in headers if name == b"content-length"]
    if len(found) != 1 or not found[0].isdigit() or not 0 < int(found[0]) <= BODY_BYTES:
        return None
    return int(found[0])
