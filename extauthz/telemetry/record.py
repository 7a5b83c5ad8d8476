"""One decision as it is handed from the door to those who look on. Nothing is read or computed here."""

from typing import Final

from extauthz.core.request import Request
from extauthz.recall import Decided

# What a request takes beside its texts, and each of its headers beside its bytes: objects of Python and of protobuf.
# Measured by tests/telemetry/test_telemetry.py. A character has four bytes at most.
_FIXED_BYTES: Final = 4096
_HEADER_BYTES: Final = 384
# What one more record takes of a decision that was made before: the path (shape.LONGEST_PATH_CHARACTERS), little else.
_AGAIN_BYTES: Final = 5120


class Record:
    """One decision and what it was about. The values are the client's: whoever writes them out escapes them.

    Attributes:
        time_ns: When it was answered, in nanoseconds since the epoch.
        id: The decision's id.
        path: What was asked for: path and query.
        decision_ns: How long deciding, signing and building the answer took, in nanoseconds.
        door_ns: How long it took from the bytes to the bytes, in nanoseconds.
        trace: The traceparent and tracestate of the proxy's own call, unread; None where it had none or none is wanted.
        decided: The rest: what was decided, of what request, by which policy.
    """

    __slots__ = ("decided", "decision_ns", "door_ns", "id", "path", "time_ns", "trace")

    def __init__(  # noqa: PLR0913, PLR0917 - by position, because a keyword costs time here
        self,
        time_ns: int,
        decision_id: str,
        path: str,
        decision_ns: int,
        door_ns: int,
        trace: tuple[str, str] | None,
        decided: Decided,
    ) -> None:
        self.time_ns: Final = time_ns
        self.id: Final = decision_id
        self.path: Final = path
        self.decision_ns: Final = decision_ns
        self.door_ns: Final = door_ns
        self.trace: Final = trace
        self.decided: Final = decided

    @property
    def request(self) -> Request:
        """What was asked."""
        first = self.decided.request
        return first if first.path == self.path else first._replace(path=self.path)

    @property
    def size(self) -> int:
        """The memory that the request holds, in bytes, at most: many small headers take more than their own bytes."""
        if self.decided.kept:
            return _AGAIN_BYTES
        _, gateway, source, method, host, path, headers, fault, principal = self.decided.request
        size = _FIXED_BYTES + 4 * (len(path) + len(host) + len(method) + len(source) + len(fault) + len(principal))
        if gateway is not None:
            size += 4 * len(gateway)
        if headers is not None:
            size += headers.size + len(headers.names) * _HEADER_BYTES
        if self.trace is not None:
            size += 4 * sum(map(len, self.trace))
        return size
