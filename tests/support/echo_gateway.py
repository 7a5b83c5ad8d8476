"""A Gateway that answers with exactly what arrived: the point of view that counts. It judges nothing.

HTTP/1.1 is read by hand, because every library tidies up: here header names keep their case, repeated headers their
number and their order, odd bytes their value, and trailers are kept apart. A WebSocket upgrade is accepted, the first
frame is the same JSON, and every frame after it comes back.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from support.ports import free_port
from support.process import READY_SECONDS

Pairs = tuple[tuple[str, str], ...]

_MAX_HEAD = 1 << 20
_MAX_LINE = 1 << 20
_TURNS_TO_ACCEPT = 5


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """One request as it came over the wire. Bytes are shown as Latin-1 text, so that none is lost."""

    gateway: str
    method: str
    target: str
    version: str
    headers: Pairs
    trailers: Pairs = ()
    body: str = ""

    def values(self, name: str) -> list[str]:
        """The values of every header with this name, the case of names ignored, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def as_json(self) -> dict[str, Any]:
        """What the Gateway answers with."""
        return {
            "gateway": self.gateway,
            "method": self.method,
            "path": self.target,
            "version": self.version,
            "headers": [list(pair) for pair in self.headers],
            "trailers": [list(pair) for pair in self.trailers],
            "body": self.body,
        }


@dataclass
class EchoGateway:
    """A running Gateway on 127.0.0.1. Make it with `echo_gateway`."""

    name: str
    port: int
    _arrived: list[Arrived] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def arrived(self) -> list[Arrived]:
        """Every request that has arrived, oldest first; a WebSocket is in it once it was accepted."""
        with self._lock:
            return list(self._arrived)

    def clear(self) -> None:
        """Forget what has arrived."""
        with self._lock:
            self._arrived.clear()

    def record(self, request: Arrived) -> None:
        """Remember a request."""
        with self._lock:
            self._arrived.append(request)


@contextlib.contextmanager
def echo_gateway(name: str = "gateway") -> Iterator[EchoGateway]:
    """Run a Gateway in a thread of this process while the block runs.

    Args:
        name: comes back in every answer, to tell one Gateway from another.

    Raises:
        RuntimeError: it could not start or could not be stopped.
    """
    gateway = EchoGateway(name, free_port())
    server = _Server(gateway)
    server.start()
    try:
        yield gateway
    finally:
        server.stop()


class _Server(threading.Thread):
    def __init__(self, gateway: EchoGateway) -> None:
        super().__init__(name=f"echo-{gateway.name}", daemon=True)
        self._gateway = gateway
        self._serving = threading.Event()
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        super().start()
        if not self._serving.wait(READY_SECONDS) or self._failure is not None:
            raise RuntimeError("the echo Gateway did not start") from self._failure

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
            self._serving.set()

    def stop(self) -> None:
        if self._event_loop is not None and self._stop_asked is not None:
            self._event_loop.call_soon_threadsafe(self._stop_asked.set)
        self.join(READY_SECONDS)
        if self.is_alive():
            raise RuntimeError("the echo Gateway did not stop")

    async def _serve(self) -> None:
        self._event_loop, self._stop_asked = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(_closing(writer, _Connection(self._gateway, reader, writer)))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", self._gateway.port, limit=_MAX_HEAD)
        self._serving.set()
        await self._stop_asked.wait()
        # A connection that comes at this moment is served, and closed, as any other: asyncio (3.11) forgets one whose
        # server closes before it is made, and a task that is cancelled before it began closes nothing.
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _closing(writer: asyncio.StreamWriter, connection: "_Connection") -> None:
    # A peer that goes away in the middle is an ordinary end here; anything else is a fault of this file, and shows.
    try:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await connection.serve()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class _Connection:
    def __init__(self, gateway: EchoGateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gateway = gateway
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        try:
            await self._serve()
        except ValueError:  # what came is no HTTP
            self._writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            await self._writer.drain()

    async def _serve(self) -> None:
        while True:
            head = await self._reader.readuntil(b"\r\n\r\n")
            arrived = _parse_head(self._gateway.name, head)
            headers = arrived.headers
            if _one(headers, "upgrade").lower() == "websocket":
                self._gateway.record(arrived)
                await self._websocket(head, arrived)
                return
            body, trailers = await self._body(headers)
            arrived = replace(arrived, body=body.decode("latin-1"), trailers=trailers)
            self._gateway.record(arrived)
            await self._answer(arrived)
            if _one(headers, "connection").lower() == "close":
                return

    async def _body(self, headers: Pairs) -> tuple[bytes, Pairs]:
        if "chunked" in _one(headers, "transfer-encoding").lower():
            parts = []
            while size := int((await self._line()).split(b";")[0], 16):
                parts.append(await self._reader.readexactly(size))
                await self._line()
            lines = []
            while line := await self._line():
                lines.append(line)
            return b"".join(parts), tuple(_parse_field(line) for line in lines)
        return await self._reader.readexactly(int(_one(headers, "content-length") or 0)), ()

    async def _line(self) -> bytes:
        return (await self._reader.readuntil(b"\r\n"))[:-2]

    async def _answer(self, arrived: Arrived) -> None:
        body = json.dumps(arrived.as_json()).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + (b"" if arrived.method == "HEAD" else body))
        await self._writer.drain()

    async def _websocket(self, head: bytes, arrived: Arrived) -> None:
        protocol = ServerProtocol(max_size=_MAX_LINE)
        protocol.receive_data(head)
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
        if protocol.state is State.OPEN:
            protocol.send_text(json.dumps(arrived.as_json()).encode())
        while await self._flush(protocol):
            data = await self._reader.read(65_536)
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            for event in protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    protocol.send_text(event.data)
                elif isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                    protocol.send_binary(event.data)

    async def _flush(self, protocol: ServerProtocol) -> bool:
        """Write what there is to write; False where the protocol has come to the end of the connection."""
        parts = protocol.data_to_send()
        self._writer.write(b"".join(parts))
        await self._writer.drain()
        return b"" not in parts and protocol.state is not State.CLOSED


def _parse_head(gateway: str, head: bytes) -> Arrived:
    first, *lines = head[:-4].split(b"\r\n")
    method, target, version = first.decode("latin-1").split(" ", 2)
    headers = tuple(_parse_field(line) for line in lines)
    return Arrived(gateway=gateway, method=method, target=target, version=version, headers=headers)


def _parse_field(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name, value.strip(" \t")


def _one(headers: Pairs, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")
