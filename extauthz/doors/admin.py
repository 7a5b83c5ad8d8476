"""The admin door: health, metrics and the console, on an address of their own. Nothing can be changed through it.

A second server in a thread of its own, so that no scrape stands in the way of a decision. Paths are looked up in
tables as they were sent: nothing is decoded, joined or taken from a file system.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors.admin_guard import Guard, Headers, answer, raw_answer
from extauthz.doors.http_bodies import BodyConnection
from extauthz.doors.http_limits import PATIENCE, Limits, Patience
from extauthz.doors.http_server import HttpServer, HttpServerSettings
from extauthz.doors.token_file import TokenFile
from extauthz.logs import get_logger
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage

_log: Final = get_logger(__name__)

# Connections at once: some browsers, a scraper or two, probes. A quarter of them is for other hosts than this one.
MOST_CONNECTIONS: Final = 128
MOST_HEADER_LINES: Final = 100
HEAD_BYTES: Final = 32_768
# Fields of one query.
MOST_FIELDS: Final = 16

CONSOLE: Final = b"/console"
DATA: Final = b"/console/api/"
_READING: Final = frozenset({"GET", "HEAD"})
_JSON: Final = b"application/json"

Render = Callable[[str], tuple[str, bytes]]


class StaticFile(NamedTuple):
    """One file of the console.

    Attributes:
        content_type: Its media type.
        body: What is in it.
    """

    content_type: str
    body: bytes


class Told(NamedTuple):
    """What the console answers to a question for data.

    Attributes:
        status: The HTTP status.
        data: What becomes JSON.
    """

    status: int
    data: Any


class Pages(Protocol):
    """The console, as the door knows it."""

    @property
    def files(self) -> Mapping[bytes, StaticFile]:
        """Its files, by the whole path."""

    @property
    def posted(self) -> frozenset[str]:
        """The names of data that are asked for with a body: by POST, as JSON."""

    def tell(self, name: str, query: Mapping[str, str], body: bytes) -> Told | None:
        """Return the data with this name; None if there is none. May take its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDoorSettings:
    """How the door is opened.

    Attributes:
        endpoints: Where it listens.
        hosts: Names under which it is reached, beside `localhost` and every IP address.
        token: What must be brought for everything but health and the console's files; None asks for none.
        drain_seconds: Time for what is under way when the door is closed.
        ready: Whether the service serves.
        metrics: Returns the media type and the metrics, for an Accept header; None: there are none.
        patience: How long clients are waited for.
    """

    endpoints: Sequence[Endpoint]
    hosts: Sequence[str] = ()
    token: TokenFile | None = None
    drain_seconds: int
    ready: Callable[[], bool]
    metrics: Render | None = None
    patience: Patience = PATIENCE


