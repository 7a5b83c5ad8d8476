"""Lines of Envoy's access log (docs/envoy.md, "The access log"): who refused a request, why, and would it again.

The line has no headers. What it does not hold is not guessed: it is said that it cannot be told.
"""

import re
from typing import Any, Final, Literal, NamedTuple, TypedDict

from extauthz.core import admission, reasons, steps
from extauthz.core.explain import explain
from extauthz.core.policy import Gateway, Policy
from extauthz.core.reasons import REASONS, Reason
from extauthz.core.request import Headers, Request
from extauthz.core.rulesets import ADMISSION, COMPLETION, GATEWAY_ADMISSION, RULESETS
from extauthz.core.text import trim
from extauthz.explaining.lines import Line
from extauthz.explaining.requests import read_caller, told

By = Literal[
    "nobody", "extauthz", "nobody (shadow mode)", "Envoy, without extauthz", "Envoy", "the Gateway", "the client"
]
"""Who ended a request."""
Now = Literal["denied", "passes", "untold"]
"""What the present file makes of what the line holds: denied all the same; the step that failed passes; or neither."""


class Incident(TypedDict):
    """What a line tells, and what to do about it."""

    line: int
    time: str | None
    method: str | None
    host: str | None
    path: str | None
    status: int
    flags: str | None
    details: str | None
    peer: str | None
    by: By
    decision: str | None
    gateway: str | None
    reason: str | None
    user: str | None
    meaning: str
    cure: str
    now: Now | None
    hint: str


class _Said(NamedTuple):
    by: By
    meaning: str
    cure: str


_NO_ANSWER: Final = _Said(
    "Envoy, without extauthz",
    "Envoy asked extauthz and got no answer: it is down, too slow, or was asked more at once than it takes.",
    "Is a process of extauthz up (`curl -i http://ADMIN/readyz`), and do Envoy's endpoints name its `listen.grpc`? "
    "Envoy's `cluster.extauthz.membership_healthy` counts those that it reaches. Nobody gets in meanwhile.",
)
_BAD_ANSWER: Final = _Said(
    "Envoy, without extauthz",
    "extauthz answered, and Envoy may not apply the answer: it sets a header that Envoy's configuration does not "
    "allow, or the request was so full that the stamps found no room.",
    "Write Envoy's configuration anew from the present file (`extauthz proxy-config envoy`): `headers` or a "
    "`userHeader` may have changed.",
)
_DENIED_UNTOLD: Final = _Said(
    "extauthz",
    "extauthz refused it, and the line does not say why: over HTTP `denial.reason: false` hides it from Envoy too.",
    "Look the decision's id up in extauthz's own log.",
)
_GATEWAY_REFUSED: Final = _Said(
    "the Gateway",
    "extauthz allowed it, and the Gateway refused it.",
    "Look at the Gateway's log. Does it trust this Envoy, and does it verify the stamp with the keys of this extauthz "
    "(`extauthz verify`)?",
)
_GATEWAY_DOWN: Final = _Said(
    "Envoy",
    "The Gateway did not answer Envoy: it is down, or closed the connection.",
    "Is the Gateway up, and is it where the route's cluster says?",
)
_CLIENT_LEFT: Final = _Said("the client", "The client closed the connection before it was answered.", "Nothing to do.")

# What Envoy says in `details` when it refuses by itself, by how that begins.
_ENVOYS_OWN: Final = {
    "route_not_found": (
        "No route has this host, or it is no host at all.",
        "Compare the host with the domains of Envoy's routes, which are written from the gateways' `hosts`.",
    ),
    "upgrade_failed": (
        "An upgrade that the route does not want: only WebSockets may pass, and only where they are switched on.",
        "If WebSockets are wanted, leave `websocket` on for this route.",
    ),
    "path_normalization_failed": (
        "The path cannot be normalised, or has %2F or %5C in it.",
        "If your clients need it: `extauthz proxy-config envoy --escaped-slashes redirect` or `keep`.",
    ),
    "": (
        "Envoy refused the request by itself, before extauthz was asked.",
        "The details name the rule; docs/envoy.md has a table of them.",
    ),
}
# Envoy's response flags for a Gateway that cannot be reached or breaks off.
_UPSTREAM_FLAGS: Final = frozenset({"UH", "UF", "UC", "UT", "UR", "LR", "URX", "UO", "UPE", "NC"})

