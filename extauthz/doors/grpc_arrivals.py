"""Check calls of the grpcio door without a thread each. The one place that knows grpcio's server from inside.

grpcio's server gives every call a thread, which sleeps until the message is there: four turns of the interpreter's lock
for an answer that takes microseconds. It does so behind a thread pool that a handler may bring (its attribute
`experimental_thread_pool`). `Arrivals` is such a pool: it asks for the message, and runs what the library wanted run
when the message has come, in the library's own thread.

What it must know for that is private to grpcio. `is_known` says whether the library is still the one that is known
here; where it is not, the door takes the library's way, which is slower and promises the same.
"""

import inspect
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from grpc import _server as library
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs tell of no more than the public part

# ruff: noqa: SLF001 - what is private to the library is what this file is about

_KNOWN: Final = {
    "_unary_response_in_pool": (
        *("rpc_event", "state", "behavior", "argument_thunk", "request_deserializer", "response_serializer"),
    ),
    "_receive_message": ("state", "call", "request_deserializer"),
    "_abort": ("state", "call", "code", "details"),
    "_select_thread_pool_for_behavior": ("behavior", "default_thread_pool"),
}
_NO_FLAGS: Final = 0


def is_known() -> bool:
    """Tell whether grpcio's server has what is used here, in the form that is used."""
    try:
        return all(tuple(inspect.signature(getattr(library, name)).parameters) == form for name, form in _KNOWN.items())
    except (AttributeError, TypeError, ValueError):
        return False


class Arrivals(ThreadPoolExecutor):
    """Takes unary calls from grpcio's server, and runs each when its message has arrived.

    A caller that opens a call and sends nothing holds no thread and nobody's turn, only its place among
    `maximum_concurrent_rpcs`, until it sends, resets, or is cut. What is run may not wait: it keeps all others.
    """

    def __init__(self) -> None:
        super().__init__(1)  # starts no thread: the library asks only that it be of this class

    def submit(self, run: Any, answer: Any, /, *args: Any) -> Future[Any]:  # type: ignore[override]
        """Ask for the call's message; what comes of it happens in the library's thread.

        Args:
            run: Runs a function in the context of the call.
            answer: The library's `_unary_response_in_pool`: has the message given to it, calls the handler with it and
                sends the answer. It raises nothing.
            args: What `answer` is called with.
        """
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
            run(answer, event, state, behavior, message, deserializer, serializer)
            done.set_result(None)
            return finished

        # As the library's own threads do it, under the lock of the call.
        with state.condition:
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), arrived)
            state.due.add(library._RECEIVE_MESSAGE_TOKEN)
        return done


_NO_MESSAGE: Final = b"exactly one request message is wanted"
