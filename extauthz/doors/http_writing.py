"""From an answer to the bytes of an HTTP/1.1 response."""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from extauthz.wire.forward_auth import HttpAnswer

_STATUS_LINES: Final = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_END: Final = b"\r\n"
_LAST: Final = b"connection: close\r\n\r\n"

# To a client that waits to be asked for its body (RFC 9110, section 10.1.1).
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def written(answer: HttpAnswer, *, to_head: bool, last: bool) -> bytes:
    """Return a response.

    Args:
        answer: What it says.
        to_head: It answers a HEAD, and so has no body.
        last: The connection is closed behind it.
    """
    status, fields, body = answer
    parts = (_STATUS_LINES[status], _date.line(), fields, _LAST if last else _END, b"" if to_head else body)
    return b"".join(parts)


class _Date:
    """The Date of all responses (RFC 9110, section 6.6.1), written once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def line(self) -> bytes:
        """Return the header as it is now."""
        now = int(time.time())
        if now != self._second:
            self._line = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
            self._second = now
        return self._line


_date: Final = _Date()
