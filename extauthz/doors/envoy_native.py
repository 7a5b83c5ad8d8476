"""The gRPC door on the native engine: HTTP/2 and gRPC in Rust, calls handed to one function in batches.

Here is what that engine leaves to us: the limits, the health service, the end. docs/engines.md tells how it differs
from the door on grpcio. It has no TLS, so that the configuration keeps it on this host.
"""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from extauthz.authorizer import TracedCheckFunction
from extauthz.config.values import Endpoint
from extauthz.doors.endpoints import DoorError, private_sockets, remove_stale, unlistenable
from extauthz.doors.grpc_shared import HEALTH_SERVICES, METHOD, GrpcDoorSettings, parse_peer, trace_of
from extauthz.wire.reflected import SERVICE

try:
    from pygrpc_native import EVENT_CALL, NativeGrpcFront
except ImportError:  # an extra; `is_installed` says so
    NativeGrpcFront = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pygrpc_native._native import CallDetails, DetailedEvent

_log: Final = structlog.get_logger()

INSTALL: Final = "pip install 'extauthz[native]'"

# Threads that do HTTP/2, without the interpreter's lock. One keeps up with all that Python can answer.
IO_THREADS: Final = 1
# How long a client may leave a ping unanswered, and after how long without a word it gets one, in milliseconds.
PING_AFTER_MS: Final = 60_000
PING_ANSWER_MS: Final = 20_000
# Watchers of the service's health at once: each proxy needs one; more are refused.
MOST_WATCHERS: Final = 256
# How long the engine is waited for before it is looked whether the service ends.
_PAUSE_MS: Final = 50

_CHECK, _HEALTH_CHECK, _HEALTH_WATCH = range(3)
_METHODS: Final = (
    (f"/{SERVICE}/{METHOD}", False),
    ("/grpc.health.v1.Health/Check", False),
    ("/grpc.health.v1.Health/Watch", True),
)

_NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND.value[0]
_RESOURCE_EXHAUSTED: Final = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
_INVALID_ARGUMENT: Final = grpc.StatusCode.INVALID_ARGUMENT.value[0]
_INTERNAL: Final = grpc.StatusCode.INTERNAL.value[0]


def is_installed() -> bool:
    """Tell whether the engine can be used."""
    return NativeGrpcFront is not None


