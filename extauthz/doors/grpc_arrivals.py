"""Check calls of the grpcio door without a thread each. The one place that knows grpcio's server from inside.

grpcio's server gives every call a thread, which sleeps until the message is there: four turns of the interpreter's lock
for an answer that takes microseconds. It does so behind a thread pool that a handler may bring (its attribute
`experimental_thread_pool`). `Arrivals` is such a pool: it asks for the message, and runs what the library wanted run
when the message has come, in the library's own thread.

What it must know for that is private to grpcio. `is_known` says whether the library is, to the letter, the one that is
known here; where it is not, the door takes the library's way, which is slower and promises the same.
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from grpc import _server as library
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs tell of no more than the public part

from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# ruff: noqa: SLF001 - what is private to the library is what this file is about

# The library's file of its server, in the versions that were read and tried: 1.85.
KNOWN: Final = frozenset({"cfefc717283c33d44f30204d8e54451a7d6cc796a47b9c431d6e5411c1f0cda6"})
_NO_FLAGS: Final = 0


def text_of_library() -> str:
    """Return the SHA-256 of the library's file of its server, as hexadecimal digits; "" where it cannot be read."""
    try:
        return hashlib.sha256(Path(library.__file__).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def is_known() -> bool:
    """Tell whether grpcio's server is one that was read and tried."""
    return text_of_library() in KNOWN


class Arrivals(ThreadPoolExecutor):
    """Takes unary calls from grpcio's server, and runs each when its message has arrived.

    A caller that opens a call and sends nothing holds no thread and nobody's turn, only its place among
    `maximum_concurrent_rpcs`, until it sends, resets, or is cut. What is run may not wait: it keeps all others.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        """Prepare to take calls.

        Args:
            threads: Runs what is no call, or one whose message cannot be asked for.
        """
        super().__init__(1)  # starts no thread: the library asks only that it be of this class
        self._others: Final = threads

    def submit(self, run: Any, answer: Any, /, *args: Any) -> Future[Any]:  # type: ignore[override]
        """Ask for the call's message; what comes of it happens in the library's thread.

        Args:
            run: Runs a function in the context of the call.
            answer: The library's `_unary_response_in_pool`: has the message given to it, calls the handler with it and
                sends the answer.
            args: What `answer` is called with.
        """
        if answer is not library._unary_response_in_pool:
            return self._others.submit(run, answer, *args)
        event, state, behavior, _wait_for_message, deserializer, serializer = args
        done: Future[Any] = Future()
        note = library._receive_message(state, event.call, deserializer)

        def message() -> Any:
            with state.condition:
                request, state.request = state.request, None
                if request is None and state.client is library._CLOSED:
                    library._abort(state, event.call, cygrpc.StatusCode.unimplemented, _NO_MESSAGE)
                return request

        def arrived(arrival: Any) -> Any:
            finished = note(arrival)
            try:
                run(answer, event, state, behavior, message, deserializer, serializer)
            except BaseException:  # noqa: BLE001 - it ends this call, and not the thread that serves all of them
                _log.exception("a call could not be answered")
                with suppress(Exception), state.condition:
                    library._abort(state, event.call, cygrpc.StatusCode.internal, _FAILED)
            finally:
                done.set_result(None)
            return finished

        # As the library's own threads do it, under the lock of the call.
        with state.condition:
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), arrived)
            state.due.add(library._RECEIVE_MESSAGE_TOKEN)
        return done


_NO_MESSAGE: Final = b"exactly one request message is wanted"
_FAILED: Final = b"internal_error"
