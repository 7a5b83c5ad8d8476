"""The HTTP door: one function per path, served by `http_server`. Nothing here reads a header's meaning.

Below /forward-auth everything is decided, whatever it is: nginx makes a 500 of any answer but 2xx, 401 and 403, and so
a mistyped gateway would look like a broken server. Outside, there is the JWKS, and nothing else.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors.http_limits import HEAD_BYTES, LINES_PER_NAME, PATIENCE, Gatekeeper, Limits, Patience
from extauthz.doors.http_server import HttpServer, HttpServerSettings, Loop
from extauthz.stamp.jwks import JWKS_PATH, Jwks
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage, is_door

_JWKS_TARGET: Final = JWKS_PATH.encode()
_READABLE: Final = frozenset({"GET", "HEAD"})


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
        patience: How long clients are waited for.
        loop: What runs the server.
    """

    endpoints: Sequence[Endpoint]
    most_connections: int
    most_headers: int
    most_head_bytes: int
    drain_seconds: int
    jwks: Callable[[], Jwks | None] | None = None
    patience: Patience = PATIENCE
    loop: Loop = "asyncio"


class HttpDoor:
    """Serves the forward-auth doors and the JWKS."""

    def __init__(self, forwarder: Forwarder, settings: HttpDoorSettings) -> None:
        self._server: Final = HttpServer(
            _Application(forwarder, settings.jwks),
            HttpServerSettings(
                name="extauthz-http",
                endpoints=settings.endpoints,
                limits=Limits(
                    connections=settings.most_connections,
                    header_lines=settings.most_headers * LINES_PER_NAME,
                    head_bytes=min(settings.most_head_bytes, HEAD_BYTES),
                    gatekeeper=forwarder,
                    patience=settings.patience,
                ),
                drain_seconds=settings.drain_seconds,
                loop=settings.loop,
            ),
        )

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where it listens, with the ports that the system chose; () before `start`."""
        return self._server.endpoints

    def start(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            DoorError: An address cannot be listened on, or the server does not run.
        """
        self._server.start()

    def is_alive(self) -> bool:
        """Tell whether the server's thread runs; a door that could not be opened has none to lose."""
        return self._server.is_alive()

    def drain(self) -> None:
        """Take no more connections, answer what is under way for at most the drain time, and close."""
        self._server.drain()


class _Application:
    """The paths. The decision takes microseconds: it does not leave the server's loop."""

    def __init__(self, forwarder: Forwarder, jwks: Callable[[], Jwks | None] | None) -> None:
        self._forwarder: Final = forwarder
        self._jwks: Final = jwks

    def answer(self, message: HttpMessage, caller: Caller) -> HttpAnswer:
        """Answer a question to a door, or send the public keys."""
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
            return HttpAnswer.of(304, headers, b"")
        return HttpAnswer.of(200, [*headers, (b"content-length", b"%d" % len(jwks.body))], jwks.body)


def _told(status: int, error: str, *headers: tuple[bytes, bytes]) -> HttpAnswer:
    """Return the answer to what is no question to a door."""
    body = json.dumps({"error": error}).encode()
    own = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
    return HttpAnswer.of(status, [*headers, *own, (b"content-length", b"%d" % len(body))], body)
