"""From a request as an operator writes it down to its explanation: what `explain` prints, and the console."""

from typing import Any, TypedDict

from extauthz.core.address import Address, AddressSet, Network, parse_address
from extauthz.core.decision import Allow, Deny, Shadowed
from extauthz.core.explain import Explanation, explain
from extauthz.core.policy import Callers, Gateway, Policy
from extauthz.core.request import Caller, Headers, Request

_KNOWN = frozenset({"id", "gateway", "peer", "principal", "headers", "method", "host", "path", "caller"})
_ALLOWED_STATUS = 200


class ExplainedStep(TypedDict):
    """One step of an explanation (design.md, "Commands")."""

    step: str
    passed: bool
    detail: str


class Explained(TypedDict):
    """One explanation (design.md, "Commands")."""

    id: Any
    gateway: str | None
    allowed: bool
    reason: str | None
    user: str | None
    status: int
    steps: list[ExplainedStep]
    hint: str


def explain_request(policy: Policy, line: dict[str, Any]) -> Explained:
    """Explain one request.

    Args:
        policy: The policy in force.
        line: {"id", "gateway", "peer", "principal", "headers": {name: value or [values]}, "method", "host", "path",
            "caller"}; all but the headers may be left out. Without a caller, one is taken that the policy admits.

    Raises:
        ValueError: A key is unknown or has the wrong type; the text says which.
    """
    return told(explain(policy, _request(policy, line)), line.get("id"))


def told(explanation: Explanation, request_id: Any = None) -> Explained:
    """Return an explanation as it is printed."""
    decision = explanation.decision
    hint = explanation.hint
    if isinstance(decision, Shadowed):
        hint = f"{hint} The gateway is in shadow mode: the request passes, without any identity.".strip()
        decision = decision.denial
    denied = decision if isinstance(decision, Deny) else None
    return {
        "id": request_id,
        "gateway": decision.gateway.id if decision.gateway is not None else None,
        "allowed": denied is None,
        "reason": denied.reason.code if denied is not None else None,
        "user": decision.user if isinstance(decision, Allow) else None,
        "status": denied.reason.status if denied is not None else _ALLOWED_STATUS,
        "steps": [{"step": o.step, "passed": o.passed, "detail": o.detail} for o in explanation.outcomes],
        "hint": hint,
    }


def _request(policy: Policy, line: dict[str, Any]) -> Request:
    unknown = sorted(line.keys() - _KNOWN)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}: known are {', '.join(sorted(_KNOWN))}")
    named, peer = _text(line, "gateway"), _text(line, "peer") or ""
    headers = _headers(line.get("headers"))
    fault = "" if _is_text(headers.together) else "a header's name is no UTF-8"
    host = _text(line, "host") or (headers.read("host") or b"").decode(errors="replace")
    gateway = policy.select(named, host)
    return Request(
        caller=_caller(policy, gateway, _text(line, "caller"), peer),
        gateway=named,
        source=peer,
        method=_text(line, "method") or "GET",
        host=host,
        path=_text(line, "path") or "/",
        headers=None if fault else headers,
        fault=fault,
        principal=_text(line, "principal") or "",
    )


def _is_text(text: str) -> bool:
    """Tell whether text can stand in a message: a lone surrogate, by which JSON may write any byte, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(line: dict[str, Any], key: str) -> str | None:
    value = line.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key!r} must be text")
    return value


def _headers(found: Any) -> Headers:
    if not isinstance(found or {}, dict):
        raise ValueError("'headers' must be an object of names and values")  # noqa: TRY004 - as for every other key
    pairs: list[tuple[str, bytes]] = []
    for name, value in (found or {}).items():
        for copy in value if isinstance(value, list) else [value]:
            if not isinstance(copy, str):
                raise ValueError(f"header {name!r} must be text or a list of texts")  # noqa: TRY004 - as above
            # A lone surrogate is how JSON writes a byte that is no UTF-8: it must stay one.
            pairs.append((name, copy.encode(errors="surrogatepass")))
    return Headers.joined(pairs, exact=True, size=sum(len(name) * 4 + len(value) for name, value in pairs))


def _caller(policy: Policy, gateway: Gateway | None, given: str | None, peer: str) -> Caller:
    if given is None and gateway is not None and gateway.peer_is_caller:
        return Caller(parse_address(peer), principals=_principals(policy, gateway))
    return read_caller(policy, gateway, given)


def read_caller(policy: Policy, gateway: Gateway | None, given: str | None) -> Caller:
    """Return who asks, with every certificate that is wanted; without a word about it, one that may ask.

    Args:
        policy: The policy in force.
        gateway: The gateway that is asked for, if there is one.
        given: An IP address or `unix`; None for any that `callers` admits.

    Raises:
        ValueError: `given` is neither.
    """
    principals = _principals(policy, gateway)
    if given is None:
        return _admitted(policy, gateway, principals)
    if given == "unix":
        return Caller(None, unix=True, principals=principals)
    address = parse_address(given)
    if address is None:
        raise ValueError(f"'caller' must be an IP address or unix, not {given!r}")
    return Caller(address, principals=principals)


def _principals(policy: Policy, gateway: Gateway | None) -> frozenset[str]:
    own = gateway.callers.principals if gateway is not None and gateway.callers is not None else frozenset()
    return policy.callers.principals | own


def _admitted(policy: Policy, gateway: Gateway | None, principals: frozenset[str]) -> Caller:
    """Return a caller that may ask, so that the request itself is explained; if there is none, any."""
    both = [policy.callers]
    if gateway is not None and gateway.callers is not None:
        both.append(gateway.callers)
    candidates = [Caller(address, principals=principals) for callers in both for address in _examples(callers)]
    candidates.append(Caller(None, unix=True, principals=principals))
    for candidate in candidates:
        if all(callers.admit(candidate) for callers in both):
            return candidate
    return candidates[0]


def _examples(callers: Callers) -> list[Address]:
    addresses = callers.addresses if callers.addresses is not None else AddressSet()
    return [_example(entry) for entry in addresses.entries]


def _example(entry: Address | Network) -> Address:
    if isinstance(entry, Address):
        return entry
    number = min(entry.first + 1, entry.last)  # the first address of a range is no host's
    address = parse_address(str(Network(entry.version, number, 0)).partition("/")[0])
    if address is None:
        raise ValueError(f"{entry} has no address")
    return address
