"""What is measured of a running service: every metric, and how its values are read from the view. Nothing is written.

Labels are gateways, doors, reasons, keys and versions: all of them are named by the configuration, none by a client.
What an alert looks for is there with 0 before it first happens, because `rate()` does not see a series begin. A
gateway that is no longer configured keeps what was counted for it, as every counter does until the process ends.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from extauthz import __version__
from extauthz.build import build
from extauthz.core import reasons
from extauthz.core.policy import Policy
from extauthz.telemetry.decision_log import DecisionLog
from extauthz.telemetry.metric import Metric, Point, Reading
from extauthz.telemetry.tally import Counted, Outcome
from extauthz.view import View
from extauthz.wire import envoy, forward_auth

if TYPE_CHECKING:
    from extauthz.assertion.sources import SourceStatus

DECISIONS: Final = Metric(
    name="extauthz_decisions_total",
    kind="counter",
    help="Decisions; result is allow, deny, or shadow: a denial that shadow mode did not enforce.",
    labels=("gateway", "result", "reason"),
)
DECISION_SECONDS: Final = Metric(
    name="extauthz_decision_duration_seconds",
    kind="histogram",
    help="Time to decide, to sign, and to build the answer.",
    labels=("door",),
)
DOOR_SECONDS: Final = Metric(
    name="extauthz_door_duration_seconds",
    kind="histogram",
    help="Time from the bytes of a request to the bytes of its answer.",
    labels=("door",),
)
CALLERS_REFUSED: Final = Metric(
    name="extauthz_callers_refused_total",
    kind="counter",
    help="Requests of callers that may not ask.",
    labels=("door",),
)
LIMITED: Final = Metric(
    name="extauthz_refusals_limited_total",
    kind="counter",
    help="Denials that told the client of too many, and not their reason; absent while they are not limited.",
    labels=("gateway",),
)
LIMITED_TRACKED: Final = Metric(
    name="extauthz_refusals_tracked",
    kind="gauge",
    help="Peers and users whose denials are counted; at limits.refusals.tracked each new one takes another's place.",
    labels=("kind",),
)
RELOADS: Final = Metric(
    name="extauthz_reloads_total",
    kind="counter",
    help="Configurations that were read again, by whether they took effect: success or failure.",
    labels=("result",),
)
RELOAD_SUCCESSFUL: Final = Metric(
    name="extauthz_config_last_reload_successful",
    kind="gauge",
    help="1 if the configuration that was read last is in force, 0 if it was refused.",
)
CONFIG_SINCE: Final = Metric(
    name="extauthz_config_last_reload_success_timestamp_seconds",
    kind="gauge",
    help="When the configuration in force took effect, in Unix seconds.",
)
RESTART_PENDING: Final = Metric(
    name="extauthz_config_restart_pending",
    kind="gauge",
    help="Keys of the configuration that take effect when the service is started again.",
)
CONFIG_INFO: Final = Metric(
    name="extauthz_config_info",
    kind="gauge",
    help="1; policy is the version of the policy in force, as the decision log has it.",
    labels=("policy",),
)
GATEWAYS: Final = Metric(name="extauthz_gateways", kind="gauge", help="Configured gateways.")
INCOMPLETE: Final = Metric(
    name="extauthz_incomplete_gateways",
    kind="gauge",
    help="Gateways that deny every request because their configuration is incomplete.",
)
SHADOWED: Final = Metric(
    name="extauthz_shadow_gateways", kind="gauge", help="Gateways in shadow mode, whose denials are not enforced."
)
KEY_AGE: Final = Metric(
    name="extauthz_stamp_key_age_seconds",
    kind="gauge",
    help="Time since a stamp key was made; state is next, active, previous or retired.",
    labels=("kid", "state"),
)
KEY_SIGNS_FROM: Final = Metric(
    name="extauthz_stamp_key_activation_timestamp_seconds",
    kind="gauge",
    help="When a stamp key begins, or began, to sign, in Unix seconds; state is next, active, previous or retired.",
    labels=("kid", "state"),
)
KEYS_READABLE: Final = Metric(
    name="extauthz_stamp_keys_readable",
    kind="gauge",
    help="1 if the directory of stamp keys could be read when it was last looked at; absent while stamping is off.",
)
SIGNED: Final = Metric(
    name="extauthz_stamps_signed_total",
    kind="counter",
    help="Stamps that were signed; an allow that has none of its own was given one again.",
)
ASSERTION_READS: Final = Metric(
    name="extauthz_assertion_key_reads_total",
    kind="counter",
    help="Reads of the keys that assertions are verified with, by their source and whether they failed.",
    labels=("source", "result"),
)
ASSERTION_KEYS: Final = Metric(
    name="extauthz_assertion_keys",
    kind="gauge",
    help="Keys of a source that assertions may be verified with now; while there are none, nobody is let in by it.",
    labels=("source",),
)
ASSERTION_AGE: Final = Metric(
    name="extauthz_assertion_keys_age_seconds",
    kind="gauge",
    help="Time since the keys of a source were last read well; absent while they never were.",
    labels=("source",),
)
VERIFIED: Final = Metric(
    name="extauthz_assertion_signatures_total",
    kind="counter",
    help="Signatures of assertions that were verified; of an assertion that comes again, it is remembered.",
)
ANSWERS: Final = Metric(
    name="extauthz_answer_cache_lookups_total",
    kind="counter",
    help="Answers that could be remembered, by whether one was found (hit) or had to be written (miss).",
    labels=("wire", "result"),
)
LOG_LINES: Final = Metric(
    name="extauthz_decision_log_lines_total",
    kind="counter",
    help=(
        "Lines of the decision log, by whether they were written, failed (what it is written to was too slow), or were "
        "withheld: one line tells of many denials over the limit."
    ),
    labels=("result",),
)
PEER_ADDRESSES: Final = Metric(
    name="extauthz_peer_name_addresses",
    kind="gauge",
    help="Addresses that a name in trustedProxies stands for; with 0 it trusts nobody.",
    labels=("name",),
)
PEER_CHANGES: Final = Metric(
    name="extauthz_peer_name_changes_total",
    kind="counter",
    help="Changes of whom a name in trustedProxies stands for; left is somebody, or nobody: it lapsed or is gone.",
    labels=("name", "left"),
)
PEER_LOOKUPS: Final = Metric(
    name="extauthz_peer_name_lookups_total",
    kind="counter",
    help="Questions about a name in trustedProxies; result is answered, absent, failed, or refused: not believed.",
    labels=("name", "result"),
)
PEER_ANSWERED: Final = Metric(
    name="extauthz_peer_name_answered_timestamp_seconds",
    kind="gauge",
    help="When addresses of a name in trustedProxies were last answered, in Unix seconds.",
    labels=("name",),
)
UNSEEN: Final = Metric(
    name="extauthz_decisions_unseen_total",
    kind="counter",
    help="Decisions that were counted and are in no log and no trace, because too many waited to be written.",
)
READY: Final = Metric(name="extauthz_ready", kind="gauge", help="1 if the service serves and does not go.")
BUILD_INFO: Final = Metric(
    name="extauthz_build_info",
    kind="gauge",
    help="1; version is that of extauthz, build is compiled or pure.",
    labels=("version", "build"),
)

# All of them, as docs/metrics.md has them.
METRICS: Final = (
    *(DECISIONS, CALLERS_REFUSED, LIMITED, LIMITED_TRACKED, DECISION_SECONDS, DOOR_SECONDS),
    *(RELOADS, RELOAD_SUCCESSFUL, CONFIG_SINCE, RESTART_PENDING, CONFIG_INFO, GATEWAYS, INCOMPLETE, SHADOWED),
    *(KEY_AGE, KEY_SIGNS_FROM, KEYS_READABLE, SIGNED),
    *(ASSERTION_READS, ASSERTION_KEYS, ASSERTION_AGE, VERIFIED),
    *(PEER_ADDRESSES, PEER_CHANGES, PEER_LOOKUPS, PEER_ANSWERED),
    *(ANSWERS, LOG_LINES, UNSEEN, READY, BUILD_INFO),
)

# Every door that a decision is counted under.
DOORS: Final = ("grpc", *forward_auth.DIALECTS, "http")
# What any request can be denied with before it reached a gateway.
_BEFORE_ANY_GATEWAY: Final = (
    reasons.CALLER_NOT_ALLOWED,
    reasons.GATEWAY_UNKNOWN,
    reasons.REQUEST_MALFORMED,
    reasons.INTERNAL_ERROR,
)


class Metrics:
    """Reads the metrics of a running service."""

    def __init__(self, view: View, *, clock: Callable[[], float] = time.time) -> None:
        """Take what is measured, and Unix seconds."""
        self._view: Final = view
        self._clock: Final = clock

    def measure(self) -> list[Reading]:
        """Read every metric, each once; what does not apply to this service has no values."""
        view = self._view
        counted, log = view.telemetry.tally.read(), view.decision_log
        return [
            *_decided(counted, view.snapshot().policy),
            *self._limited(counted),
            *self._configured(),
            *self._stamped(),
            *self._named(),
            *self._asserted(),
            Reading(ANSWERS, _answers()),
            Reading(LOG_LINES, _lines(log)),
            _one(UNSEEN, view.telemetry.dropped),
            _one(READY, view.ready()),
            _one(BUILD_INFO, 1, __version__, build()),
        ]

    def _limited(self, counted: Counted) -> Iterator[Reading]:
        snapshot = self._view.snapshot()
        awaited = {} if snapshot.refusals is None else dict.fromkeys(("", *snapshot.policy.gateways), 0)
        tracked = () if snapshot.refusals is None else zip(("peer", "user"), snapshot.refusals.tracked, strict=True)
        yield Reading(LIMITED, [Point((gateway,), count) for gateway, count in (awaited | counted.limited).items()])
        yield Reading(LIMITED_TRACKED, [Point((kind,), count) for kind, count in tracked])

    def _configured(self) -> Iterator[Reading]:
        snapshot, status = self._view.snapshot(), self._view.reloads()
        gateways = snapshot.policy.gateways.values()
        yield Reading(RELOADS, [Point(("success",), status.succeeded), Point(("failure",), status.failed)])
        yield _one(RELOAD_SUCCESSFUL, not status.faults)
        yield _one(CONFIG_SINCE, status.since)
        yield _one(RESTART_PENDING, len(status.waiting))
        yield _one(CONFIG_INFO, 1, snapshot.version)
        yield _one(GATEWAYS, len(gateways))
        yield _one(
            INCOMPLETE,
            sum(not (gateway.names_proxy and gateway.names_user) for gateway in gateways),
        )
        yield _one(SHADOWED, sum(gateway.shadow for gateway in gateways))

    def _stamped(self) -> Iterator[Reading]:
        keys, now = self._view.keys(), self._clock()
        states = keys.keys.states(now) if keys is not None else []
        yield Reading(KEY_AGE, [Point((key.kid, state), max(0.0, now - key.created_at)) for key, state in states])
        yield Reading(KEY_SIGNS_FROM, [Point((key.kid, state), key.activates_at) for key, state in states])
        yield Reading(KEYS_READABLE, [Point((), float(keys.fault is None))] if keys is not None else [])
        yield _one(SIGNED, self._view.signatures.total)

    def _asserted(self) -> Iterator[Reading]:
        assertions = self._view.assertions
        # Two sources may have one name: they differ in a query, which is not told, or in how long keys are kept.
        found: dict[str, list[SourceStatus]] = {}
        for status in assertions.statuses():
            found.setdefault(status.name, []).append(status)
        reads = [
            Point((name, result), sum(count))
            for name, same in found.items()
            for result, count in (
                ("success", [one.reads - one.failures for one in same]),
                ("failure", [one.failures for one in same]),
            )
        ]
        yield Reading(ASSERTION_READS, reads)
        yield Reading(ASSERTION_KEYS, [Point((name,), min(one.keys for one in same)) for name, same in found.items()])
        ages = {name: [one.age for one in same if one.age is not None] for name, same in found.items()}
        yield Reading(ASSERTION_AGE, [Point((name,), max(known)) for name, known in ages.items() if known])
        yield _one(VERIFIED, assertions.signatures.total)

    def _named(self) -> Iterator[Reading]:
        names = self._view.peers()
        yield Reading(PEER_ADDRESSES, [Point((one.name,), len(one.addresses)) for one in names])
        yield Reading(PEER_CHANGES, [Point((one.name, left), n) for one in names for left, n in one.changes.items()])
        yield Reading(PEER_LOOKUPS, [Point((one.name, how), n) for one in names for how, n in one.results.items()])
        yield Reading(PEER_ANSWERED, [Point((one.name,), one.answered) for one in names if one.answered is not None])


def _one(metric: Metric, value: float, *labels: str) -> Reading:
    return Reading(metric, [Point(labels, float(value))])


def _decided(counted: Counted, policy: Policy) -> Iterator[Reading]:
    decisions = dict.fromkeys(_awaited(policy), 0) | counted.decisions
    refused = dict.fromkeys(DOORS, 0) | counted.callers_refused
    yield Reading(DECISIONS, [Point(outcome, count) for outcome, count in decisions.items()])
    yield Reading(CALLERS_REFUSED, [Point((door,), count) for door, count in refused.items()])
    yield Reading(DECISION_SECONDS, [Point((door,), taken) for door, taken in counted.decision.items()])
    yield Reading(DOOR_SECONDS, [Point((door,), taken) for door, taken in counted.door.items()])


def _awaited(policy: Policy) -> Iterator[Outcome]:
    """Yield what has to be seen beginning: what alerts look for, and the share of which it is looked at."""
    for reason in _BEFORE_ANY_GATEWAY:
        yield Outcome("", "deny", reason.code)
    for gateway in policy.gateways.values():
        yield Outcome(gateway.id, "allow", "")
        yield Outcome(gateway.id, "shadow" if gateway.shadow else "deny", reasons.UNTRUSTED_SOURCE.code)


def _lines(log: DecisionLog) -> list[Point]:
    counts = {"written": log.written, "failed": log.failed, "withheld": log.withheld}
    return [Point((result,), count) for result, count in counts.items()]


def _answers() -> list[Point]:
    found = []
    for wire, kept in (("grpc", envoy.written_answers()), ("http", forward_auth.written_answers())):
        found += [Point((wire, "hit"), kept.hits), Point((wire, "miss"), kept.misses)]
    return found
