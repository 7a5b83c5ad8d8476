"""The reference Gateway: an ASGI application that shows what reached it. For `extauthz gateway`, demos and tests.

It answers every request with the headers as they arrived at the application, and echoes WebSocket messages. With a
verifier it stands behind the middleware, as a real Gateway should; without one it shows what anybody sent. What came
before the middleware saw it is told only where that is switched on, by arrivals.py.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from extauthz.gateway.arrivals import ArrivalReport
from extauthz.gateway.asgi import App, Message, Receive, Scope, Send, StampMiddleware

if TYPE_CHECKING:
    from extauthz.gateway.headers import HeaderNames
    from extauthz.gateway.verifier import Identity, StampVerifier

HEALTH_PATH: Final = "/healthz"
"""Answered without a stamp, by 200 and nothing else."""


def application(
    verifier: StampVerifier | None, headers: HeaderNames | None = None, *, report_arrivals: bool = False
) -> App:
    """Make the application; without a verifier it trusts whatever arrives.

    Args:
        verifier: What accepts stamps.
        headers: The names that are deleted, and written from the verified claims.
        report_arrivals: Whether whoever asks is told what arrived, refused or not: see `ArrivalReport`.
    """
    inner: App = show if verifier is None else StampMiddleware(show, verifier, headers=headers)
    if report_arrivals:
        inner = ArrivalReport(inner)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await _answer(send, {"status": "ok"})
        else:
            await inner(scope, receive, send)

    return outer


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection: show an http request, echo on a websocket."""
    match scope["type"]:
        case "http":
            await _answer(send, _seen(scope))
        case "websocket":
            await _echo(scope, receive, send)
        case "lifespan":
            await _live(receive, send)


def _seen(scope: Scope) -> dict[str, Any]:
    identity: Identity | None = scope.get("state", {}).get("identity")
    return {
        "method": scope.get("method", "GET"),
        "path": (scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        "query": scope.get("query_string", b"").decode("latin-1"),
        "headers": [[_text(name), _text(value)] for name, value in scope["headers"]],
        "identity": None if identity is None else _identity(identity),
    }


def _identity(identity: Identity) -> dict[str, Any]:
    fields = {field.name: getattr(identity, field.name) for field in dataclasses.fields(identity)}
    return {**fields, "claims": dict(identity.claims)}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


async def _answer(send: Send, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    if (await receive())["type"] != "websocket.connect":
        return
    offered: list[str] = scope.get("subprotocols", [])
    await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
    await send({"type": "websocket.send", "text": json.dumps(_seen(scope))})
    while True:
        message: Message = await receive()
        if message["type"] != "websocket.receive":
            return
        kind = "bytes" if message.get("bytes") is not None else "text"
        await send({"type": "websocket.send", kind: message[kind]})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
