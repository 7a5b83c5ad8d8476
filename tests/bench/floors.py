"""The floors, each a program of its own: `python -m bench.floors KIND PORT`.

gRPC: the engine set up as our door sets it up, around a handler that parses the question and answers a constant.
HTTP: uvicorn on the parser and the loop of the doors, and the doors' own server, around what answers 200 with nothing.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from extauthz.wire.forward_auth import HttpAnswer
from extauthz.wire.pb import check_pb2 as pb

CALLS = 1000
BATCH = 2 * CALLS
ANSWER_BYTES = 756
"""As many as extauthz answers to the request that is measured, everything on."""


def constant(size: int) -> bytes:
    """Return an answer that allows, with this many bytes: those that say nothing are of a text that nobody reads."""
    found = pb.CheckResponse(ok_response=pb.OkHttpResponse())
    found.status.message = "x" * size
    while found.ByteSize() > size:
        found.status.message = found.status.message[:-1]
    return found.SerializeToString()


EMPTY = pb.CheckResponse(ok_response=pb.OkHttpResponse()).SerializeToString()


def grpcio(port: int, answer: bytes) -> None:
    """Serve with grpcio's threaded server."""
    import grpc  # noqa: PLC0415 - one floor has only its own server in memory

    from extauthz.doors.grpc_shared import METHOD  # noqa: PLC0415
    from extauthz.wire.reflected import SERVICE  # noqa: PLC0415

    def handle(message: bytes, _context: Any) -> bytes:
        pb.CheckRequest.FromString(message)
        return answer

    server = grpc.server(ThreadPoolExecutor(CALLS), maximum_concurrent_rpcs=CALLS)
    handler: Any = grpc.unary_unary_rpc_method_handler(handle)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def native(port: int, answer: bytes) -> None:
    """Serve with the native engine's batches, and nothing of our door."""
    from pygrpc_native import NativeGrpcFront  # noqa: PLC0415

    from extauthz.doors.envoy_native import IO_THREADS  # noqa: PLC0415
    from extauthz.doors.grpc_shared import METHOD  # noqa: PLC0415
    from extauthz.wire.reflected import SERVICE  # noqa: PLC0415

    front = NativeGrpcFront(f"127.0.0.1:{port}", [(f"/{SERVICE}/{METHOD}", False)], io_threads=IO_THREADS)
    front.start()
    while (events := front.recv_batch(BATCH, 1000)) is not None:
        for _, call_id, _, message, _ in events:
            if message is not None:
                pb.CheckRequest.FromString(message)
                front.respond(call_id, answer)


async def _empty(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def http(port: int) -> None:
    """Serve nothing with uvicorn's own protocol on httptools and uvloop."""
    import uvicorn  # noqa: PLC0415

    uvicorn.run(
        _empty,
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
    )


class _Nothing:
    """Lets everybody in, and answers 200 with nothing."""

    def answer(self, _message: Any, _caller: Any) -> HttpAnswer:
        return HttpAnswer(200, b"content-length: 0\r\n", b"")

    def admits(self, _caller: Any) -> bool:
        return True

    def refuse(self, _caller: Any) -> Any:
        raise AssertionError("nothing that is measured is refused")


def http_limited(port: int) -> None:
    """Serve nothing with the doors' own server, limits and all."""
    import threading  # noqa: PLC0415

    from extauthz.config.values import Endpoint  # noqa: PLC0415
    from extauthz.doors.http_limits import Limits  # noqa: PLC0415
    from extauthz.doors.http_server import HttpServer, HttpServerSettings  # noqa: PLC0415

    nothing = _Nothing()
    limits = Limits(connections=CALLS, header_lines=800, gatekeeper=nothing)
    endpoint = Endpoint.parse(f"127.0.0.1:{port}")
    settings = HttpServerSettings(name="floor", endpoints=(endpoint,), limits=limits, drain_seconds=1)
    HttpServer(nothing, settings).start()
    threading.Event().wait()


FLOORS: dict[str, Callable[[int], None]] = {
    "grpcio": partial(grpcio, answer=constant(ANSWER_BYTES)),
    "grpcio-empty": partial(grpcio, answer=EMPTY),
    "native": partial(native, answer=constant(ANSWER_BYTES)),
    "native-empty": partial(native, answer=EMPTY),
    "http": http,
    "http-limited": http_limited,
}

if __name__ == "__main__":
    FLOORS[sys.argv[1]](int(sys.argv[2]))
