"""What an auditor says of trusted principals: where they would help, and where they prove less than they seem."""

from typing import Any

import pytest

from audit.finding_out import found, hardened, ids, the
from extauthz.audit import Severity

AUTH = "gateway.trusted_proxy_auth"
ON_PROXY = "gateway.trusted_principals_rest_on_proxy"
WILDCARD = "gateway.trusted_principals_wildcard"
LITTLE = "gateway.trusted_proxies_prove_little"
WIDE = "gateway.trusted_proxies_wide_range"
EVERYTHING = "gateway.trusted_proxies_everything"

EXACT = "spiffe://cluster.local/ns/ingress/sa/pomerium"


def trusting(*principals: str, **keys: Any) -> dict[str, Any]:
    return hardened(**{"trustedProxies": [], "trustedPrincipals": list(principals), **keys})


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        (trusting(EXACT), []),
        (trusting("spiffe://cluster.local/ns/ingress/*", "proxy.example.com"), []),
        (trusting(EXACT, trustedProxies=["10.0.0.7"]), []),
        (trusting(EXACT, trustedProxies=["10.0.0.0/8"], require="all"), []),
        (trusting(EXACT, trustedProxies=["2000::/3"], require="all"), []),
        (trusting(EXACT, trustedProxies=["10.0.0.0/8"]), [LITTLE, WIDE]),
        (hardened(trustedProxies=["2000::/3"]), [EVERYTHING, LITTLE]),
        *((trusting(EXACT, wide), [WILDCARD]) for wide in ("spiffe://*", "spiffe://cluster.local*", "s*", "proxy*")),
        *((trusting(wide), [WILDCARD]) for wide in ("spiffe://cluster.local/*", "spiffe://cluster.local/ns/ing*")),
        (trusting("CN=proxy,*"), [WILDCARD]),
    ],
)
def test_findings_of_principals(gateway: dict[str, Any], expected: list[str]) -> None:
    always = [AUTH, ON_PROXY] if gateway.get("trustedPrincipals") else [AUTH]
    assert sorted(ids(found({"g": gateway}))) == sorted([*always, *expected])


def test_a_gateway_with_principals_alone_lacks_no_proxy_and_its_delegation_names_them() -> None:
    findings = found({"g": trusting(EXACT)})
    assert f"{EXACT} may say who the user is" in the(AUTH, findings).seen
    both = found({"g": trusting(EXACT, "b.example.com", trustedProxies=["10.0.0.7"], require="all")})
    assert "10.0.0.7 with 2 trustedPrincipals may say" in the(AUTH, both).seen


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("spiffe://*", "as 'spiffe://.attacker.example'"),
        ("spiffe://cluster.local*", "as 'spiffe://cluster.local.attacker.example'"),
        ("spiffe://cluster.local/*", "everyone in the trust domain"),
        ("spiffe://cluster.local/ns/ing*", "as 'spiffe://cluster.local/ns/ing-attacker'"),
        ("proxy.example*", "as in 'proxy.example.attacker.example'"),
    ],
)
def test_what_a_wildcard_lets_in_is_shown(entry: str, told: str) -> None:
    finding = the(WILDCARD, found({"g": trusting(EXACT, entry)}))
    assert finding.severity == Severity.WARN
    assert finding.seen.startswith("gateways.g.trustedPrincipals[1] is ")
    assert told in finding.seen


def test_that_envoy_may_tell_principals_of_unverified_certificates_is_said_once_and_can_be_accepted() -> None:
    accepted = [{"id": ON_PROXY, "gateway": "g", "by": "nick", "because": "trusted_ca is set"}]
    finding = the(ON_PROXY, found({"g": trusting(EXACT, "b.example.com")}, accepted=accepted))
    assert "ACCEPT_UNTRUSTED" in finding.do
    assert finding.accepted is not None


def test_beside_a_wide_range_any_is_told_to_want_no_certificate() -> None:
    finding = the(LITTLE, found({"g": trusting(EXACT, trustedProxies=["10.0.0.0/8"])}))
    assert finding.severity == Severity.INFO
    assert "`require` is any" in finding.seen
    assert "`require`" not in the(LITTLE, found({"g": hardened(trustedProxies=["10.0.0.0/8"])})).seen
