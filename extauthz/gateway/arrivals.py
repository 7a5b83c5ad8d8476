"""What arrived at the reference Gateway, told to whoever asks for it. For `extauthz probe`; judges nothing.

It stands before the middleware, which deletes what it must not believe: here is seen what a hop before let through. It
is for trying a deployment out. Whoever can reach the Gateway can ask, and learns what the proxies before it add.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extauthz.gateway.asgi import App, Message, Receive, Scope, Send

PROBE_HEADER: Final = "x-extauthz-probe"
"""The header that asks for the report. Its value, a word of the asker's own, comes back in it."""
REPORT_KEY: Final = "arrived"
"""The report's key in the answer's JSON, or in the first message of a WebSocket: `{"probe": word, "headers": [[name,
value], ...]}`, names and values as they came to the server, in their order."""
WITHHELD: Final = "[withheld]"
"""What stands for a value, or for the part of it, that is not told."""

_WORD: Final = re.compile(r"[a-z0-9]{16,64}")
_SECRETS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
# A signed token without its signature proves who is meant, and cannot be used by who reads it.
_SIGNED: Final = re.compile(r"(eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*)\.[A-Za-z0-9_-]+")
_WITH_BODY: Final = frozenset({"http.response.body", "websocket.http.response.body"})
_WITH_HEAD: Final = frozenset({"http.response.start", "websocket.http.response.start"})


class ArrivalReport:
    """Adds the report to the answers of an ASGI application that answers with one JSON object each."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        word = None if scope["type"] == "lifespan" else _asked(scope["headers"])
        if word is None:
            await self._app(scope, receive, send)
            return
        report = {"probe": word, "headers": [list(pair) for pair in _told(scope["headers"])]}
        await self._app(scope, receive, _Reporting(send, report).send)


class _Reporting:
    def __init__(self, send: Send, report: dict[str, Any]) -> None:
        self._send = send
        self._report: dict[str, Any] | None = report
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if self._report is None:
            await self._send(message)
        elif message["type"] in _WITH_HEAD:
            self._start = message  # until it is known how long the body is
        elif message["type"] in _WITH_BODY and self._start is not None:
            body = self._added(message.get("body", b""))
            fields = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await self._send({**self._start, "headers": [*fields, length] if body else self._start["headers"]})
            await self._send({**message, "body": body})
        elif message["type"] == "websocket.send":
            await self._send({**message, "text": self._added(message["text"].encode()).decode()})
        else:
            await self._send(message)

    def _added(self, body: bytes) -> bytes:
        report, self._report = self._report, None
        # HEAD has none.
        return json.dumps({**json.loads(body), REPORT_KEY: report}).encode() + b"\n" if body else body


def _asked(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    words = [value.decode("latin-1") for name, value in headers if name.lower() == PROBE_HEADER.encode("ascii")]
    return words[0] if len(words) == 1 and _WORD.fullmatch(words[0]) else None


def _told(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    for raw_name, raw_value in headers:
        name, value = (raw.decode("utf-8", "backslashreplace") for raw in (raw_name, raw_value))
        yield name, WITHHELD if name.lower() in _SECRETS else _SIGNED.sub(rf"\1.{WITHHELD}", value)
