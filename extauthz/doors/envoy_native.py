"""The gRPC door on the native engine: HTTP/2 and gRPC in Rust, calls handed to one function in batches.

Here is what that engine leaves to us: the limits, the health service, the end. docs/engines.md tells how it differs
from the door on grpcio. It has no TLS, so that the configuration keeps it on this host.
"""

import importlib.util
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from extauthz.authorizer import TracedCheckFunction
from extauthz.config.values import Endpoint
from extauthz.doors.endpoints import DoorError, private_sockets, remove_stale, unlistenable
from extauthz.doors.grpc_shared import METHOD, GrpcDoorSettings, Status, parse_peer, trace_of
from extauthz.doors.native_health import CHECK_PATH, MOST_WATCHERS, WATCH_PATH, NativeHealth
from extauthz.doors.native_memory import MemoryGuard
from extauthz.logs import get_logger
from extauthz.wire.reflected import SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pygrpc_native import NativeGrpcFront
    from pygrpc_native._native import Event

    from extauthz.authorizer import Trace

_log: Final = get_logger(__name__)

_PACKAGE: Final = "pygrpc_native"
NOT_INSTALLED: Final = "`native` is not installed here: pip install 'extauthz[native]', or use `grpcio`"

# Threads that do HTTP/2, without the interpreter's lock. One keeps up with all that Python can answer.
IO_THREADS: Final = 1
# How long a client may leave a ping unanswered, and after how long without a word it gets one, in milliseconds.
PING_AFTER_MS: Final = 60_000
PING_ANSWER_MS: Final = 20_000
# How long the engine is waited for before it is looked whether the service ends.
_PAUSE_MS: Final = 50
# How long the last answers may take to leave before the connections are closed, in seconds.
_FLUSH_SECONDS: Final = 0.25

_CHECK, _HEALTH_CHECK, _HEALTH_WATCH = range(3)
_METHODS: Final = ((f"/{SERVICE}/{METHOD}", False), (CHECK_PATH, False), (WATCH_PATH, True))

_EVENT_CALL: Final = 0  # pygrpc_native.EVENT_CALL; the package is imported only where it is used


