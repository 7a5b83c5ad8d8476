"""An authorizer that says what a test tells it to, over real gRPC. It has no rules of its own.

It is for what the real one never says: nothing at all, an empty answer, a header it has no business with. So it shows
what a proxy's configuration alone withstands.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from extauthz.wire.pb import check_pb2
from support.ports import free_port

SERVICE = "envoy.service.auth.v3.Authorization"

Answer = Callable[[check_pb2.CheckRequest], check_pb2.CheckResponse]


def allow(headers: Mapping[str, str], remove: Sequence[str] = ()) -> check_pb2.CheckResponse:
    """An answer that lets the request pass, overwrites these headers and then removes those."""
    return check_pb2.CheckResponse(
        status=check_pb2.Status(code=0),
        ok_response=check_pb2.OkHttpResponse(headers=_overwrite(headers), headers_to_remove=remove),
    )


def deny(status: int = 403, headers: Mapping[str, str] | None = None, body: str = "") -> check_pb2.CheckResponse:
    """An answer that refuses the request with this status, headers and body."""
    return check_pb2.CheckResponse(
        status=check_pb2.Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0]),
        denied_response=check_pb2.DeniedHttpResponse(
            status=check_pb2.HttpStatus(code=status), headers=_overwrite(headers or {}), body=body
        ),
    )


@dataclass
class CheckServer:
    """A running authorizer. Make it with `check_server`; set `answer` to change what it says."""

    address: str
    """Where it listens: `host:port`, or `unix:/path`."""
    answer: Answer
    _asked: list[check_pb2.CheckRequest] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def asked(self) -> list[check_pb2.CheckRequest]:
        """Every request it was asked about, oldest first."""
        with self._lock:
            return list(self._asked)

    def check(self, request: check_pb2.CheckRequest, _context: grpc.ServicerContext) -> check_pb2.CheckResponse:
        """Answer one Check."""
        with self._lock:
            self._asked.append(request)
        return self.answer(request)


@contextlib.contextmanager
def check_server(
    answer: Answer, *, address: str | None = None, credentials: grpc.ServerCredentials | None = None
) -> Iterator[CheckServer]:
    """Run an authorizer while the block runs.

    Args:
        answer: what it says to each request.
        address: where it listens; None is a free port of 127.0.0.1.
        credentials: TLS; None is plain.

    Raises:
        RuntimeError: the address is taken.
    """
    server = CheckServer(address or f"127.0.0.1:{free_port()}", answer)
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="check") as pool:
        running = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        method = grpc.unary_unary_rpc_method_handler(
            server.check,
            request_deserializer=check_pb2.CheckRequest.FromString,
            response_serializer=check_pb2.CheckResponse.SerializeToString,
        )
        running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": method}),))
        healthy = health.HealthServicer()
        healthy.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, running)
        if credentials is None:
            running.add_insecure_port(server.address)
        else:
            running.add_secure_port(server.address, credentials)
        running.start()
        try:
            yield server
        finally:
            running.stop(grace=0.5).wait()


def _overwrite(headers: Mapping[str, str]) -> list[check_pb2.HeaderValueOption]:
    option = check_pb2.HeaderValueOption
    return [
        option(
            header=check_pb2.HeaderValue(key=name, value=value.encode()),
            append_action=option.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        for name, value in headers.items()
    ]
