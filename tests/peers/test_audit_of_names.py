"""What the audit says of names in `trustedProxies`, and where it recommends them. It asks no name server."""

from typing import Any

import pytest

from audit.finding_out import found, hardened, ids, the

REST, SEARCHED = "gateway.trusted_proxies_rest_on_dns", "gateway.trusted_proxies_name_searched"
LITTLE = "gateway.trusted_proxies_prove_little"


def of_gateway(entries: list[str], dns: dict[str, Any] | None = None, **keys: Any) -> list[str]:
    findings = found({"g": hardened(trustedProxies=entries, **keys)}, dns=dns or {})
    return [id_ for id_ in ids(findings) if id_.startswith("gateway.") and id_ != "gateway.trusted_proxy_auth"]


def test_gateway_with_a_name_alone_has_a_proxy() -> None:
    assert of_gateway(["dns:traefik.internal"]) == [REST]


def test_name_counts_among_those_who_may_say_who_the_user_is() -> None:
    finding = the("gateway.trusted_proxy_auth", found({"g": hardened(trustedProxies=["dns:traefik.internal"])}))
    assert "dns:traefik.internal may say who the user is" in finding.seen


@pytest.mark.parametrize(
    ("entry", "dns", "told"),
    [
        ("dns:traefik", {}, True),
        ("dns:traefik.", {}, False),
        ("dns:traefik", {"servers": ["127.0.0.11"]}, False),
        ("dns:traefik.internal", {}, False),
    ],
)
def test_short_name_that_somebody_elses_zone_could_answer_is_told(entry: str, dns: dict[str, Any], told: bool) -> None:
    assert (SEARCHED in of_gateway([entry], dns)) == told


def test_certificate_beside_the_name_settles_it() -> None:
    keys: dict[str, Any] = {"trustedPrincipals": ["spiffe://cluster/proxy"], "require": "all"}
    assert REST not in of_gateway(["dns:traefik.internal"], **keys)
    assert REST in of_gateway(["dns:traefik.internal"], **{**keys, "require": "any"})


def test_name_is_no_loopback_address() -> None:
    # X-Real-IP is less grave behind loopback alone; whom a name stands for, nobody knows here.
    finding = the(
        "gateway.real_ip_fallback_enabled",
        found({"g": hardened(trustedProxies=["dns:traefik.internal"], allowRealIpFallback=True)}),
    )
    assert str(finding.severity) == "critical"


@pytest.mark.parametrize("entry", ["172.16.0.0/12", "10.42.0.0/16"])
def test_name_is_recommended_where_a_range_stands_for_a_proxy_whose_address_changes(entry: str) -> None:
    finding = the(LITTLE, found({"g": hardened(trustedProxies=[entry])}))
    assert "dns:NAME" in finding.do