class NativeDoor:
    """Serves Authorization/Check and grpc.health.v1; no reflection.

    Attributes:
        endpoints: Where it listens, with the ports that the system chose; set by `start`.
    """

    def __init__(self, check: TracedCheckFunction, settings: GrpcDoorSettings, *, traced: bool = False) -> None:
        """Prepare the door.

        Args:
            check: Answers a CheckRequest.
            settings: How the door is opened. The engine has no TLS: the configuration refuses certificates with it.
            traced: Tell `check` the trace of each call.
        """
        self.endpoints: tuple[Endpoint, ...] = ()
        self._settings: Final = settings
        self._check: Final = check
        self._traced: Final = traced
        self._fronts: Final[list[_Front]] = []
        self._sockets: Final[list[Path]] = []

    def start(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            DoorError: The engine is not installed, or an address cannot be listened on.
        """
        if NativeGrpcFront is None:
            raise DoorError(f"server.engine: `native` is not installed: {INSTALL}, or use `grpcio`")
        try:
            for endpoint in self._settings.endpoints:
                self._fronts.append(self._bind(endpoint))
        except DoorError:
            self._close()
            raise
        self.endpoints = tuple(front.endpoint for front in self._fronts)
        for front in self._fronts:
            front.start()

    def leave(self) -> None:
        """Say that the service is going: whoever checks its health stops asking. It still answers."""
        for front in self._fronts:
            front.leave()

    def drain(self, seconds: float) -> None:
        """Answer what has arrived, for at most `seconds`, and close. Calls whose message has not arrived are cut."""
        self.leave()
        end = time.monotonic() + seconds
        for front in self._fronts:
            front.wait_idle(max(0.0, end - time.monotonic()))
        self._close()

    def is_alive(self) -> bool:
        """Tell whether every listener is still served."""
        return all(front.is_alive() for front in self._fronts)

    def _bind(self, endpoint: Endpoint) -> "_Front":
        if endpoint.path:
            remove_stale(Path(endpoint.path))
        try:
            with private_sockets():
                front = _Front(endpoint, self._check, self._settings, traced=self._traced)
        except (OSError, ValueError) as error:
            raise unlistenable(endpoint) from error
        if endpoint.path:
            self._sockets.append(Path(endpoint.path))
        return front

    def _close(self) -> None:
        for front in self._fronts:
            front.close()
        for path in self._sockets:
            path.unlink(missing_ok=True)


class _Front:
    """One listener, and the thread that answers for it."""

    def __init__(
        self, endpoint: Endpoint, check: TracedCheckFunction, settings: GrpcDoorSettings, *, traced: bool
    ) -> None:
        self._native: Final = NativeGrpcFront(
            str(endpoint),
            _METHODS,
            io_threads=IO_THREADS,
            call_details=True,  # cancelled calls are told, so that nobody decides about what nobody waits for
            keepalive_time_ms=PING_AFTER_MS,
            keepalive_timeout_ms=PING_ANSWER_MS,
        )
        self.endpoint: Final = endpoint if endpoint.path else endpoint._replace(port=self._native.bound_port)
        self._check: Final = check
        self._most_calls: Final = settings.most_calls
        self._most_bytes: Final = settings.most_message_bytes
        self._traced: Final = traced
        self._health: Final = _Health(self._native)
        self._ending: Final = threading.Event()
        self._idle: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._serve, name="extauthz-native", daemon=True)

    def start(self) -> None:
        self._native.start()
        self._thread.start()

    def leave(self) -> None:
        self._health.leave()

    def wait_idle(self, seconds: float) -> None:
        """Wait until everything that has arrived is answered."""
        self._ending.set()
        self._idle.wait(seconds)

    def close(self) -> None:
        self._native.close()
        if self._thread.ident is not None:
            self._thread.join()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _serve(self) -> None:
        # All that waits is taken at once, so that what is over the limit is refused at once and not in its turn.
        receive, most = self._native.recv_batch_details, self._most_calls * 2 + MOST_WATCHERS
        while (events := receive(most, _PAUSE_MS)) is not None:
            if events:
                self._answer(events)
            elif self._ending.is_set():
                self._idle.set()

    def _answer(self, events: "Sequence[DetailedEvent]") -> None:
        """Answer what arrived together: first who asks for health, then who is first."""
        gone = {call_id for kind, call_id, *_ in events if kind != EVENT_CALL}
        waiting = 0
        for kind, call_id, method, message, *_ in events:
            if kind == EVENT_CALL and method != _CHECK:
                self._health.answer(call_id, message or b"", watch=method == _HEALTH_WATCH)
        for call_id in gone:
            self._health.forget(call_id)
        for kind, call_id, method, message, _, details in events:
            if kind != EVENT_CALL or method != _CHECK or call_id in gone:
                continue
            waiting += 1
            if waiting > self._most_calls:
                self._native.fail(call_id, _RESOURCE_EXHAUSTED, "more calls at once than server.maxConcurrent")
            elif message is None or len(message) > self._most_bytes:
                self._native.fail(call_id, _RESOURCE_EXHAUSTED, "the message is larger than limits.messageBytes")
            else:
                self._decide(call_id, message, details)

    def _decide(self, call_id: int, message: bytes, details: "CallDetails | None") -> None:
        try:
            metadata, peer, _ = details if details is not None else ((), "", None)
            trace = trace_of(metadata) if self._traced else None
            self._native.respond(call_id, self._check(message, parse_peer(peer), trace))
        except Exception:  # noqa: BLE001 - `check` never raises; what else does costs this call and not the door
            _log.exception("a call could not be answered")
            self._native.fail(call_id, _INTERNAL, "internal_error")


class _Health:
    """grpc.health.v1 (health.proto), for a service that serves until it says that it goes."""

    def __init__(self, native: "NativeGrpcFront") -> None:
        self._native: Final = native
        self._state: int = health_pb2.HealthCheckResponse.SERVING
        self._watchers: Final[set[int]] = set()
        self._lock: Final = threading.Lock()

    def answer(self, call_id: int, message: bytes, *, watch: bool) -> None:
        """Answer Check, or begin to answer Watch."""
        try:
            known = health_pb2.HealthCheckRequest.FromString(message).service in HEALTH_SERVICES
        except DecodeError:
            self._native.fail(call_id, _INVALID_ARGUMENT, "the message is no HealthCheckRequest")
            return
        if watch:
            self._watch(call_id, known=known)
        elif known:
            self._native.respond(call_id, _health(self._state))
        else:
            self._native.fail(call_id, _NOT_FOUND, "there is no service of this name")

    def forget(self, call_id: int) -> None:
        """Forget a watcher that is gone."""
        with self._lock:
            self._watchers.discard(call_id)

    def leave(self) -> None:
        """Say to all who watch, and to all who ask, that the service does not serve any more."""
        with self._lock:
            self._state = health_pb2.HealthCheckResponse.NOT_SERVING
            for call_id in self._watchers:
                self._native.stream_try_send(call_id, _health(self._state))

    def _watch(self, call_id: int, *, known: bool) -> None:
        with self._lock:
            if len(self._watchers) >= MOST_WATCHERS:
                self._native.fail(call_id, _RESOURCE_EXHAUSTED, "too many watch this service's health")
                return
            self._watchers.add(call_id)
            # A name that is unknown now may be known later (health.proto, Watch): the stream stays open.
            state = self._state if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            self._native.stream_try_send(call_id, _health(state))


def _health(state: int) -> bytes:
    response = health_pb2.HealthCheckResponse()
    response.status = state
    return response.SerializeToString()
