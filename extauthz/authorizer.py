"""From bytes to bytes: one line per request, under one immutable snapshot of what is in force.

Doors call this and nothing below it. It never raises and never lets anything through that it did not decide.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from extauthz.core.decide import decide, refuse_unreadable
from extauthz.core.decision import Allow
from extauthz.core.policy import Policy
from extauthz.core.request import Caller, Request
from extauthz.wire import envoy, forward_auth
from extauthz.wire.answer import Answer, AnswerBuilder, new_decision_id
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage

_log: Final = structlog.get_logger()


# What a gRPC door serves: a CheckRequest's bytes in, a CheckResponse's out.
CheckFunction = Callable[[bytes, Caller], bytes]


class Stamper(Protocol):
    """Signs what an allow says."""

    def stamp(  # noqa: PLR0913 - the claims of a stamp, by name
        self, *, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> str:
        """Return the signed stamp for one allowed request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is in force, immutable; a reload makes a new one and assigns it once.

    Attributes:
        policy: What decides.
        answers: What the answers look like.
        stamper: What signs; None where stamping is off.
    """

    policy: Policy
    answers: AnswerBuilder
    stamper: Stamper | None = None


class Authorizer:
    """Answers requests under the snapshot in force.

    Attributes:
        snapshot: What is in force. Read once a request, so that none mixes two.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def check(self, message: bytes, caller: Caller) -> bytes:
        """Answer a CheckRequest with a CheckResponse, both as bytes. Never raises."""
        decision_id = new_decision_id()
        snapshot = self.snapshot
        try:
            return envoy.encode(_answer_message(snapshot, message, caller), decision_id)
        except Exception:  # noqa: BLE001 - whatever it is, it is a denial and not an error that a proxy may pass
            _log_unforeseen(decision_id)
            return envoy.encode(snapshot.answers.internal_error(), decision_id)

    def forward(self, message: HttpMessage, caller: Caller) -> HttpAnswer:
        """Answer a proxy that asks over HTTP, in its dialect. Never raises."""
        decision_id = new_decision_id()
        snapshot = self.snapshot
        try:
            return forward_auth.encode(answer(snapshot, forward_auth.decode(message, caller)), decision_id)
        except Exception:  # noqa: BLE001 - as above
            _log_unforeseen(decision_id)
            return forward_auth.encode(snapshot.answers.internal_error(), decision_id)

    def refuse(self, caller: Caller) -> HttpAnswer:
        """Answer bytes that are no HTTP request, or one over a limit: a denial like any other. Never raises."""
        snapshot = self.snapshot
        refused = snapshot.answers.build(refuse_unreadable(snapshot.policy, caller))
        return forward_auth.encode(refused, new_decision_id())

    def admits(self, caller: Caller) -> bool:
        """Tell whether this caller may ask at all."""
        return self.snapshot.policy.callers.admit(caller)


def _log_unforeseen(decision_id: str) -> None:
    with suppress(Exception):  # a log that cannot be written is no reason to leave the caller without an answer
        _log.exception("a request could not be decided", decision=decision_id)


def _answer_message(snapshot: Snapshot, message: bytes, caller: Caller) -> Answer:
    try:
        request = envoy.decode(message, caller)
    except envoy.UnreadableError:
        return snapshot.answers.build(refuse_unreadable(snapshot.policy, caller))
    return answer(snapshot, request)


def answer(snapshot: Snapshot, request: Request) -> Answer:
    """Decide about one request and build its answer; what every door does between its two translations.

    Raises:
        AnswerError: A value of the answer cannot be sent.
    """
    decision = decide(snapshot.policy, request)
    stamp = None
    if isinstance(decision, Allow) and snapshot.stamper is not None:
        stamp = snapshot.stamper.stamp(
            gateway=decision.gateway.id,
            user=decision.user,
            peer=str(decision.peer),
            method=request.method,
            host=request.host,
            path=request.path,
        )
    return snapshot.answers.build(decision, stamp, request.headers)
