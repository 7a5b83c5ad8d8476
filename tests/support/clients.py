"""Clients that send what ordinary libraries refuse to send. They judge nothing: what comes back is returned.

Every client can connect from another loopback address (`source`), which is how a test is a trusted proxy or a
stranger, and can send bytes before its first request (`preface`), such as a PROXY protocol line.
"""

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

Headers = Sequence[tuple[str | bytes, str | bytes]]

TIMEOUT_SECONDS = 45.0
"""How long a client waits for bytes before it gives up; longer than any proxy waits for its authorizer."""


@dataclass(frozen=True)
class Response:
    """An answer. `status` 0 is none: the connection, or the HTTP/2 stream, was closed instead."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """The values of every header with this name, the case of names ignored, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


def proxy_protocol(source: str) -> bytes:
    """The PROXY protocol line (version 1) by which a balancer says that `source` is the client."""
    family, destination = ("TCP6", "2001:db8::1") if ":" in source else ("TCP4", "192.0.2.1")
    return f"PROXY {family} {source} {destination} 40000 80\r\n".encode()


def http1(
    port: int,
    headers: Headers = (),
    *,
    method: str = "GET",
    target: str = "/",
    host: str | None = "gateway.example.com",
    body: bytes = b"",
    trailers: Headers = (),
    source: str = "127.0.0.1",
    preface: bytes = b"",
) -> Response:
    """Send one HTTP/1.1 request to 127.0.0.1, its headers byte by byte as given, and return the answer.

    With `trailers` the body is sent in chunks. `host` None sends no Host.
    """
    fields = [(b"host", host.encode())] if host is not None else []
    fields += [(_bytes(name), _bytes(value)) for name, value in headers]
    if trailers:
        fields.append((b"transfer-encoding", b"chunked"))
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        payload = chunk + b"0\r\n" + b"".join(_field(name, value) for name, value in trailers) + b"\r\n"
    else:
        if body:
            fields.append((b"content-length", b"%d" % len(body)))
        payload = body
    head = f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + b"".join(_field(*pair) for pair in fields) + b"\r\n"
    return raw(port, preface + head + payload, head_only=method == "HEAD", source=source)


def raw(port: int, request: bytes, *, head_only: bool = False, source: str = "127.0.0.1") -> Response:
    """Send these very bytes to 127.0.0.1 and return the first answer that is not a 1xx other than 101."""
    with _connected(port, source) as connection, connection.makefile("rb") as stream:
        try:
            connection.sendall(request)
            return _read_response(stream, head_only=head_only)
        except ConnectionError:
            return Response(0)


def http2(
    port: int,
    headers: Headers = (),
    *,
    method: str = "GET",
    target: str = "/",
    host: str | None = "gateway.example.com",
    body: bytes = b"",
    trailers: Headers = (),
    source: str = "127.0.0.1",
    preface: bytes = b"",
) -> Response:
    """Send one HTTP/2 request without TLS (prior knowledge) to 127.0.0.1, its headers as given, unchecked."""
    # Nothing is validated or lower-cased on the way out: what RFC 9113 forbids is what tests want to send.
    config = h2.config.H2Configuration(
        client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
    )
    pseudo = [(b":method", method.encode()), (b":scheme", b"http"), (b":path", target.encode("latin-1"))]
    if host is not None:
        pseudo.append((b":authority", host.encode()))
    fields = pseudo + [(_bytes(name), _bytes(value)) for name, value in headers]
    protocol = h2.connection.H2Connection(config)
    with _connected(port, source) as connection:
        protocol.initiate_connection()
        protocol.send_headers(1, fields, end_stream=not body and not trailers)
        if body:
            protocol.send_data(1, body, end_stream=not trailers)
        if trailers:
            protocol.send_headers(1, [(_bytes(name), _bytes(value)) for name, value in trailers], end_stream=True)
        try:
            connection.sendall(preface + protocol.data_to_send())
            return _http2_response(connection, protocol)
        except (ConnectionError, h2.exceptions.ProtocolError):
            return Response(0)


