"""Real servers on free loopback ports, run in threads: a JWKS source that misbehaves, uvicorn, and wsgiref."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from support.process import READY_SECONDS


class JwksServer:
    """Serves what the test says: a status, a body, and, if it likes, slowly."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.drip_seconds = 0.0
        self.hold = threading.Event()
        self.hold.set()
        self.requests = 0
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.requests += 1
                source.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/.well-known/jwks.json"

    def serve(self, document: object, status: int = 200, **headers: str) -> None:
        """Answer with this from now on."""
        self.body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.status, self.headers = status, headers

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.hold.wait(READY_SECONDS)
        try:
            handler.send_response(self.status)
            for name, value in ({"Content_Length": str(len(self.body))} | self.headers).items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            if not self.drip_seconds:
                handler.wfile.write(self.body)
                return
            for byte in self.body:
                handler.wfile.write(bytes([byte]))
                time.sleep(self.drip_seconds)
        except OSError:
            pass  # the client had enough

    def close(self) -> None:
        """Stop serving: connections are refused from now on."""
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def uvicorn_running(app: Any, **options: Any) -> Iterator[int]:
    """Run an ASGI application under uvicorn; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        config = uvicorn.Config(app, log_level="error", **({"ws": "websockets-sansio"} | options))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(READY_SECONDS)


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        # As gunicorn and others do; wsgiref itself does not tell the raw target.
        return super().get_environ() | {"REQUEST_URI": self.path}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def wsgi_running(app: Any) -> Iterator[int]:
    """Run a WSGI application under wsgiref's server; yields its port."""
    with make_server("127.0.0.1", 0, app, WSGIServer, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(READY_SECONDS)


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: if it does not within READY_SECONDS.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def raw_request(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send these very bytes, and read one answer: its status, header fields and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=READY_SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        while not _is_whole(answer) and (chunk := connection.recv(65536)):
            answer += chunk
    return _parts(answer)


def _parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), fields, body


def _is_whole(answer: bytes) -> bool:
    # Envoy keeps a connection for a second after it refused.
    if b"\r\n\r\n" not in answer:
        return False
    _, fields, body = _parts(answer)
    return "content-length" in fields and len(body) >= int(fields["content-length"])


__all__ = ["JwksServer", "raw_request", "until", "uvicorn_running", "wsgi_running"]
