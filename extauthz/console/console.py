"""What the page asks for, as data: one function per name, each bounded, none that changes or logs anything."""

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from extauthz.config.load import Loaded
from extauthz.console.files import read_files
from extauthz.console.policies import detail, summary
from extauthz.core.reasons import REASONS
from extauthz.doors.admin import StaticFile, Told
from extauthz.peers import PeerStatus
from extauthz.telemetry.recent import MOST_GIVEN, Filter, Recent
from extauthz.view import View

if TYPE_CHECKING:
    from extauthz.assertion.sources import SourceStatus

if TYPE_CHECKING:
    from extauthz.audit.finding import Finding

# Gateways on one page of their list.
GATEWAYS_A_PAGE: Final = 50
# Findings, faults and notes that are shown; of more, the number is told.
MOST_FINDINGS: Final = 200
# Of the ranked lists.
MOST_RANKED: Final = 10
# How long an audit's result is shown before it is made again: it reads the key files.
AUDIT_SECONDS: Final = 30.0
# The largest number that a page can hold exactly (JavaScript's Number.MAX_SAFE_INTEGER).
LARGEST_NUMBER: Final = 2**53 - 1

Query = Mapping[str, str]


class Console:
    """Answers the page. Called by one thread.

    Attributes:
        files: The page's files, by path.
        posted: What is asked for by POST: a request to explain may hold what belongs into no URL.
    """

    def __init__(self, view: View, recent: Recent, *, clock: Callable[[], float] = time.time) -> None:
        self.files: Final[Mapping[bytes, StaticFile]] = read_files()
        self.posted: Final = frozenset({"explain"})
        self._view: Final = view
        self._recent: Final = recent
        self._clock: Final = clock
        self._audited: tuple[Loaded, float, list[Finding]] | None = None
        self._tellers: Final[dict[str, Callable[[Query], Any]]] = {
            "status": self._status,
            "decisions": self._decisions,
            "counts": self._counts,
            "reasons": self._reasons,
            "top": self._top,
            "gateways": self._gateways,
            "findings": self._findings,
            "keys": self._keys,
        }

    def tell(self, name: str, query: Query, body: bytes) -> Told | None:
        """Return the data with this name; None if there is none."""
        if name == "explain":
            return self._explain(body)
        head, slash, gateway = name.partition("/")
        try:
            if slash and head == "gateways":
                return self._gateway(gateway)
            teller = self._tellers.get(name)
            return Told(200, teller(query)) if teller is not None else None
        except _QueryError as error:
            return Told(400, {"error": "query_malformed", "do": str(error)})

    def _status(self, _query: Query) -> Any:
        view, status = self._view, self._view.reloads()
        loaded, keys = status.loaded, view.keys()
        return {
            "now": self._clock(),
            "started": view.started,
            "ready": view.ready(),
            "policy": view.snapshot().version,
            "gateways": len(view.snapshot().policy.gateways),
            "folder": str(loaded.folder.resolve()),
            "listen": loaded.settings.listen.model_dump(by_alias=True),
            "stamps": keys is not None,
            "decisions": view.telemetry.tally.total,
            "unseen": view.telemetry.dropped,
            "names": [_name(one) for one in view.peers()],
            "assertionKeys": [_source(one) for one in view.assertions.statuses()],
            "reload": {
                "since": status.since,
                "attempted": status.attempted,
                "succeeded": status.succeeded,
                "failed": status.failed,
                "faults": _bounded(list(status.faults)),
                "waiting": list(status.waiting),
            },
            "incomplete": _bounded([str(fault) for fault in loaded.incomplete]),
            "notices": _bounded([str(fault) for fault in loaded.notices]),
        }

    def _decisions(self, query: Query) -> Any:
        wanted = Filter(query.get("gateway") or None, query.get("result") or None, query.get("reason") or None)
        most = min(_number(query, "most", MOST_GIVEN), MOST_GIVEN)
        given = self._recent.after(_number(query, "after"), wanted, most)
        return {
            "started": self._view.started,
            "last": given.last,
            "missed": given.missed,
            "decisions": [{"seq": number, **line} for number, line in given.decisions],
        }

    def _counts(self, _query: Query) -> Any:
        now = self._clock()
        counted = self._view.telemetry.tally.read().decisions
        totals = {"allow": 0, "deny": 0, "shadow": 0}
        reasons: dict[str, int] = {}
        for outcome, count in counted.items():
            totals[outcome.result] += count
            if outcome.reason:
                reasons[outcome.reason] = reasons.get(outcome.reason, 0) + count
        ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        history = self._recent.history
        return {
            "now": now,
            "started": self._view.started,
            "totals": totals,
            "seconds": history.seconds(now),
            "minutes": history.minutes(now),
            "reasons": [{"reason": reason, "count": count} for reason, count in ranked[:MOST_RANKED]],
        }

    @staticmethod
    def _reasons(_query: Query) -> Any:
        return [
            {"code": reason.code, "openEnded": reason.open_ended, "meaning": reason.meaning, "cure": reason.cure}
            for reason in REASONS.values()
        ]

    def _top(self, _query: Query) -> Any:
        return {
            name: {
                "since": found.since,
                "top": [{"text": one.text, "count": one.count, "over": one.over} for one in found.top(MOST_RANKED)],
            }
            for name, found in (("peers", self._recent.denied_peers), ("users", self._recent.denied_users))
        }

    def _gateways(self, query: Query) -> Any:
        wanted, offset = query.get("q", "").strip().lower(), _number(query, "offset")
        policy = self._view.snapshot().policy
        found = [
            gateway
            for gateway in policy.gateways.values()
            if wanted in gateway.id or any(wanted in host.lower() for host in gateway.hosts)
        ]
        page = found[offset : offset + GATEWAYS_A_PAGE]
        counts: dict[str, dict[str, int]] = {gateway.id: {"allow": 0, "deny": 0, "shadow": 0} for gateway in page}
        for outcome, count in self._view.telemetry.tally.read().decisions.items():
            if outcome.gateway in counts:
                counts[outcome.gateway][outcome.result] += count
        incomplete = _incomplete(self._view.reloads().loaded)
        return {
            "all": len(policy.gateways),
            "found": len(found),
            "offset": offset,
            "page": GATEWAYS_A_PAGE,
            "gateways": [
                {**summary(gateway), "counts": counts[gateway.id], "incomplete": bool(incomplete.get(gateway.id))}
                for gateway in page
            ],
        }

    def _gateway(self, name: str) -> Told:
        snapshot = self._view.snapshot()
        gateway = snapshot.policy.gateways.get(name)
        if gateway is None:
            return Told(404, {"error": "gateway_unknown", "do": "it may have been removed: look at the list again"})
        status = self._view.reloads()
        told = {
            "policy": snapshot.version,
            "since": status.since,
            **detail(snapshot.policy, gateway),
            "incomplete": _incomplete(status.loaded).get(name, []),
            "findings": [finding.as_json() for finding in self._audit() if finding.gateway == name][:MOST_FINDINGS],
        }
        return Told(200, told)

    def _findings(self, _query: Query) -> Any:
        found = self._audit()
        open_ones = [finding for finding in found if finding.accepted is None]
        counts: dict[str, int] = {}
        for finding in open_ones:
            counts[finding.severity.value] = counts.get(finding.severity.value, 0) + 1
        return {
            "total": len(found),
            "open": counts,
            "accepted": len(found) - len(open_ones),
            "findings": [finding.as_json() for finding in found[:MOST_FINDINGS]],
        }

    def _keys(self, _query: Query) -> Any:
        keys, now = self._view.keys(), self._clock()
        if keys is None:
            return {"now": now, "stamps": False}
        found = keys.keys
        change = found.next_change(now)
        return {
            "now": now,
            "stamps": True,
            "folder": str(keys.path.absolute()),
            "fault": keys.fault,
            "warnings": _bounded(keys.warnings()),
            "nextChange": change if change <= LARGEST_NUMBER else None,
            "withdrawal": found.schedule.withdrawal,
            "keys": [
                {
                    "kid": key.kid,
                    "algorithm": key.algorithm,
                    "state": state,
                    "file": key.file,
                    "created": key.created_at,
                    "activates": key.activates_at,
                }
                for key, state in reversed(found.states(now))
            ],
        }

    def _explain(self, body: bytes) -> Told:
        try:
            line = json.loads(body)
        except (ValueError, RecursionError):
            return Told(400, {"error": "request_malformed", "do": "send one request as a JSON object"})
        if not isinstance(line, dict):
            return Told(400, {"error": "request_malformed", "do": "send one request as a JSON object"})
        from extauthz.explaining import explain_request  # noqa: PLC0415 - only when it is asked for

        try:
            return Told(200, explain_request(self._view.snapshot().policy, line))
        except (ValueError, RecursionError) as error:
            return Told(400, {"error": "request_malformed", "do": str(error)})

    def _audit(self) -> "list[Finding]":
        loaded, now = self._view.reloads().loaded, self._clock()
        made = self._audited
        if made is None or made[0] is not loaded or now - made[1] > AUDIT_SECONDS:
            from extauthz.audit.run import audit  # noqa: PLC0415 - only when it is asked for

            made = self._audited = (loaded, now, audit(loaded, now=now))
        return made[2]


