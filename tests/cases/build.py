"""From a gateway as it is configured and a request as it is written down to what the code under test takes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer, Stamper
from extauthz.config.compile import compile_policy
from extauthz.config.load import Loaded, loads
from extauthz.core.address import Address, parse_address
from extauthz.core.decide import decide
from extauthz.core.decision import Allow, Decision, Deny
from extauthz.core.policy import Policy
from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import fold
from extauthz.stamp.keyset import KeySet, Schedule
from extauthz.stamp.signer import Issued

LOOPBACK = Caller(parse_address("127.0.0.1"))
UNIX = Caller(None, unix=True)

# A gateway with nothing special about it, and a request that it allows.
GATEWAY: dict[str, Any] = {
    "trustedProxies": ["10.0.0.7"],
    "auth": {
        "mode": "trusted-proxy",
        "trustedProxy": {
            "userHeader": "x-forwarded-user",
            "requiredHeaders": ["x-forwarded-proto"],
            "allowUsers": ["nick@example.com"],
        },
    },
}
PEER = "10.0.0.7"
PAIRS = (("x-forwarded-user", "nick@example.com"), ("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.9"))


def gateway(trusted_proxy: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return the ordinary gateway with other keys, and other keys in its `auth.trustedProxy`."""
    inner = {**GATEWAY["auth"]["trustedProxy"], **(trusted_proxy or {})}
    return {**GATEWAY, "auth": {"mode": "trusted-proxy", "trustedProxy": inner}, **keys}


def text_of(data: Any) -> str:
    """Write data as YAML, whatever characters are in it."""
    return yaml.dump(data, Dumper=yaml.CSafeDumper, allow_unicode=False, sort_keys=False)


def load_gateways(gateways: Mapping[str, Any], **sections: Any) -> Loaded:
    """Load a file with these gateways and further sections."""
    return loads(text_of({**sections, "gateways": dict(gateways)}))


def policy_of(
    gateways: Mapping[str, Any],
    interfaces: Callable[[], frozenset[Address] | None] = frozenset,
    **sections: Any,
) -> Policy:
    """Return the policy of a file with these gateways and further sections."""
    return compile_policy(load_gateways(gateways, **sections), interfaces)


def headers_of(pairs: Sequence[tuple[str, str]], *, exact: bool = True) -> Headers:
    """Return headers as a door's adapter hands them over."""
    copies: dict[str, list[bytes]] = {}
    for name, value in pairs:
        copies.setdefault(fold(name), []).append(value.encode())
    return Headers(
        tuple(copies),
        {name: b",".join(found) for name, found in copies.items()}.get,
        exact=exact,
        size=sum(len(name) + len(value) + 1 for name, value in pairs),
        repeated=frozenset(name for name, found in copies.items() if len(found) > 1) if exact else frozenset(),
    )


def request_of(
    pairs: Sequence[tuple[str, str]] = PAIRS,
    *,
    peer: str | None = PEER,
    gateway: str | None = "g",
    host: str = "",
    caller: Caller = LOOPBACK,
    exact: bool = True,
    principal: str = "",
) -> Request:
    """Return a request; without arguments, one that the ordinary gateway allows."""
    return Request(
        caller=caller,
        gateway=gateway,
        source=peer or "",
        method="GET",
        host=host,
        path="/",
        headers=headers_of(pairs, exact=exact),
        principal=principal,
    )


def told(decision: Decision) -> str:
    """Return "allow:USER", "deny:REASON" or "shadow:REASON"."""
    if isinstance(decision, Allow):
        return f"allow:{decision.user}"
    if isinstance(decision, Deny):
        return f"deny:{decision.reason.code}"
    return f"shadow:{decision.denial.reason.code}"


def ask(policy: Policy, **request: Any) -> str:
    """Decide about a request and tell how it went."""
    return told(decide(policy, request_of(**request)))


def authorizer_of(gateways: Mapping[str, Any], stamper: Stamper | None = None, **sections: Any) -> Authorizer:
    """Return what answers bytes under a file with these gateways; without a stamper, allows have no stamp."""
    return Authorizer(replace(make_snapshot(load_gateways(gateways, **sections)), stamper=stamper))


class _ForOneRequest(ABC):
    """What stampers have in common that sign each request."""

    def issue(  # noqa: PLR0917 - as the authorizer calls it
        self, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> Issued:
        """Sign one request."""
        text = self.stamp(gateway=gateway, user=user, peer=peer, method=method, host=host, path=path)
        return Issued(text, any_path=False, since=0, until=0, keys=KeySet((), Schedule()))

    def is_good(self, issued: Issued, now: float) -> bool:
        """None is handed out again."""
        del issued, now
        return False

    @abstractmethod
    def stamp(self, **claims: str) -> str:
        """Return the stamp with these claims."""


class CountingStamper(_ForOneRequest):
    """Signs by numbering, and remembers what it was asked to sign."""

    def __init__(self) -> None:
        self.signed: list[dict[str, str]] = []

    def stamp(self, **claims: str) -> str:
        """Return a text that no other call got."""
        self.signed.append(claims)
        return f"stamp.{len(self.signed)}"


class FailingStamper(_ForOneRequest):
    """Cannot sign."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def stamp(self, **claims: str) -> str:
        """Raise what it was made with."""
        del claims
        raise self._error