class AdminDoor:
    """Serves /livez, /readyz, /metrics and /console."""

    def __init__(self, pages: Pages, settings: AdminDoorSettings) -> None:
        names = [endpoint.host for endpoint in settings.endpoints if endpoint.host]
        self._working: Final = ThreadPoolExecutor(1, "extauthz-console")
        self._server: Final = HttpServer(
            _Application(pages, settings, Guard((*names, *settings.hosts), settings.token), self._working),
            HttpServerSettings(
                name="extauthz-admin",
                endpoints=settings.endpoints,
                limits=Limits(
                    connections=MOST_CONNECTIONS,
                    header_lines=MOST_HEADER_LINES,
                    head_bytes=HEAD_BYTES,
                    gatekeeper=_Neighbours(),
                    door="admin",
                    patience=settings.patience,
                ),
                drain_seconds=settings.drain_seconds,
                connection=BodyConnection,
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

    def drain(self) -> None:
        """Take no more connections, answer what is under way for at most the drain time, and close."""
        self._server.drain()
        self._working.shutdown(wait=False, cancel_futures=True)


class _Neighbours:
    """Gives most places to this host, so that nobody elsewhere can keep the operator on it out."""

    def admits(self, caller: Caller) -> bool:
        """Tell whether this is a process of this host."""
        return caller.unix or (caller.address is not None and caller.address.loopback)

    def refuse(self, _caller: Caller) -> HttpAnswer:
        """Answer what is no HTTP request, or one over a limit."""
        return answer(400, {"error": "request_malformed"})


class _Application:
    """The paths."""

    def __init__(self, pages: Pages, settings: AdminDoorSettings, guard: Guard, working: ThreadPoolExecutor) -> None:
        self._pages: Final = pages
        self._settings: Final = settings
        self._guard: Final = guard
        self._working: Final = working

    async def answer(self, message: HttpMessage, _caller: Caller) -> HttpAnswer:
        """Answer one request."""
        try:
            return await self._answer(message)
        except Exception:  # noqa: BLE001 - whatever it is, nothing of it is for whoever asks
            _log.exception("the admin address could not answer")
            return answer(500, {"error": "internal_error", "do": "the service's log says why"})

    async def _answer(self, message: HttpMessage) -> HttpAnswer:
        path, _, query = message.target.partition(b"?")
        method, headers = message.method, message.headers
        refused = self._guard.refuse_host(headers)
        if refused is not None:
            return refused
        if path.startswith(DATA):
            return await self._data(path.removeprefix(DATA).decode("latin-1"), query, message)
        if path not in _PLAIN and path not in self._pages.files:
            return answer(404, {"error": "not_found", "do": "there is /livez, /readyz, /metrics and /console"})
        if method not in _READING:
            return answer(405, {"error": "method_not_allowed"}, (b"allow", b"GET, HEAD"))
        if path == b"/metrics":
            return self._guard.refuse_foreign(headers) or self._guard.refuse_stranger(headers) or self._metrics(headers)
        return self._plain(path)

    def _plain(self, path: bytes) -> HttpAnswer:
        if path == b"/":
            return raw_answer(302, b"", b"text/plain", (b"location", CONSOLE))
        if path == b"/livez":
            return raw_answer(200, b"alive\n", b"text/plain")
        if path == b"/readyz":
            ready = self._settings.ready()
            return raw_answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n", b"text/plain")
        found = self._pages.files[path]
        return raw_answer(200, found.body, found.content_type.encode())

    def _metrics(self, headers: Headers) -> HttpAnswer:
        if self._settings.metrics is None:
            return answer(404, {"error": "not_found"})
        accept = b",".join(value for name, value in headers if name == b"accept")
        content_type, body = self._settings.metrics(accept.decode("latin-1"))
        return raw_answer(200, body, content_type.encode())

    async def _data(self, name: str, query: bytes, message: HttpMessage) -> HttpAnswer:
        method, headers, body = message.method, message.headers, message.body
        refused = self._guard.refuse_foreign(headers) or self._guard.refuse_stranger(headers)
        if refused is not None:
            return refused
        posted = name in self._pages.posted
        if method not in ({"POST"} if posted else _READING):
            return answer(405, {"error": "method_not_allowed"}, (b"allow", b"POST" if posted else b"GET, HEAD"))
        if posted:
            # What a form of another site can send is never this: a browser would ask first, and is told nothing.
            if _values(headers, b"content-type") != [_JSON]:
                return answer(415, {"error": "json_wanted", "do": "send Content-Type: application/json"})
            if not body:
                return answer(413, {"error": "body_refused", "do": "send JSON with a Content-Length, 64 KiB at most"})
        try:
            fields = dict(parse_qsl(query.decode("ascii"), max_num_fields=MOST_FIELDS, keep_blank_values=True))
        except ValueError:
            return answer(400, {"error": "query_malformed"})
        told = await asyncio.get_running_loop().run_in_executor(self._working, self._pages.tell, name, fields, body)
        return answer(*told) if told is not None else answer(404, {"error": "not_found"})


_PLAIN: Final = frozenset({b"/", b"/livez", b"/readyz", b"/metrics"})


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value.partition(b";")[0].strip().lower() for name, value in headers if name == wanted]
