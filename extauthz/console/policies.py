"""A gateway's policy as it is compiled, as data for the page. Every list is bounded, and says how long it is."""

from collections.abc import Collection, Iterable
from heapq import nsmallest
from typing import Any, Final

from extauthz.core.assertion import Assertion
from extauthz.core.policy import Callers, Gateway, Policy

# Entries of one list that are shown.
MOST_SHOWN: Final = 100
# Hosts that are shown of a gateway in the list of all.
MOST_HOSTS: Final = 3

Data = dict[str, Any]


def summary(gateway: Gateway) -> Data:
    """Return what the list of all gateways says of one."""
    return {
        "id": gateway.id,
        "shadow": gateway.shadow,
        "ruleset": gateway.ruleset.name,
        "hosts": _some(gateway.hosts, MOST_HOSTS),
        "trustedProxies": len(gateway.trusted_proxies),
        "peerNames": len(gateway.peer_names),
        "trustedPrincipals": len(gateway.trusted_principals or ()),
        "allowUsers": len(gateway.allow_users),
    }


def detail(policy: Policy, gateway: Gateway) -> Data:
    """Return the whole policy of one gateway."""
    return {
        "id": gateway.id,
        "shadow": gateway.shadow,
        "ruleset": gateway.ruleset.name,
        "steps": [
            {"step": step.name, "asked": step in gateway.asked, "reasons": [reason.code for reason in step.reasons]}
            for step in gateway.ruleset.whole
        ],
        "configured": gateway.configured,
        "hosts": _some(gateway.hosts),
        "peer": "caller" if gateway.peer_is_caller else "source",
        "callers": _callers(policy.callers),
        "ownCallers": _callers(gateway.callers) if gateway.callers is not None else None,
        "trustedProxies": _some(map(str, gateway.trusted_proxies.entries), total=len(gateway.trusted_proxies)),
        "peerNames": _some(list(map(str, gateway.peer_names))),
        "trustedPrincipals": _some(gateway.trusted_principals.entries if gateway.trusted_principals else ()),
        "require": "all" if gateway.require_all else "any",
        "allowLoopback": gateway.allow_loopback,
        "localInterfaces": None
        if gateway.local_interfaces is None
        else _sorted(map(str, gateway.local_interfaces), len(gateway.local_interfaces)),
        "requiredHeaders": _some([required.name for required in gateway.required_headers]),
        "userHeader": gateway.user_header,
        "assertion": _assertion(gateway.assertion) if gateway.assertion is not None else None,
        "allowUsers": _sorted(gateway.allow_users, len(gateway.allow_users)),
        "allowCommaInUser": gateway.allow_comma_in_user,
        "allowRealIpFallback": gateway.allow_real_ip_fallback,
        "anyOrigin": gateway.any_origin,
        "allowedOrigins": _sorted(gateway.allowed_origins, len(gateway.allowed_origins)),
        "hostOriginFallback": gateway.host_origin_fallback,
        "outputHeaders": list(gateway.output_headers),
        "protected": sorted(gateway.protected),
    }


def _assertion(assertion: Assertion) -> Data:
    return {
        "header": assertion.header,
        "preset": assertion.preset,
        "issuer": assertion.issuer,
        "audiences": _some(assertion.audiences),
        "userClaim": assertion.user_claim,
        "source": assertion.source,
    }


def _callers(callers: Callers) -> Data:
    addresses = callers.addresses.entries if callers.addresses is not None else None
    return {
        "addresses": None if addresses is None else _some(map(str, addresses), total=len(addresses)),
        "unix": callers.unix,
        "principals": _sorted(callers.principals, len(callers.principals)),
    }


def _some(found: Iterable[str], most: int = MOST_SHOWN, *, total: int | None = None) -> Data:
    shown = [text for text, _ in zip(found, range(most), strict=False)]
    count = total if total is not None else len(found) if isinstance(found, Collection) else len(shown)
    return {"shown": shown, "total": count}


def _sorted(found: Iterable[str], total: int) -> Data:
    return {"shown": nsmallest(MOST_SHOWN, found), "total": total}