_ROUTE: Final = re.compile(r"gateway_[0-9]+_(?P<id>[a-z0-9-]{1,63})", re.ASCII)

# Envoy appends this peer, and no other, under the address of the host itself.
_APPENDED_OTHERWISE: Final = "127.0.0.1"

_EVERY_STEP: Final = (
    *ADMISSION,
    *GATEWAY_ADMISSION,
    *(step for ruleset in RULESETS.values() for step in ruleset.steps),
    *COMPLETION,
)
# What these steps look at is in the line or in the file.
_ALWAYS_TOLD: Final = frozenset(
    step.name
    for step in (
        admission.GATEWAY,
        steps.CONFIGURED,
        steps.PROXIES,
        steps.TRUSTED,
        steps.LOOPBACK,
        steps.LOCAL_INTERFACE,
    )
)
_ASK_MORE: Final = (
    "The line has no headers: a captured request (--check-request) or the decision log (--replay) can tell."
)


class NoAccessLogError(ValueError):
    """The line is none of Envoy's access log in the documented format; the text says what is missing."""


def explain_access(policy: Policy, read: Line) -> Incident:
    """Explain one line of the access log.

    Args:
        policy: The policy in force.
        read: The line.

    Raises:
        NoAccessLogError: It cannot be read, has no `authz`, or a value of another type than Envoy writes.
    """
    line = read.data
    if line is None:
        raise NoAccessLogError(read.fault)
    authz = line.get("authz")
    if not isinstance(authz, dict):
        raise NoAccessLogError("has no `authz`: is Envoy's log written in the format of docs/envoy.md?")
    status = line.get("status")
    if status is not None and not isinstance(status, int):
        raise NoAccessLogError("`status` must be a number")
    reason = _text(authz, "reason")
    said = _who(status or 0, _text(line, "details") or "", _text(line, "flags") or "", authz, reason)
    incident = Incident(
        line=read.number,
        time=_text(line, "time"),
        method=_text(line, "method"),
        host=_text(line, "host"),
        path=_without_query(_text(line, "path")),
        status=status or 0,
        flags=_text(line, "flags"),
        details=_text(line, "details"),
        peer=judged_peer(line),
        by=said.by,
        decision=_text(authz, "decision"),
        gateway=_text(authz, "gateway") or _gateway_of_route(_text(line, "route")),
        reason=reason,
        user=_text(authz, "user"),
        meaning=said.meaning,
        cure=said.cure,
        now=None,
        hint="",
    )
    if reason is not None:
        incident["now"], incident["hint"] = _again(policy, incident, _text(line, "forwarded_for"))
    return incident


def is_denial(incident: Incident) -> bool:
    """Tell whether a line is to be explained: someone refused, or would have."""
    return incident["by"] not in {"nobody", "the client"}


def judged_peer(line: dict[str, Any]) -> str | None:
    """Return the peer that extauthz judged: the last hop that Envoy appended, also where a balancer told of it."""
    direct, chain = _text(line, "peer"), _text(line, "forwarded_for")
    if chain is None or direct == _APPENDED_OTHERWISE:
        return direct
    return trim(chain.rpartition(",")[2]) or direct


def _text(found: dict[str, Any], key: str) -> str | None:
    value = found.get(key)
    if value is not None and not isinstance(value, str):
        raise NoAccessLogError(f"`{key}` must be text or null")
    return value or None


def _gateway_of_route(route: str | None) -> str | None:
    """Return the gateway of a route as `proxy-config envoy` names it: over HTTP a denial does not say which."""
    found = _ROUTE.fullmatch(route or "")
    return found["id"] if found is not None else None


def _without_query(path: str | None) -> str | None:
    # The format of docs/envoy.md leaves it out; another may not, and a query may hold a token.
    return path.partition("?")[0] if path is not None else None


