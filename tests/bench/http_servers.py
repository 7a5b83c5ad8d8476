"""What do other HTTP servers do that the forward-auth doors could run on? Measured with a handler that only answers.

    python -m venv /tmp/servers
    /tmp/servers/bin/pip install ".[uvloop]" granian aiohttp hypercorn
    /tmp/servers/bin/python tests/bench/http_servers.py --rounds 5 --seconds 3

Each server runs on core 0 and wrk on core 1, one after the other, round by round, so that whatever else the machine
does meets all of them; what is printed are medians. Where others use the cores too, requests for each second of
processor time that the server used is the figure to go by. The answer is that of an allow: five headers, no body.
"""

import argparse
import asyncio
import contextlib
import http.client
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extauthz.doors.http_server import Loop

HEADERS = (
    (b"x-forwarded-user", b"nick@example.com"),
    (b"x-authz-user", b"nick@example.com"),
    (b"x-authz-gateway", b"openclaw"),
    (b"x-authz-decision", b"0123456789abcdef0123"),
    (b"cache-control", b"no-store"),
    (b"content-length", b"0"),
)
CONNECTIONS = 8
START_SECONDS = 20.0
# What a proxy asks with: about as many headers as a browser's request through Traefik has.
REQUEST_HEADERS = (
    "X-Forwarded-Method: GET",
    "X-Forwarded-Uri: /chat?session=main",
    "X-Forwarded-Host: gateway.example.com",
    "X-Forwarded-Proto: https",
    "X-Forwarded-For: 203.0.113.10, 10.0.0.7",
    "X-Forwarded-User: nick@example.com",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef",
    "Sec-Fetch-Mode: navigate",
)


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer over ASGI."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        await send({"type": "http.response.body", "body": b""})


async def rsgi(_scope: Any, protocol: Any) -> None:
    """Answer over granian's own interface."""
    protocol.response_empty(200, [(name.decode(), value.decode()) for name, value in HEADERS])


def serve_uvicorn(port: int, kind: str, loop: str) -> None:
    """Serve with uvicorn, one of its parsers on one of its loops."""
    import uvicorn  # noqa: PLC0415 - each process needs one of them

    config: dict[str, Any] = {"http": kind, "loop": loop, "ws": "none", "lifespan": "off", "access_log": False}
    uvicorn.run(app, port=port, log_level="warning", proxy_headers=False, server_header=False, **config)


def serve_granian(port: int, interface: str) -> None:
    """Serve with granian: one worker, one runtime thread."""
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces  # noqa: PLC0415

    target = "http_servers:rsgi" if interface == "rsgi" else "http_servers:app"
    Granian(
        target, address="127.0.0.1", port=port, interface=Interfaces(interface), websockets=False, log_enabled=False
    ).serve()


def serve_aiohttp(port: int) -> None:
    """Serve with aiohttp.web on uvloop."""
    import uvloop  # noqa: PLC0415
    from aiohttp import web  # noqa: PLC0415

    headers = [(name.decode(), value.decode()) for name, value in HEADERS if name != b"content-length"]

    async def handle(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers=headers)

    async def main() -> None:
        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_hypercorn(port: int) -> None:
    """Serve with hypercorn on uvloop."""
    import uvloop  # noqa: PLC0415
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    application: Any = app
    uvloop.run(serve(application, config))


