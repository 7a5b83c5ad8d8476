"""The gRPC door: grpcio's threaded server around one function, bytes in, bytes out.

Messages are neither parsed nor built here, so that another gRPC engine can serve the same function.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from extauthz.authorizer import CheckFunction, Trace, TracedCheckFunction
from extauthz.config.values import Endpoint
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.doors.certificates import Certificates
from extauthz.doors.endpoints import UNIX_SOCKET_MODE, DoorError, remove_stale
from extauthz.wire.reflected import SERVICE, descriptor_pool

METHOD: Final = "Check"

_HEALTH_SERVICES: Final = ("", SERVICE)
_REMEMBERED_PEERS: Final = 1024
_TRACE_NAMES: Final = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcDoorSettings:
    """How the door is opened.

    Attributes:
        endpoints: Where it listens.
        certificates: Server certificates of the TCP listeners; None for plain text.
        read_principals: Read the SANs of client certificates.
        most_calls: Calls at once; the library refuses more with RESOURCE_EXHAUSTED.
        most_message_bytes: One request's size; the library refuses larger ones with RESOURCE_EXHAUSTED.
    """

    endpoints: Sequence[Endpoint]
    certificates: Certificates | None
    read_principals: bool
    most_calls: int
    most_message_bytes: int


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
        # A thread for each call at once, started when it is needed: a caller that opens a call and sends nothing holds
        # its own thread and never another's turn.
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

        def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
            return check(message, caller_of(context))

        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            handle if traced is None else _traced(traced, caller_of)
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        self._health: Final = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflected = _Reflection(names, lambda context: admits(caller_of(context)))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]  # as generated
            reflected, self._server
        )

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
        self._server.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)

    def leave(self) -> None:
        """Say that the service is going: whoever checks its health stops asking. It still answers."""
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    def drain(self, seconds: float) -> None:
        """Take no more calls, answer what is under way for at most `seconds`, and close."""
        self.leave()
        self._server.stop(seconds).wait()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        for path in self._sockets:
            path.unlink(missing_ok=True)

    def _say(self, status: int) -> None:
        for service in _HEALTH_SERVICES:
            self._health.set(service, status)

    def _bind(self, endpoint: Endpoint) -> Endpoint:
        certificates = self._settings.certificates
        if endpoint.path:
            self._bind_unix(endpoint)
            return endpoint
        try:
            if certificates is None:
                port = self._server.add_insecure_port(str(endpoint))
            else:
                port = self._server.add_secure_port(str(endpoint), certificates.credentials())
        except RuntimeError as error:
            raise DoorError(
                f"cannot listen on {endpoint}: is another server on that port, or is the address not this host's?"
            ) from error
        return endpoint._replace(port=port)

    def _bind_unix(self, endpoint: Endpoint) -> None:
        """Listen on a unix socket; the library would take it away from another server without a word."""
        path = Path(endpoint.path)
        remove_stale(path)
        mask = os.umask(0o777 & ~UNIX_SOCKET_MODE)
        try:
            self._server.add_insecure_port(str(endpoint))
        except RuntimeError as error:
            raise DoorError(f"cannot listen on {endpoint}: does {path.parent} exist, and may it be written?") from error
        finally:
            os.umask(mask)
        self._sockets.append(path)


class _Reflection(reflection.ReflectionServicer):
    """Reflection for those who may ask."""

    def __init__(self, names: Iterable[str], admits: Callable[[grpc.ServicerContext], bool]) -> None:
        super().__init__(names, descriptor_pool())
        self._admits: Final = admits

    def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> Iterator[Any]:  # noqa: N802 - the service's
        """Answer what is asked about the service, or refuse."""
        if not self._admits(context):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "caller_not_allowed")
        yield from super().ServerReflectionInfo(request_iterator, context)


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


def _traced(
    check: TracedCheckFunction, caller_of: Callable[[grpc.ServicerContext], Caller]
) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
        return check(message, caller_of(context), _trace(context))

    return handle


def _trace(context: grpc.ServicerContext) -> Trace | None:
    """Return the trace that the call itself belongs to: Envoy's span of asking, where Envoy traces."""
    found = [(name, value) for name, value in context.invocation_metadata() or () if name in _TRACE_NAMES]
    said = dict(found)
    parent, state = (said.get(name, "") for name in _TRACE_NAMES)
    # Twice the same name is no trace that two programs would read alike.
    if not isinstance(parent, str) or not isinstance(state, str) or not parent or len(said) != len(found):
        return None
    return Trace(parent, state)


@lru_cache(maxsize=_REMEMBERED_PEERS)
def parse_peer(peer: str) -> Caller:
    """Read grpcio's name for a peer: ipv4:1.2.3.4:5, ipv6:[::1]:5 (percent-encoded), unix: with or without a path."""
    kind, _, rest = peer.partition(":")
    if kind == "unix":
        return Caller(None, unix=True)
    if kind in ("ipv4", "ipv6"):
        return Caller(parse_address(unquote(rest).rpartition(":")[0]))
    return Caller(None)