def _who(status: int, details: str, flags: str, authz: dict[str, Any], reason: str | None) -> _Said:
    answered = details.startswith("via_upstream")
    if reason is not None:
        return _by_extauthz(reason, passed=not details.startswith("ext_authz_denied"))
    if details.startswith("ext_authz_denied"):
        return _DENIED_UNTOLD
    if details.startswith("ext_authz_invalid"):
        return _BAD_ANSWER
    if details.startswith("ext_authz_error") or ("UAEX" in flags.split(",") and not authz.get("decision")):
        return _NO_ANSWER
    if answered and status in {401, 403}:
        return _GATEWAY_REFUSED
    if answered or 0 < status < 400:
        return _Said("nobody", "", "")
    if not _UPSTREAM_FLAGS.isdisjoint(flags.split(",")) or "upstream" in details:
        return _GATEWAY_DOWN
    if status == 0 or "DC" in flags.split(","):
        return _CLIENT_LEFT
    begins = next(begins for begins in _ENVOYS_OWN if details.startswith(begins))
    return _Said("Envoy", *_ENVOYS_OWN[begins])


def _by_extauthz(code: str, *, passed: bool) -> _Said:
    reason = find_reason(code)
    meaning = reason.meaning if reason is not None else "This reason is none of this version of extauthz."
    cure = reason.cure if reason is not None else "Explain it with the version that wrote it."
    if passed:
        return _Said("nobody (shadow mode)", f"{meaning} Shadow mode let the request pass, without any identity.", cure)
    return _Said("extauthz", meaning, cure)


def find_reason(code: str) -> Reason | None:
    """Return the table's entry for a reason as it is sent; None if there is none."""
    if code in REASONS:
        return REASONS[code]
    if code == reasons.TOO_MANY_REFUSALS.code:
        return reasons.TOO_MANY_REFUSALS
    return reasons.MISSING_HEADER if code.startswith(reasons.MISSING_HEADER.code) else None


def _again(policy: Policy, incident: Incident, chain: str | None) -> tuple[Now, str]:
    """Decide again about what the line holds, under the present file."""
    then = find_reason(incident["reason"] or "")
    if then in {None, reasons.TOO_MANY_REFUSALS} or incident["gateway"] is None:
        return "untold", _ASK_MORE
    gateway = policy.gateways.get(incident["gateway"])
    if gateway is not None and gateway.peer_is_caller:
        return "untold", "The gateway has `peer: caller`, and who asked extauthz is not in Envoy's log."
    explained = told(explain(policy, _request(policy, gateway, incident, chain)))
    answered = _answered(gateway, incident, chain)
    *passed, last = explained["steps"]
    if not last["passed"] and last["step"] in answered:
        return "denied", explained["hint"]
    if last["passed"]:
        passed.append(last)
    failed_then = {step.name for step in _EVERY_STEP if then in step.reasons}
    if failed_then <= answered & {step["step"] for step in passed}:
        return "passes", f"What failed then passes under the present file; the rest is not in the line. {_ASK_MORE}"
    return "untold", _ASK_MORE


def _request(policy: Policy, gateway: Gateway | None, incident: Incident, chain: str | None) -> Request:
    """Make a request of what the line holds; required headers are taken to be there, so that later steps are asked."""
    pairs = [] if gateway is None else [(one.name, b"?") for one in gateway.required_headers]
    if gateway is not None and gateway.user_header and incident["user"] is not None:
        pairs = [pair for pair in pairs if pair[0] != gateway.user_header]
        pairs.append((gateway.user_header, incident["user"].encode(errors="surrogatepass")))
    if chain is not None:
        pairs = [pair for pair in pairs if pair[0] != "x-forwarded-for"]
        pairs.append(("x-forwarded-for", chain.encode(errors="surrogatepass")))
    return Request(
        caller=read_caller(policy, gateway, None),
        gateway=incident["gateway"],
        source=incident["peer"] or "",
        method=incident["method"] or "",
        host=incident["host"] or "",
        path=incident["path"] or "",
        headers=Headers.joined(pairs, exact=True, size=0),
    )


def _answered(gateway: Gateway | None, incident: Incident, chain: str | None) -> frozenset[str]:
    """Return the steps that look at nothing but what the line and the file hold."""
    found = set(_ALWAYS_TOLD)
    if chain is not None and (gateway is None or not gateway.allow_real_ip_fallback):
        found.add(steps.ATTRIBUTED.name)
    if gateway is None or gateway.trusted_principals is None:
        found.add(steps.TRUSTED_PRINCIPAL.name)
    else:  # the line has no principal
        found -= {steps.ATTRIBUTED.name, *(() if gateway.require_all else (steps.TRUSTED.name,))}
    if gateway is not None and not gateway.user_header:
        found.add(steps.USER.name)
    if incident["user"] is not None:
        found.add(steps.ALLOWED_USER.name)
    return frozenset(found)