class WebSocket:
    """An accepted WebSocket. `hello` is what the echo Gateway said it got."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.hello: Any = json.loads(connection.recv(TIMEOUT_SECONDS))

    def echo(self, message: str | bytes) -> str | bytes:
        """Send one frame and return the one that comes back."""
        self._connection.send(message)
        return self._connection.recv(TIMEOUT_SECONDS)


class Refused(Exception):  # noqa: N818 - a refusal is the answer, not a fault
    """A WebSocket upgrade was answered with something else than 101."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@contextlib.contextmanager
def websocket(
    port: int,
    headers: Sequence[tuple[str, str]] = (),
    *,
    host: str = "gateway.example.com",
    path: str = "/",
    source: str = "127.0.0.1",
    preface: bytes = b"",
) -> Iterator[WebSocket]:
    """Open a WebSocket to the echo Gateway at or behind a port of 127.0.0.1 while the block runs.

    Raises:
        Refused: the upgrade was refused; it has the answer.
    """
    with _connected(port, source) as connection:
        connection.sendall(preface)
        try:
            opened = connect(
                f"ws://{host}{path}",
                sock=connection,
                additional_headers=list(headers),
                open_timeout=TIMEOUT_SECONDS,
                close_timeout=TIMEOUT_SECONDS,
                user_agent_header=None,
                proxy=None,
                compression=None,
            )
        except InvalidStatus as refusal:
            answer = refusal.response
            fields, body = tuple(answer.headers.raw_items()), bytes(answer.body or b"")
            raise Refused(Response(answer.status_code, fields, body)) from None
        with opened:
            yield WebSocket(opened)


class Session:
    """One HTTP/1.1 connection kept open for several requests: for load, and for what only a second request shows."""

    def __init__(self, port: int, source: str = "127.0.0.1", preface: bytes = b"") -> None:
        self._connection = _connected(port, source)
        self._stream = self._connection.makefile("rb")
        self._connection.sendall(preface)

    def send(self, request: bytes) -> Response:
        """Send the bytes of one request and return its answer."""
        try:
            self._connection.sendall(request)
            return _read_response(self._stream, head_only=False)
        except ConnectionError:
            return Response(0)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connected(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS, source_address=(source, 0))


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else value


def _field(name: str | bytes, value: str | bytes) -> bytes:
    return _bytes(name) + b": " + _bytes(value) + b"\r\n"


def _read_response(stream: Any, *, head_only: bool) -> Response:
    while True:
        start = stream.readline()
        if not start:
            return Response(0)
        status = int(start.split(b" ", 2)[1])
        headers = tuple(iter(lambda: _read_field(stream), None))
        if status >= 200 or status == 101:
            break
    found = {name.lower(): value for name, value in headers}
    if head_only or status in {101, 204, 304}:
        body = b""
    elif "chunked" in found.get("transfer-encoding", ""):
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        while stream.readline() not in {b"\r\n", b""}:
            pass
    elif "content-length" in found:
        body = stream.read(int(found["content-length"]))
    else:
        body = stream.read()
    return Response(status, headers, body)


def _read_field(stream: Any) -> tuple[str, str] | None:
    line = stream.readline().rstrip(b"\r\n")
    if not line:
        return None
    name, _, value = line.decode("latin-1").partition(":")
    return name, value.strip()


def _http2_response(connection: socket.socket, protocol: h2.connection.H2Connection) -> Response:
    response = Response(0)
    while data := connection.recv(65_536):
        for event in protocol.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                decoded = [(_text(name), _text(value)) for name, value in event.headers or ()]
                fields = tuple((name, value) for name, value in decoded if not name.startswith(":"))
                response = Response(int(dict(decoded)[":status"]), fields)
            elif isinstance(event, h2.events.DataReceived):
                response = replace(response, body=response.body + (event.data or b""))
                protocol.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, h2.events.StreamEnded):
                return response
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                return Response(0)
        connection.sendall(protocol.data_to_send())
    return Response(0)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