def is_installed() -> bool:
    """Tell whether the engine can be used."""
    return importlib.util.find_spec(_PACKAGE) is not None


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
            DoorError: An address cannot be listened on.
        """
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
        """Answer what has arrived, for at most `seconds`, refuse what comes then, and close.

        Calls whose message has not arrived are cut.
        """
        self.leave()
        end = time.monotonic() + seconds
        for front in self._fronts:
            front.take_no_more()
        answered = [front.wait_answered(end - time.monotonic()) for front in self._fronts]
        if all(answered):
            time.sleep(_FLUSH_SECONDS)
        self._close()

    def is_alive(self) -> bool:
        """Tell whether every listener is still served."""
        return all(front.is_alive() for front in self._fronts)

    def _bind(self, endpoint: Endpoint) -> "_Front":
        if endpoint.path:
            remove_stale(Path(endpoint.path))
        try:
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
        self._native = _listen(endpoint)
        self.endpoint: Final = endpoint if endpoint.path else endpoint._replace(port=self._native.bound_port)
        self._check: Final = check
        self._most_calls: Final = settings.most_calls
        self._most_bytes: Final = settings.most_message_bytes
        self._traced: Final = traced
        self._traces: dict[int, Trace | None] = {}  # of the calls that arrived together
        self._health: Final = NativeHealth(self._native)
        self._memory: Final = MemoryGuard()
        self._ending: Final = threading.Event()
        self._answered: Final = threading.Event()
        # Held while the engine is replaced or closed for good: what is closed is not opened again.
        self._lock: Final = threading.Lock()
        self._closed = False
        self._thread: Final = threading.Thread(target=self._serve, name="extauthz-native", daemon=True)

    def start(self) -> None:
        self._memory.settle()
        self._native.start()
        self._thread.start()

    def leave(self) -> None:
        self._health.leave()

    def take_no_more(self) -> None:
        """Refuse from now on what has not arrived yet."""
        self._ending.set()

    def wait_answered(self, seconds: float) -> bool:
        """Wait until everything is answered that had arrived when no more was taken; tell whether it is."""
        return self._answered.wait(max(0.0, seconds))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._native.close()
        if self._thread.ident is not None:
            self._thread.join()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _serve(self) -> None:
        # All that waits is taken at once, so that what is over the limit is refused at once and not in its turn.
        most = self._most_calls * 2 + MOST_WATCHERS
        try:
            while not self._closed:
                if self._memory.is_exceeded():
                    self._cut()
                ending = self._ending.is_set()
                events = self._receive(most)
                if events is None:
                    break
                if self._answered.is_set():
                    self._refuse(events)
                else:
                    self._answer(events)
                    if ending:
                        self._answered.set()
                del events  # messages of any size, not kept while the next are waited for
        except Exception:  # noqa: BLE001 - nothing is left that could tell it
            _log.exception("this listener of the gRPC door is closed: restart the service", grpc=str(self.endpoint))
        finally:
            # Whatever ended this thread: a caller is better refused than left without an answer.
            self._native.close()

    def _receive(self, most: int) -> "Sequence[Event] | None":
        """Wait a little for what arrives; None when the engine is closed."""
        if not self._traced:
            return self._native.recv_batch(most, _PAUSE_MS)
        events = self._native.recv_batch_details(most, _PAUSE_MS)
        if events is None:
            return None
        self._traces = {call_id: trace_of(details[0]) for _, call_id, *_, details in events if details is not None}
        return [event[:-1] for event in events]

    def _answer(self, events: "Sequence[Event]") -> None:
        """Answer what arrived together: first who asks for health, then who came first."""
        gone = set()
        for kind, call_id, method, message, _ in events:
            if kind != _EVENT_CALL:
                gone.add(call_id)
                self._health.forget(call_id)
            elif method != _CHECK:
                self._health.answer(call_id, message or b"", watch=method == _HEALTH_WATCH)
        left = self._most_calls
        for kind, call_id, method, message, peer in events:
            if kind != _EVENT_CALL or method != _CHECK or call_id in gone:
                continue
            left -= 1
            if left < 0:
                self._native.fail(call_id, Status.RESOURCE_EXHAUSTED, "more calls at once than server.maxConcurrent")
                continue
            if message is None or len(message) > self._most_bytes:
                self._native.fail(call_id, Status.RESOURCE_EXHAUSTED, "the message is larger than limits.messageBytes")
                continue
            try:
                trace = self._traces.get(call_id) if self._traced else None
                answer = self._check(message, parse_peer(peer), trace)
            except Exception:  # noqa: BLE001 - `check` never raises; what else does costs this call and not the door
                _log.exception("a call could not be answered")
                self._native.fail(call_id, Status.INTERNAL, "internal_error")
            else:
                self._native.respond(call_id, answer)

    def _refuse(self, events: "Sequence[Event]") -> None:
        for kind, call_id, *_ in events:
            if kind == _EVENT_CALL:
                self._native.fail(call_id, Status.UNAVAILABLE, "the service is stopping")

    def _cut(self) -> None:
        """Cut every connection, which lets go what the engine holds for them, and listen again at once.

        The engine takes messages whole, of 64 MiB, compressed ones too, and any number of them, before it tells.
        """
        _log.error(
            "connections are cut: a caller fills this process's memory with messages far beyond limits.messageBytes",
            grpc=str(self.endpoint),
        )
        self._native.close()
        while not self._reopen():
            time.sleep(_PAUSE_MS / 1000)
        self._memory.settle()

    def _reopen(self) -> bool:
        """Listen again; False if the address is not to be had now, so that it has to be tried again."""
        with self._lock:
            if self._closed:
                return True
            try:
                native = _listen(self.endpoint)
            except OSError:
                return False
            self._native = native
            self._health.follow(native)
            native.start()
        return True


def _listen(endpoint: Endpoint) -> "NativeGrpcFront":
    """Bind the engine to an address; raises OSError or ValueError."""
    from pygrpc_native import NativeGrpcFront  # noqa: PLC0415 - an extra, and not loaded where grpcio serves

    with private_sockets() if endpoint.path else nullcontext():
        return NativeGrpcFront(
            str(endpoint),
            _METHODS,
            io_threads=IO_THREADS,
            # Deadlines are kept, and of calls that ended it is told: they take nobody's place in a burst.
            call_details=True,
            keepalive_time_ms=PING_AFTER_MS,
            keepalive_timeout_ms=PING_ANSWER_MS,
        )
