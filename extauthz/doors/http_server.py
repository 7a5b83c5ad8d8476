"""An HTTP server in a thread of its own: listens everywhere or nowhere, runs, drains. What it serves is not here."""

import asyncio
import importlib
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from extauthz.config.values import Endpoint
from extauthz.doors.endpoints import BACKLOG, DoorError, listen
from extauthz.doors.http_connection import Application, Connection, Serving
from extauthz.doors.http_limits import Limits
from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# How long the server may take to start; it has nothing to do but to run.
START_SECONDS: Final = 10.0

# Turns of the loop until what it accepted has its connection: asyncio (3.11) forgets one whose server closes before
# that, with its socket open.
_TURNS_TO_ACCEPT: Final = 3
# Connections that are accepted in one turn. What waits is BACKLOG all the same; asyncio would accept, and fail where no
# more files may be opened, as often as that is long, each second.
_ACCEPTED_AT_ONCE: Final = 16
# How often a loop's fault of one kind is said.
_SAY_SECONDS: Final = 60.0

# What runs a server: Python's own, or the one of libuv, an extra.
Loop = Literal["asyncio", "uvloop"]
NO_UVLOOP: Final = (
    "uvloop is not installed, or not for this Python: pip install 'extauthz[uvloop]', or set server.httpLoop to asyncio"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServerSettings:
    """How a server is run.

    Attributes:
        name: Of its thread.
        endpoints: Where it listens.
        limits: The limits of the door, and what counts against them.
        drain_seconds: Time for what is under way when it is closed.
        connection: What reads and answers.
        loop: What runs it.
    """

    name: str
    endpoints: Sequence[Endpoint]
    limits: Limits
    drain_seconds: int
    connection: type[Connection] = Connection
    loop: Loop = "asyncio"


class HttpServer:
    """Serves one application.

    Attributes:
        endpoints: Where it listens, with the ports that the system chose; set by `start`.
    """

    def __init__(self, application: Application, settings: HttpServerSettings) -> None:
        self.endpoints: tuple[Endpoint, ...] = ()
        self._application: Final = application
        self._settings: Final = settings
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: Final = asyncio.Event()

    def start(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            DoorError: An address cannot be listened on, or the server does not run.
        """
        sockets: list[socket.socket] = []
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
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(sockets, started), name=self._settings.name, daemon=True
        )
        self._thread.start()
        try:
            started.result(START_SECONDS)
        except (ImportError, OSError, RuntimeError, TimeoutError) as error:
            raise DoorError(f"the HTTP server does not run: {error or 'it did not start in time'}") from error
        self.endpoints = tuple(endpoints)

    def is_alive(self) -> bool:
        """Tell whether the server's thread runs; one that could not be started has none to lose."""
        return self._thread is None or self._thread.is_alive()

    def drain(self) -> None:
        """Take no more connections, answer what is under way for at most the drain time, and close."""
        if self._thread is not None and self._loop is not None:
            with suppress(RuntimeError):  # it runs no more
                self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(self._settings.drain_seconds + START_SECONDS)
        for endpoint in self.endpoints:
            if endpoint.path:
                Path(endpoint.path).unlink(missing_ok=True)

    def _run(self, sockets: Sequence[socket.socket], started: "Future[None]") -> None:
        try:
            with asyncio.Runner(loop_factory=_FACTORIES[self._settings.loop]) as runner:
                runner.run(self._serve(sockets, started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, sockets: Sequence[socket.socket], started: "Future[None]") -> None:
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(_Faults(self._settings.name))
        settings = self._settings
        serving = Serving(self._application, settings.limits, loop)
        connection = partial(settings.connection, serving)
        servers = []
        for one in sockets:
            listened = loop.create_unix_server if one.family == socket.AF_UNIX else loop.create_server
            servers.append(await listened(connection, sock=one, backlog=_ACCEPTED_AT_ONCE))
            one.listen(BACKLOG)
        started.set_result(None)
        await self._ending.wait()
        for one in sockets:
            loop.remove_reader(one)
        for _ in range(_TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        for server in servers:
            server.close()
        for open_one in list(serving.connections):
            open_one.shut_down()
        with suppress(TimeoutError):
            await asyncio.wait_for(_is_empty(serving), settings.drain_seconds)
        for open_one in list(serving.connections):
            open_one.abort()


async def _is_empty(serving: Serving) -> None:
    """Wait until no connection is open."""
    while serving.connections:
        serving.emptied.clear()
        await serving.emptied.wait()


class _Faults:
    """Says what goes wrong in a loop itself, such as a connection that cannot be accepted; each kind now and then."""

    def __init__(self, server: str) -> None:
        self._server: Final = server
        self._next: Final[dict[str, float]] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take a fault, as the loop tells it."""
        error = context.get("exception")
        kind, now = type(error).__name__, loop.time()
        if now >= self._next.get(kind, now):
            self._next[kind] = now + _SAY_SECONDS
            _log.error("a fault in an HTTP server", server=self._server, fault=context.get("message"), exc_info=error)


def has_uvloop() -> bool:
    """Tell whether uvloop is installed, for this Python and its C library."""
    try:
        importlib.import_module("uvloop")
    except ImportError:
        return False
    return True


def _new_uvloop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - an extra

    return uvloop.new_event_loop()


_FACTORIES: Final = {"asyncio": asyncio.new_event_loop, "uvloop": _new_uvloop}
