"""From bytes to bytes: one line per request, under one immutable snapshot of what is in force.

Doors call this and nothing below it. It never raises and never lets anything through that it did not decide.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns, time
from typing import Final, NamedTuple, Protocol

from extauthz.core import reasons
from extauthz.core.decide import decide, refuse_unreadable
from extauthz.core.decision import Allow, Deny
from extauthz.core.policy import Policy
from extauthz.core.request import Caller, Request
from extauthz.logs import get_logger
from extauthz.recall import Decided, Recall
from extauthz.refusals import RefusalLimiter
from extauthz.stamp.signer import Issued
from extauthz.wire import envoy, envoy_question, forward_auth, http_question
from extauthz.wire.answer import Answer, AnswerBuilder, new_decision_id, stamp_gap, with_stamp
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage

_log: Final = get_logger(__name__)


# What a gRPC door serves: a CheckRequest's bytes in, a CheckResponse's out.
CheckFunction = Callable[[bytes, Caller], bytes]


class Trace(NamedTuple):
    """The trace that the proxy's own call belongs to (W3C Trace Context), unread. Nothing is decided by it.

    Attributes:
        parent: The traceparent.
        state: The tracestate, "" without one.
    """

    parent: str
    state: str


# What writes an answer as the bytes around each place where the decision's id stands.
Parts = tuple[bytes, ...]
Write = Callable[[Answer], Parts]

# The same as CheckFunction, told of the call's trace too.
TracedCheckFunction = Callable[[bytes, Caller, Trace | None], bytes]


class Stamper(Protocol):
    """Signs what an allow says."""

    def issue(  # noqa: PLR0913, PLR0917 - the claims of a stamp
        self, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> Issued:
        """Return the signed stamp for one allowed request."""

    def is_good(self, issued: Issued, now: float) -> bool:
        """Tell whether a stamp may be handed out again at this time (Unix seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is in force, immutable; a reload makes a new one and assigns it once.

    Attributes:
        policy: What decides.
        answers: What the answers look like.
        stamper: What signs; None where stamping is off.
        refusals: What tells too many denials as such; None where they are not limited.
        version: Which configuration this was made of, for logs.
        recall: What was allowed under this policy.
    """

    policy: Policy
    answers: AnswerBuilder
    stamper: Stamper | None = None
    refusals: RefusalLimiter | None = None
    version: str = ""
    recall: Recall = field(init=False, default_factory=Recall)  # never another snapshot's, whatever this was made of


class Onlooker(Protocol):
    """Who is told of decisions, after the answer is made: telemetry."""

    def decided(  # noqa: PLR0913, PLR0917 - telemetry.record.Record, part by part
        self, decision_id: str, path: str, decision_ns: int, door_ns: int, trace: Trace | None, decided: Decided, /
    ) -> None:
        """Take note of one decision."""


class Authorizer:
    """Answers requests under the snapshot in force.

    Attributes:
        snapshot: What is in force. Read once a request, so that none mixes two.
    """

    def __init__(self, snapshot: Snapshot, onlooker: Onlooker | None = None, *, recalls: bool = True) -> None:
        """Begin with what is in force.

        Args:
            snapshot: What is in force.
            onlooker: Who is told.
            recalls: Whether an allow that is asked for again is told by what was read of the first question. Not where
                the onlooker reads headers that the rules do not.
        """
        self.snapshot = snapshot
        self._onlooker: Final = onlooker
        self._recalls: Final = recalls

    def use(self, snapshot: Snapshot) -> None:
        """Put another snapshot into force, between two requests."""
        # Held until the other is in its place: a compiled attribute lets go of what it had first, and if that ran any
        # code, another thread could read what is gone.
        replaced = self.snapshot
        self.snapshot = snapshot
        del replaced

    def check(self, message: bytes, caller: Caller, trace: Trace | None = None) -> bytes:
        """Answer a CheckRequest with a CheckResponse, both as bytes. Never raises."""
        began = perf_counter_ns()
        decision_id = new_decision_id()
        snapshot = self.snapshot
        request, path = _UNREAD, ""
        try:
            if self._recalls:
                asked = envoy_question.question(message, caller, snapshot.policy, snapshot.recall.shapes)
            else:
                asked = None
            read = perf_counter_ns()
            decided = snapshot.recall.get(asked) if asked is not None else None
            if decided is not None and asked is not None:
                path = asked.path
                parts = _parts(snapshot, decided, path, envoy.parts_of)
            else:
                try:
                    if asked is not None:
                        request = envoy_question.read(message, asked, caller)
                    else:
                        request = envoy.decode(message, caller)
                except envoy.UnreadableError:
                    request = _unreadable(caller)
                path = request.path
                read = perf_counter_ns()
                decided = _decide(snapshot, GRPC_DOOR, request)
                if isinstance(decided.decision, Allow):
                    kept = snapshot.recall.keep(asked, decided) if asked is not None else decided
                    parts = _parts(snapshot, kept, path, envoy.parts_of)
                else:
                    parts = envoy.parts_of(snapshot.answers.build(decided.decision, None, request.headers))
            answered = perf_counter_ns()
            response = decision_id.encode().join(parts)
        except Exception:  # noqa: BLE001 - whatever it is, it is a denial and not an error that a proxy may pass
            _log_unforeseen(decision_id)
            read = answered = began
            request = _read_late(request, partial(envoy.decode, message, caller))
            path = request.path
            decided = _unforeseen(snapshot, GRPC_DOOR, request)
            response = envoy.encode(snapshot.answers.internal_error(), decision_id)
        if self._onlooker is not None:
            self._tell(decision_id, path, answered - read, perf_counter_ns() - began, trace, decided)
        return response

    def forward(self, message: HttpMessage, caller: Caller) -> HttpAnswer:
        """Answer a proxy that asks over HTTP, in its dialect. Never raises."""
        began = perf_counter_ns()
        decision_id = new_decision_id()
        snapshot = self.snapshot
        dialect = forward_auth.dialect_of(message.target)
        door = dialect or UNNAMED_DOOR
        request, path = _UNREAD, ""
        try:
            recall = snapshot.recall
            asked = http_question.question(message, caller, snapshot.policy, recall.shapes) if self._recalls else None
            read = perf_counter_ns()
            decided = recall.get(asked) if asked is not None else None
            if decided is not None and asked is not None:
                path = asked.path
                lines = _parts(snapshot, decided, path, forward_auth.lines_of)
                answered = perf_counter_ns()
                response = forward_auth.passed(lines, decision_id)
            else:
                request = forward_auth.decode(message, caller)
                path = request.path
                read = perf_counter_ns()
                decided = _decide(snapshot, door, request)
                if isinstance(decided.decision, Allow):
                    kept = recall.keep(asked, decided) if asked is not None else decided
                    lines = _parts(snapshot, kept, path, forward_auth.lines_of)
                    answered = perf_counter_ns()
                    response = forward_auth.passed(lines, decision_id)
                else:
                    built = snapshot.answers.build(decided.decision, None, request.headers)
                    answered = perf_counter_ns()
                    response = forward_auth.encode(built, decision_id, dialect)
        except Exception:  # noqa: BLE001 - as above
            _log_unforeseen(decision_id)
            read = answered = began
            request = _read_late(request, partial(forward_auth.decode, message, caller))
            path = request.path
            decided = _unforeseen(snapshot, door, request)
            response = forward_auth.encode(snapshot.answers.internal_error(), decision_id)
        if self._onlooker is not None:
            self._tell(decision_id, path, answered - read, perf_counter_ns() - began, None, decided)
        return response

    def refuse(self, caller: Caller) -> HttpAnswer:
        """Answer bytes that are no HTTP request, or one over a limit: a denial like any other. Never raises."""
        began = perf_counter_ns()
        decision_id = new_decision_id()
        snapshot = self.snapshot
        try:
            decided = _decide(snapshot, UNNAMED_DOOR, _unreadable(caller))
            response = forward_auth.encode(snapshot.answers.build(decided.decision), decision_id)
        except Exception:  # noqa: BLE001 - as above
            _log_unforeseen(decision_id)
            decided = _unforeseen(snapshot, UNNAMED_DOOR, _unreadable(caller))
            response = forward_auth.encode(snapshot.answers.internal_error(), decision_id)
        if self._onlooker is not None:
            taken = perf_counter_ns() - began
            self._tell(decision_id, "", taken, taken, None, decided)
        return response

    def _tell(  # noqa: PLR0913, PLR0917 - by position, because a keyword costs time here
        self, decision_id: str, path: str, decision_ns: int, door_ns: int, trace: Trace | None, decided: Decided
    ) -> None:
        onlooker = self._onlooker
        if onlooker is None:
            return
        try:
            onlooker.decided(decision_id, path, decision_ns, door_ns, trace, decided)
        except Exception:  # noqa: BLE001 - the answer is made, and whoever looks on does not change it
            _log_unforeseen(decision_id)

    def admits(self, caller: Caller) -> bool:
        """Tell whether this caller may ask at all."""
        return self.snapshot.policy.callers.admit(caller)


def _log_unforeseen(decision_id: str) -> None:
    with suppress(Exception):  # a log that cannot be written is no reason to leave the caller without an answer
        _log.exception("a request could not be decided", decision=decision_id)


# The doors as they are told of, beside the forward-auth dialects; the second is that of what named none.
GRPC_DOOR: Final = "grpc"
UNNAMED_DOOR: Final = "http"

# The fault of a request that stands for bytes which are none.
UNREADABLE: Final = "the bytes are no request"
# What stands for a request of which nothing could be read.
_UNREAD: Final = Request(Caller(None), None, "", "", "", "", None, "nothing could be read")
_UNFORESEEN: Final = Deny(reason=reasons.INTERNAL_ERROR, step="none")


def _unreadable(caller: Caller) -> Request:
    return Request(caller, None, "", "", "", "", None, UNREADABLE)


def _read_late(request: Request, read: Callable[[], Request]) -> Request:
    """Return what was asked, where something failed before it was read: who asked first is not who asks."""
    if request is _UNREAD:
        with suppress(Exception):  # what cannot be read is told as such
            return read()
    return request


def _unforeseen(snapshot: Snapshot, door: str, request: Request) -> Decided:
    return Decided(door, snapshot.version, snapshot.policy, request, _UNFORESEEN)


def _decide(snapshot: Snapshot, door: str, request: Request) -> Decided:
    """Decide about a request that is not recalled."""
    policy = snapshot.policy
    unreadable = request.fault is UNREADABLE
    decision = refuse_unreadable(policy, request.caller) if unreadable else decide(policy, request)
    if snapshot.refusals is not None and isinstance(decision, Deny):
        decision = snapshot.refusals.weigh(request, decision)
    return Decided(door, snapshot.version, policy, request, decision)


def _parts(snapshot: Snapshot, allowed: Decided, path: str, write: Write) -> Parts:
    """Return the written answer of an allow, around the places of the decision's id.

    Raises:
        AnswerError: A value of the answer cannot be sent.
    """
    stamper = snapshot.stamper
    if allowed.answer is not None:
        issued, parts = allowed.answer
        if stamper is None or (issued is not None and stamper.is_good(issued, time())):
            return parts
    decision, request = allowed.decision, allowed.request
    if not isinstance(decision, Allow):
        raise TypeError("only an allow is stamped")
    if stamper is None:
        parts = write(snapshot.answers.build(decision))
        allowed.answer = (None, parts)
        return parts
    issued = stamper.issue(decision.gateway.id, decision.user, str(decision.peer), request.method, request.host, path)
    if issued.any_path and issued.until > issued.since:
        parts = write(snapshot.answers.build(decision, issued.text))
        allowed.answer = (issued, parts)
        return parts
    # A stamp for this request alone: all around it is the same in every answer to this user.
    around = snapshot.answers.build(decision, stamp_gap(len(issued.text)))
    return with_stamp(write(around), issued.text)
