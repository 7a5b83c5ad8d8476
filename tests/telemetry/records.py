"""Decisions as they are handed to those who look on, made by hand where no authorizer is in the way."""

from typing import Any, Final

from extauthz.core.decide import decide
from extauthz.core.decision import Decision
from extauthz.core.policy import Policy
from extauthz.core.request import Request
from extauthz.recall import Decided
from extauthz.telemetry.record import Record

TIME_NS: Final = 1_795_367_154_123_456_789
VERSION: Final = "0123456789ab"


def record_of(
    policy: Policy,
    request: Request,
    decision: Decision | None = None,
    *,
    time_ns: int = TIME_NS,
    decision_id: str = "0" * 20,
    door: str = "grpc",
    version: str = VERSION,
    decision_ns: int = 4_000,
    door_ns: int = 25_000,
    trace: tuple[str, str] | None = None,
) -> Record:
    """Return the record of a request's decision; the policy's own, where none is given."""
    made = decide(policy, request) if decision is None else decision
    decided = Decided(door, version, policy, request, made)
    return Record(time_ns, decision_id, request.path, decision_ns, door_ns, trace, decided)


def changed(record: Record, **parts: Any) -> Record:
    """Return the record with other parts of its own (`id`, times), or of its decision (`request`, `decision`)."""
    decided = record.decided
    if parts.keys() & {"request", "decision"}:
        request, decision = parts.pop("request", decided.request), parts.pop("decision", decided.decision)
        decided = Decided(decided.door, decided.version, decided.policy, request, decision, kept=decided.kept)
    own = {name: parts.pop(name, getattr(record, name)) for name in ("time_ns", "id", "decision_ns", "door_ns")}
    assert not parts
    return Record(own["time_ns"], own["id"], record.path, own["decision_ns"], own["door_ns"], record.trace, decided)
