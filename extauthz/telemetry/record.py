"""One decision as it is handed from the door to those who look on. Nothing is read or computed here."""

from typing import NamedTuple

from extauthz.core.decision import Decision
from extauthz.core.policy import Policy
from extauthz.core.request import Request


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

    @property
    def size(self) -> int:
        """The bytes that the request holds, at most."""
        request = self.request
        return len(request.path) + len(request.host) + (request.headers.size if request.headers is not None else 0)
