"""The HTTP door: uvicorn, in a thread of its own, around one function per path. Nothing here reads a header's meaning.

Below /forward-auth everything is decided, whatever it is: nginx makes a 500 of any answer but 2xx, 401 and 403, and so
a mistyped gateway would look like a broken server. Outside, there is the JWKS, and nothing else.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import uvicorn

from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors.endpoints import DoorError, listen
from extauthz.doors.http_limits import HEAD_BYTES, IDLE_SECONDS, LINES_PER_NAME, Gatekeeper, LimitedProtocol, Limits
from extauthz.stamp.jwks import JWKS_PATH, Jwks
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage, is_door

_JWKS_TARGET: Final = JWKS_PATH.encode()
_READABLE: Final = frozenset({"GET", "HEAD"})

# How long the server may take to start; it has nothing to do but to run.
START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.002


class Forwarder(Gatekeeper, Protocol):
    """Who decides."""

    def forward(self, message: HttpMessage, caller: Caller) -> HttpAnswer:
        """Answer one request to a door. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpDoorSettings:
    """How the door is opened.

    Attributes:
        endpoints: Where it listens.
        most_connections: Connections at once; more are closed unanswered.
        most_headers: Distinct header names in one request, as the policy has it.
        most_head_bytes: The request line and all headers of one request; HEAD_BYTES at most.
        drain_seconds: Time for what is under way when the door is closed.
        jwks: Returns the public keys of the moment; None from it, or in its place, while nothing is signed.
    """

    endpoints: Sequence[Endpoint]
    most_connections: int
    most_headers: int
    most_head_bytes: int
    drain_seconds: int
    jwks: Callable[[], Jwks | None] | None = None


class HttpDoor:
    """Serves the forward-auth doors and the JWKS.

    Attributes:
        endpoints: Where it listens, with the ports that the system chose; set by `start`.
    """

    def __init__(self, forwarder: Forwarder, settings: HttpDoorSettings) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()
        self._settings: Final = settings
        self._application: Final = _Application(forwarder, settings.jwks)
        self._limits: Final = Limits(
            connections=settings.most_connections,
            header_lines=settings.most_headers * LINES_PER_NAME,
            head_bytes=min(settings.most_head_bytes, HEAD_BYTES),
            gatekeeper=forwarder,
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            DoorError: An address cannot be listened on, or the server does not run.
        """
        sockets = []
        endpoints = []
        try:
            for endpoint in self._settings.endpoints:
                opened = listen(endpoint)
                sockets += opened
                endpoints.append(endpoint if endpoint.path else endpoint._replace(port=opened[0].getsockname()[1]))
        except DoorError:
            for one in sockets:
                one.close()
            raise
        server = self._server = uvicorn.Server(self._config())
        self._thread = threading.Thread(target=server.run, args=(sockets,), name="extauthz-http", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise DoorError("the HTTP server does not run; what it wrote before this says why")
            time.sleep(_POLL_SECONDS)
        self.endpoints = tuple(endpoints)

    def is_alive(self) -> bool:
        """Tell whether the server's thread runs; a door that could not be opened has none to lose."""
        return self._thread is None or self._thread.is_alive()

    def drain(self) -> None:
        """Take no more connections, answer what is under way for at most the drain time, and close."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(self._settings.drain_seconds + START_SECONDS)
        for endpoint in self.endpoints:
            if endpoint.path:
                Path(endpoint.path).unlink(missing_ok=True)

    def _config(self) -> uvicorn.Config:
        protocol: Any = partial(LimitedProtocol, self._limits)
        return uvicorn.Config(
            self._application,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",  # what clients do wrong is no news
            access_log=False,
            proxy_headers=False,  # the caller is who connected, whatever a header says
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=self._settings.drain_seconds,
        )


class _Application:
    """The paths, as an ASGI application."""

    def __init__(self, forwarder: Forwarder, jwks: Callable[[], Jwks | None] | None) -> None:
        self._forwarder: Final = forwarder
        self._jwks: Final = jwks

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        # The body is never asked for. The decision takes microseconds: it does not leave this loop.
        state = scope["state"]
        message = HttpMessage(scope["method"], state["target"], scope["headers"])
        status, headers, body = self._answer(message, state["caller"])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, message: HttpMessage, caller: Caller) -> HttpAnswer:
        if is_door(message.target):
            return self._forwarder.forward(message, caller)
        if message.target.partition(b"?")[0] == _JWKS_TARGET:
            return self._public_keys(message)
        return _told(404, "not_found")

    def _public_keys(self, message: HttpMessage) -> HttpAnswer:
        if message.method not in _READABLE:
            return _told(405, "method_not_allowed", (b"allow", b"GET, HEAD"))
        jwks = self._jwks() if self._jwks is not None else None
        if jwks is None:
            return _told(404, "stamps_are_off")
        headers = [(name.encode(), value.encode()) for name, value in jwks.headers()]
        wanted = b",".join(value for name, value in message.headers if name == b"if-none-match")
        if jwks.not_modified(wanted.decode("latin-1")):
            return HttpAnswer(304, headers, b"")
        return HttpAnswer(200, [*headers, (b"content-length", b"%d" % len(jwks.body))], jwks.body)


def _told(status: int, error: str, *headers: tuple[bytes, bytes]) -> HttpAnswer:
    """Return the answer to what is no question to a door."""
    body = json.dumps({"error": error}).encode()
    own = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
    return HttpAnswer(status, [*headers, *own, (b"content-length", b"%d" % len(body))], body)
