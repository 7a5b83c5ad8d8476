"""One decision as it is handed from the door to those who look on. Nothing is read or computed here."""

from typing import Final, NamedTuple

from extauthz.core.decision import Decision
from extauthz.core.policy import Policy
from extauthz.core.request import Request
from extauthz.recall import Told

# What a request takes beside its texts, and each of its headers beside its bytes: objects of Python and of protobuf.
# Measured by tests/telemetry/test_telemetry.py. A character has four bytes at most.
_FIXED_BYTES: Final = 4096
_HEADER_BYTES: Final = 384
# What one more record takes of a decision that was made before: the path is short (recall.LONGEST_PATH_CHARACTERS).
_AGAIN_BYTES: Final = 2048


class Record(NamedTuple):
    """One decision and what it was about. The values are the client's: whoever writes them out escapes them.

    Attributes:
        time_ns: When it was answered, in nanoseconds since the epoch.
        id: The decision's id.
        door: The door it came through: grpc, or a forward-auth dialect; "http" for what named no dialect.
        version: The version of the policy that decided.
        policy: The policy that decided.
        request: What was asked.
        decision: What was decided.
        decision_ns: How long deciding, signing and building the answer took, in nanoseconds.
        door_ns: How long it took from the bytes to the bytes, in nanoseconds.
        trace: The traceparent and tracestate of the proxy's own call, unread; None where it had none or none is wanted.
        again: What many records have in common, where the decision was made before; None where this one was made anew.
    """

    time_ns: int
    id: str
    door: str
    version: str
    policy: Policy
    request: Request
    decision: Decision
    decision_ns: int
    door_ns: int
    trace: tuple[str, str] | None = None
    again: Told | None = None

    @property
    def size(self) -> int:
        """The memory that the request holds, in bytes, at most: many small headers take more than their own bytes."""
        if self.again is not None:
            return _AGAIN_BYTES
        _, gateway, source, method, host, path, headers, fault, principal = self.request
        size = _FIXED_BYTES + 4 * (len(path) + len(host) + len(method) + len(source) + len(fault) + len(principal))
        if gateway is not None:
            size += 4 * len(gateway)
        if headers is not None:
            size += headers.size + len(headers.names) * _HEADER_BYTES
        if self.trace is not None:
            size += 4 * sum(map(len, self.trace))
        return size
