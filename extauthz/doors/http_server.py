"""A uvicorn server in a thread of its own: listens everywhere or nowhere, runs, drains. What it serves is not here."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn

from extauthz.config.values import Endpoint
from extauthz.doors.endpoints import DoorError, listen
from extauthz.doors.http_limits import IDLE_SECONDS, LimitedProtocol, Limits

# How long the server may take to start; it has nothing to do but to run.
START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServerSettings:
    """How a server is run.

    Attributes:
        name: Of its thread.
        endpoints: Where it listens.
        limits: The limits of the door, and what counts against them.
        drain_seconds: Time for what is under way when it is closed.
        idle_seconds: How long a connection may be kept without a request.
        protocol: What parses.
    """

    name: str
    endpoints: Sequence[Endpoint]
    limits: Limits
    drain_seconds: int
    idle_seconds: float = IDLE_SECONDS
    protocol: type[LimitedProtocol] = LimitedProtocol


class HttpServer:
    """Serves one ASGI application.

    Attributes:
        endpoints: Where it listens, with the ports that the system chose; set by `start`.
    """

    def __init__(self, application: Any, settings: HttpServerSettings) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()
        self._application: Final = application
        self._settings: Final = settings
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
        self._thread = threading.Thread(target=server.run, args=(sockets,), name=self._settings.name, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise DoorError("the HTTP server does not run; what it wrote before this says why")
            time.sleep(_POLL_SECONDS)
        self.endpoints = tuple(endpoints)

    def is_alive(self) -> bool:
        """Tell whether the server's thread runs; one that could not be started has none to lose."""
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
        settings = self._settings
        protocol: Any = partial(settings.protocol, settings.limits)
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
            timeout_keep_alive=settings.idle_seconds,  # type: ignore[arg-type]  # call_later takes fractions
            timeout_graceful_shutdown=settings.drain_seconds,
        )
