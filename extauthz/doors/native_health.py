"""grpc.health.v1 for the native engine, which has no health service of its own. The same answers as grpcio's."""

import threading
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from extauthz.doors.grpc_shared import HEALTH_SERVICES, Status

if TYPE_CHECKING:
    from pygrpc_native import NativeGrpcFront

# Watchers of the service's health at once: each proxy needs one; more are refused.
MOST_WATCHERS: Final = 256

CHECK_PATH: Final = "/grpc.health.v1.Health/Check"
WATCH_PATH: Final = "/grpc.health.v1.Health/Watch"


class NativeHealth:
    """Answers Check and Watch (health.proto) for a service that serves until it says that it goes."""

    def __init__(self, native: "NativeGrpcFront") -> None:
        self._native = native
        self._state: int = health_pb2.HealthCheckResponse.SERVING
        # By call id: whether the name that is watched is one of ours.
        self._watchers: Final[dict[int, bool]] = {}
        self._lock: Final = threading.Lock()

    def follow(self, native: "NativeGrpcFront") -> None:
        """Answer at another server: the watchers of the one before are gone with it."""
        with self._lock:
            self._native = native
            self._watchers.clear()

    def answer(self, call_id: int, message: bytes, *, watch: bool) -> None:
        """Answer Check, or begin to answer Watch."""
        try:
            known = health_pb2.HealthCheckRequest.FromString(message).service in HEALTH_SERVICES
        except DecodeError:
            self._native.fail(call_id, Status.INVALID_ARGUMENT, "the message is no HealthCheckRequest")
            return
        if watch:
            self._watch(call_id, known=known)
        elif known:
            self._native.respond(call_id, _response(self._state))
        else:
            self._native.fail(call_id, Status.NOT_FOUND, "there is no service of this name")

    def forget(self, call_id: int) -> None:
        """Forget a watcher that is gone."""
        with self._lock:
            self._watchers.pop(call_id, None)

    def leave(self) -> None:
        """Say to all who watch, and to all who ask, that the service does not serve any more."""
        with self._lock:
            self._state = health_pb2.HealthCheckResponse.NOT_SERVING
            for call_id, known in self._watchers.items():
                if known:
                    self._native.stream_try_send(call_id, _response(self._state))

    def _watch(self, call_id: int, *, known: bool) -> None:
        with self._lock:
            if len(self._watchers) >= MOST_WATCHERS:
                self._native.fail(call_id, Status.RESOURCE_EXHAUSTED, "too many watch this service's health")
                return
            self._watchers[call_id] = known
            # A name that is unknown now may be known later (health.proto, Watch): the stream stays open.
            state = self._state if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            self._native.stream_try_send(call_id, _response(state))


def _response(state: int) -> bytes:
    response = health_pb2.HealthCheckResponse()
    response.status = state
    return response.SerializeToString()