def serve_bare(port: int) -> None:
    """Serve with nothing but httptools and uvloop: no server library, no limits; the ceiling of the others."""
    import httptools  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport
            self.parser = httptools.HttpRequestParser(self)
            self.headers: list[tuple[bytes, bytes]] = []

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name.lower(), value))

        def on_message_complete(self) -> None:
            self.headers = []
            lines = b"".join(b"%s: %s\r\n" % pair for pair in HEADERS)
            self.transport.write(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


def serve_own(port: int, loop: "Loop") -> None:
    """Serve with the doors' own server, limits and all."""
    import threading  # noqa: PLC0415

    from extauthz.config.values import Endpoint  # noqa: PLC0415
    from extauthz.doors.http_limits import Limits  # noqa: PLC0415
    from extauthz.doors.http_server import HttpServer, HttpServerSettings  # noqa: PLC0415
    from extauthz.wire.forward_auth import HttpAnswer  # noqa: PLC0415

    class Constant:
        def answer(self, _message: Any, _caller: Any) -> HttpAnswer:
            return HttpAnswer.of(200, HEADERS, b"")

        def admits(self, _caller: Any) -> bool:
            return True

        def refuse(self, _caller: Any) -> HttpAnswer:
            raise AssertionError("nothing that is measured is refused")

    constant = Constant()
    limits = Limits(connections=1000, header_lines=800, gatekeeper=constant)
    endpoint = Endpoint.parse(f"127.0.0.1:{port}")
    settings = HttpServerSettings(name="own", endpoints=(endpoint,), limits=limits, drain_seconds=1, loop=loop)
    HttpServer(constant, settings).start()
    threading.Event().wait()


SERVERS = {
    "ours: httptools, asyncio": lambda port: serve_own(port, "asyncio"),
    "ours: httptools, uvloop": lambda port: serve_own(port, "uvloop"),
    "uvicorn, httptools, uvloop": lambda port: serve_uvicorn(port, "httptools", "uvloop"),
    "uvicorn, httptools, asyncio": lambda port: serve_uvicorn(port, "httptools", "asyncio"),
    "uvicorn, h11, uvloop": lambda port: serve_uvicorn(port, "h11", "uvloop"),
    "granian, ASGI": lambda port: serve_granian(port, "asgi"),
    "granian, RSGI": lambda port: serve_granian(port, "rsgi"),
    "aiohttp.web, uvloop": serve_aiohttp,
    "hypercorn, uvloop": serve_hypercorn,
    "httptools and uvloop alone": serve_bare,
}


def free_port() -> int:
    """Return a port that was free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str) -> Iterator[tuple[int, int, float]]:
    """Run a server on core 0; yields its port, its process id and the seconds until it answered."""
    port = free_port()
    begun = time.perf_counter()
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as a child's working directory
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, os.path.abspath(__file__), "--serve", name, "--port", str(port)],  # noqa: PTH100
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
                connection.request("GET", "/")
                if connection.getresponse().status == 200:
                    break
            except OSError as error:
                if time.perf_counter() - begun > START_SECONDS or process.poll() is not None:
                    raise RuntimeError(f"{name} did not start") from error
                time.sleep(0.005)
        yield port, process.pid, time.perf_counter() - begun
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid: int) -> list[Any]:
    """Return a process and its children."""
    import psutil  # noqa: PLC0415

    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def memory(pid: int) -> float:
    """Return the resident memory of a process and its children, in MB."""
    return float(sum(one.memory_info().rss for one in family(pid)) / 1e6)


def processor(pid: int) -> float:
    """Return the processor time that a process and its children have used, in seconds."""
    return float(sum(sum(one.cpu_times()[:2]) for one in family(pid)))


def load(port: int, pid: int, seconds: int) -> tuple[float, float]:
    """Return the requests that wrk got answered with 200, by second and by second of the server's processor time."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    headers = [part for header in REQUEST_HEADERS for part in ("-H", header)]
    argv = ["taskset", "-c", "1", wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *headers]
    before = processor(pid)
    found = subprocess.run(
        [*argv, f"http://127.0.0.1:{port}/forward-auth/traefik/openclaw"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in found or "Socket errors" in found:
        raise RuntimeError(found)
    used = processor(pid) - before
    rate, count = re.search(r"Requests/sec:\s+([\d.]+)", found), re.search(r"(\d+) requests in", found)
    if rate is None or count is None:
        raise RuntimeError(found)
    return float(rate[1]), int(count[1]) / used


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load in each round")
    parser.add_argument("--only", nargs="+", choices=list(SERVERS), default=list(SERVERS), help="of these")
    parser.add_argument("--serve", choices=list(SERVERS), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        SERVERS[given.serve](given.port)
        return
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in given.only}
    for _ in range(given.rounds):
        for name, figures in found.items():
            with running(name) as (port, pid, seconds):
                figures.append((*load(port, pid, given.seconds), memory(pid), seconds))
    versions = ("uvicorn", "httptools", "uvloop", "granian", "aiohttp", "hypercorn")
    print("Python", platform.python_version(), *(f"{name} {importlib.metadata.version(name)}" for name in versions))  # noqa: T201
    print("| server | requests per processor second | requests a second | memory, MB | start, ms |")  # noqa: T201
    print("|---|---|---|---|---|")  # noqa: T201
    for name, figures in sorted(found.items(), key=lambda item: -statistics.median(row[1] for row in item[1])):
        rate, by_processor, size, seconds = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"| {name} | {by_processor:,.0f} | {rate:,.0f} | {size:.0f} | {seconds * 1000:.0f} |")  # noqa: T201


if __name__ == "__main__":
    main()