def _name(status: PeerStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "addresses": list(map(str, status.addresses)),
        "answered": status.answered,
        # Only where it matters: a page that says something else each second would be drawn anew each time.
        "lapses": round(status.lapses) if status.lapses is not None and status.fault else None,
        "fault": status.fault,
        "changes": sum(status.changes.values()),
    }


def _source(status: "SourceStatus") -> dict[str, Any]:
    return {
        "source": status.name,
        "keys": status.keys,
        "usable": status.usable,
        "read": status.reads > status.failures,
        "fault": status.fault,
        # Only where it matters, as above.
        "age": round(status.age) if status.age is not None and status.fault else None,
    }


class _QueryError(Exception):
    """A field of the query cannot be read."""


def _number(query: Query, name: str, default: int = 0) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LARGEST_NUMBER)):
        raise _QueryError(f"{name} must be a whole number")
    return int(text)


def _bounded(texts: list[str]) -> dict[str, Any]:
    return {"shown": texts[:MOST_FINDINGS], "total": len(texts)}


def _incomplete(loaded: Loaded) -> dict[str, list[str]]:
    """Return what is incomplete, by gateway."""
    found: dict[str, list[str]] = {}
    for fault in loaded.incomplete:
        found.setdefault(fault.path.split(".")[1], []).append(str(fault))
    return found
