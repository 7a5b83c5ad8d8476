"""ASGI middleware: the application behind it sees only what was stamped. Judges nothing: the verifier does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from extauthz.gateway.headers import HeaderNames, IdentityHeaders
from extauthz.gateway.refusal import STATUS, StampRefused, answer

if TYPE_CHECKING:
    from extauthz.gateway.verifier import Identity, StampVerifier

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

WS_POLICY_VIOLATION: Final = 1008
"""The WebSocket close code of a refusal (RFC 6455, section 7.4.1)."""

_log = logging.getLogger("extauthz.gateway")


class StampMiddleware:
    """Lets a request through to the application only with a stamp that the verifier accepts.

    Every identity header that arrived is deleted, aliases too, and written anew from the verified claims. The
    identity is `scope["state"]["identity"]`. A refusal is a 401 with its reason; a WebSocket is refused before it is
    accepted. Lifespan events pass. The application gets no other kind of scope.
    """

    def __init__(
        self,
        app: App,
        verifier: StampVerifier,
        *,
        headers: HeaderNames | None = None,
        protect: Iterable[str] = (),
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            verifier: What accepts stamps.
            headers: The names under `headers` in extauthz's configuration, and the gateway's `userHeader`.
            protect: More headers that are deleted from every request.
        """
        self._app = app
        self._verifier = verifier
        self._headers = IdentityHeaders(headers or HeaderNames(), protect)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server.

        Raises:
            RuntimeError: for a scope that is neither http, websocket nor lifespan.
        """
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if kind not in {"http", "websocket"}:
            raise RuntimeError(f"no scope of type {kind!r} passes: what is in it cannot be verified")
        try:
            stamp = self._stamp(scope)
            identity = await self._identify(stamp, scope)
            inner = self._rewritten(scope, identity, stamp)
        except StampRefused as refusal:
            reason = refusal.reason
            _log.info("refused: %s", refusal)
        except Exception:  # noqa: BLE001 (whatever fails, nobody gets in)
            reason = "stamp_internal_error"
            _log.exception("a stamp could not be checked")
        else:
            await self._app(inner, receive, send)
            return
        await (_refuse_http(reason, scope, send) if kind == "http" else _refuse_websocket(reason, scope, receive, send))

    def _stamp(self, scope: Scope) -> str:
        name = self._headers.stamp.encode("ascii")
        values = [value for field, value in scope["headers"] if field.lower() == name]
        if len(values) > 1:
            raise StampRefused("stamp_repeated")
        return values[0].decode("latin-1").strip(" \t") if values else ""

    async def _identify(self, stamp: str, scope: Scope) -> Identity:
        hosts = [value for field, value in scope["headers"] if field.lower() == b"host"]
        raw_path = scope.get("raw_path")
        query = scope.get("query_string", b"")
        return await self._verifier.verify_async(
            stamp,
            # A WebSocket handshake is a GET (RFC 6455, section 4.1), and its scope has no method.
            method=scope["method"] if scope["type"] == "http" else "GET",
            host=hosts[0].decode("latin-1") if len(hosts) == 1 else None,
            path=None if raw_path is None else raw_path + (b"?" + query if query else b""),
        )

    def _rewritten(self, scope: Scope, identity: Identity, stamp: str) -> Scope:
        kept = [pair for pair in scope["headers"] if not self._headers.is_protected(pair[0].decode("latin-1"))]
        written = [(name.encode("ascii"), value.encode()) for name, value in self._headers.written(identity, stamp)]
        state = {**scope.get("state", {}), "identity": identity}
        return {**scope, "headers": kept + written, "state": state}


async def _refuse_http(reason: str, scope: Scope, send: Send) -> None:
    fields, body = answer(reason)
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in fields]
    await send({"type": "http.response.start", "status": STATUS, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _refuse_websocket(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        # The server makes a 403 of it, without a reason.
        await send({"type": "websocket.close", "code": WS_POLICY_VIOLATION, "reason": reason})
        return
    fields, body = answer(reason)
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in fields]
    await send({"type": "websocket.http.response.start", "status": STATUS, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
