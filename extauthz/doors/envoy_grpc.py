"""The gRPC door: grpcio's threaded server around one function, bytes in, bytes out.

Messages are neither parsed nor built here, so that another gRPC engine can serve the same function.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from extauthz.authorizer import CheckFunction, TracedCheckFunction
from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors import grpc_arrivals
from extauthz.doors.endpoints import DoorError, private_sockets, remove_stale, unlistenable
from extauthz.doors.grpc_shared import HEALTH_SERVICES, METHOD, GrpcDoorSettings, parse_peer, trace_of
from extauthz.logs import get_logger
from extauthz.wire.reflected import REFLECTION, SERVICE, descriptor_pool

_log: Final = get_logger(__name__)

# How long the library may take to close, once the time for the calls under way is over.
_STOP_SECONDS: Final = 5.0


class GrpcDoor:
    """Serves Authorization/Check, grpc.health.v1 and reflection.

    Attributes:
        endpoints: Where it listens, with the ports that the system chose; set by `start`.
    """

    def __init__(
        self,
        check: CheckFunction,
        admits: Callable[[Caller], bool],
        settings: GrpcDoorSettings,
        *,
        traced: TracedCheckFunction | None = None,
    ) -> None:
        """Prepare the server.

        Args:
            check: Answers a CheckRequest.
            admits: Tells whether a caller may ask at all; whom it does not admit gets no reflection either, whose
                streams could hold every call there may be.
            settings: How the door is opened.
            traced: What answers in the place of `check` where the trace of each call is wanted too.
        """
        self.endpoints: tuple[Endpoint, ...] = ()
        self._settings: Final = settings
        self._sockets: Final[list[Path]] = []
        self._serving: Iterable[threading.Thread] = ()
        # A thread for each call at once, started when it is needed: a caller that opens a call and sends nothing holds
        # its own thread and never another's turn. A Check has one only where `Arrivals` does not know the library.
        self._executor: Final = ThreadPoolExecutor(settings.most_calls, thread_name_prefix="extauthz-check")
        self._server: Final = grpc.server(
            self._executor,
            maximum_concurrent_rpcs=settings.most_calls,
            options=(
                ("grpc.so_reuseport", 0),  # a second server on the same port fails to start
                ("grpc.max_receive_message_length", settings.most_message_bytes),
            ),
        )
        caller_of = _caller_with_principals if settings.read_principals else _caller

        handle = _untraced(check, caller_of) if traced is None else _traced(traced, caller_of)
        if grpc_arrivals.is_known():
            handle.experimental_thread_pool = grpc_arrivals.Arrivals(self._executor)
        else:
            _log.warning("this version of grpcio is not known: each call takes a thread", version=grpc.__version__)
        handler: Any = grpc.unary_unary_rpc_method_handler(handle)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        self._health: Final = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflected = _Reflection(lambda context: admits(caller_of(context)))
        streams: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            reflected.answer, request_deserializer=reflected.read, response_serializer=_serialized
        )
        methods = {"ServerReflectionInfo": streams}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(REFLECTION, methods),))

    def start(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            DoorError: An address cannot be listened on.
        """
        try:
            self.endpoints = tuple(self._bind(endpoint) for endpoint in self._settings.endpoints)
        except DoorError:
            self._remove_sockets()
            raise
        before = set(threading.enumerate())
        self._server.start()
        # The library's thread that takes what arrives, and answers each Check.
        self._serving = {thread for thread in set(threading.enumerate()) - before if "_serve" in thread.name}
        self._say(health_pb2.HealthCheckResponse.SERVING)

    def leave(self) -> None:
        """Say that the service is going: whoever checks its health stops asking. It still answers."""
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    def is_alive(self) -> bool:
        """Tell whether what serves still runs."""
        return all(thread.is_alive() for thread in self._serving)

    def drain(self, seconds: float) -> None:
        """Take no more calls, answer what is under way for at most `seconds`, and close."""
        self.leave()
        self._server.stop(seconds).wait(seconds + _STOP_SECONDS)
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        for path in self._sockets:
            path.unlink(missing_ok=True)

    def _say(self, status: int) -> None:
        for service in HEALTH_SERVICES:
            self._health.set(service, status)

    def _bind(self, endpoint: Endpoint) -> Endpoint:
        certificates = self._settings.certificates
        try:
            if endpoint.path:
                # The library would take the socket away from another server without a word.
                remove_stale(Path(endpoint.path))
                with private_sockets():
                    self._server.add_insecure_port(str(endpoint))
                self._sockets.append(Path(endpoint.path))
                return endpoint
            if certificates is None:
                port = self._server.add_insecure_port(str(endpoint))
            else:
                port = self._server.add_secure_port(str(endpoint), certificates.credentials())
        except RuntimeError as error:
            raise unlistenable(endpoint) from error
        return endpoint._replace(port=port)


class _Reflection:
    """Reflection for those who may ask. It is loaded when somebody does: most services are never asked."""

    def __init__(self, admits: Callable[[grpc.ServicerContext], bool]) -> None:
        self._admits: Final = admits

    def answer(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """Answer what is asked about the service, or refuse."""
        if not self._admits(context):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "caller_not_allowed")
        yield from self._servicer.ServerReflectionInfo(requests, context)

    @staticmethod
    def read(message: bytes) -> Any:
        """Read a request."""
        from grpc_reflection.v1alpha import reflection_pb2  # noqa: PLC0415

        return reflection_pb2.ServerReflectionRequest.FromString(message)

    @cached_property
    def _servicer(self) -> Any:
        from grpc_reflection.v1alpha import reflection  # noqa: PLC0415

        return reflection.ReflectionServicer((SERVICE, health.SERVICE_NAME, REFLECTION), descriptor_pool())


def _serialized(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw


def _caller(context: grpc.ServicerContext) -> Caller:
    return parse_peer(context.peer())


def _caller_with_principals(context: grpc.ServicerContext) -> Caller:
    caller = parse_peer(context.peer())
    names = set()
    found: Iterable[bytes] = context.auth_context().get("x509_subject_alternative_name", ())  # type: ignore[assignment]
    for name in found:
        try:
            names.add(name.decode())
        except UnicodeDecodeError:
            continue  # a name that is no text matches none of the file
    return caller._replace(principals=frozenset(names))


def _untraced(check: CheckFunction, caller_of: Callable[[grpc.ServicerContext], Caller]) -> Any:
    def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
        return check(message, caller_of(context))

    return handle


def _traced(check: TracedCheckFunction, caller_of: Callable[[grpc.ServicerContext], Caller]) -> Any:
    def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
        return check(message, caller_of(context), trace_of(context.invocation_metadata() or ()))

    return handle
