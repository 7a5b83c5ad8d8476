"""The service's part of extauthz.yaml in, the ids of the findings out."""

from typing import Any

import pytest

from audit.finding_out import HARDENED, found, hardened, ids, the

AUTH = "gateway.trusted_proxy_auth"
EVERYONE = "service.callers_everyone"
NETWORK = "service.callers_wide_range"
SHADOW = "service.shadow_mode"
BY_HOST = "service.gateways_by_host"
UNLIMITED = "service.refusals_unlimited"

REACHABLE = {"grpc": "0.0.0.0:9191"}
ALL = {"addresses": ["0.0.0.0/0"]}
ONE = {"addresses": ["10.1.0.4"]}
TLS = {"certificate": "tls/c.pem", "privateKey": "tls/k.pem"}
MUTUAL = {**TLS, "clientCa": "tls/ca.pem"}


# What is said of a file without it is a case of its own.
LIMITED: dict[str, Any] = {"limits": {"refusals": {}}}


def with_callers(**callers: Any) -> dict[str, Any]:
    return hardened(callers=callers)


CASES: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = [
    ("loopback, by default", {}, {}, set()),
    ("everybody, on loopback", {"callers": ALL}, {}, set()),
    ("everybody, on IPv6 loopback", {"listen": {"grpc": "[::1]:9191"}, "callers": ALL}, {}, set()),
    ("everybody, on a socket", {"listen": {"grpc": "unix:/run/e.sock"}, "callers": ALL}, {}, set()),
    ("one caller", {"listen": REACHABLE, "callers": ONE}, {}, set()),
    ("a segment", {"listen": REACHABLE, "callers": {"addresses": ["10.1.0.0/24"]}}, {}, set()),
    (
        "nobody from elsewhere",
        {"listen": REACHABLE, "callers": {"addresses": ["127.0.0.0/8", "::1", "unix"]}},
        {},
        set(),
    ),
    ("everybody with a certificate", {"listen": REACHABLE, "callers": ALL, "tls": MUTUAL}, {}, set()),
    (
        "everybody with one of these certificates",
        {"listen": REACHABLE, "callers": {**ALL, "principals": ["spiffe://a/envoy"]}, "tls": MUTUAL},
        {},
        set(),
    ),
    ("everybody", {"listen": REACHABLE, "callers": ALL}, {}, {EVERYONE}),
    (
        "everybody, in halves",
        {"listen": REACHABLE, "callers": {"addresses": ["0.0.0.0/1", "128.0.0.0/1"]}},
        {},
        {EVERYONE},
    ),
    ("everybody, on IPv6", {"listen": {"grpc": "[::]:9191"}, "callers": {"addresses": ["::/0"]}}, {}, {EVERYONE}),
    (
        "everybody, at one of two",
        {"listen": {"grpc": ["127.0.0.1:1", "10.0.0.1:9191"]}, "callers": ALL},
        {},
        {EVERYONE},
    ),
    ("everybody, without client certificates", {"listen": REACHABLE, "callers": ALL, "tls": TLS}, {}, {EVERYONE}),
    ("everybody, over HTTP", {"listen": {"http": "0.0.0.0:9192"}, "callers": ALL}, {}, {EVERYONE}),
    (
        "everybody, over HTTP, where certificates are seen by gRPC alone",
        {"listen": {"http": "0.0.0.0:9192", **REACHABLE}, "callers": ALL, "tls": MUTUAL},
        {},
        {EVERYONE},
    ),
    ("a network", {"listen": REACHABLE, "callers": {"addresses": ["10.0.0.0/8"]}}, {}, {NETWORK}),
    (
        "a network in pieces",
        {"listen": REACHABLE, "callers": {"addresses": ["10.0.0.0/24", "10.0.1.0/24"]}},
        {},
        {NETWORK},
    ),
    (
        "a network with certificates",
        {"listen": REACHABLE, "callers": {"addresses": ["10.0.0.0/8"]}, "tls": MUTUAL},
        {},
        set(),
    ),
    ("every gateway narrower", {"listen": REACHABLE, "callers": ALL}, {"g": with_callers(**ONE)}, set()),
    (
        "one gateway not narrower",
        {"listen": REACHABLE, "callers": ALL},
        {"g": with_callers(**ONE), "open": HARDENED},
        {EVERYONE},
    ),
    (
        "a gateway narrower, and not narrow",
        {"listen": REACHABLE, "callers": ALL},
        {"g": with_callers(addresses=["10.0.0.0/16"])},
        {NETWORK},
    ),
    (
        "a gateway's list of everybody, which the service's narrows",
        {"listen": REACHABLE, "callers": ONE},
        {"g": with_callers(**ALL)},
        set(),
    ),
    (
        "a gateway with certificates of its own",
        {"listen": REACHABLE, "callers": ALL, "tls": MUTUAL},
        {"g": with_callers(principals=["spiffe://a/envoy"])},
        set(),
    ),
    ("not stamped", {"stamp": {"enabled": False}}, {}, {"service.stamp_disabled"}),
    ("shadow", {"mode": "shadow"}, {}, {SHADOW}),
    ("shadow, and every gateway enforces", {"mode": "shadow"}, {"g": hardened(mode="enforce")}, set()),
    ("shadow, for a gateway by itself", {}, {"g": hardened(mode="shadow")}, {"gateway.shadow_mode"}),
    (
        "shadow, said twice",
        {"mode": "shadow"},
        {"g": hardened(mode="shadow"), "h": HARDENED},
        {SHADOW, "gateway.shadow_mode"},
    ),
    ("hosts of one", {}, {"g": hardened(hosts=["a.example", "*.a.example"]), "h": HARDENED}, set()),
    ("denials not limited, on loopback", {"limits": {}}, {}, set()),
    ("denials not limited", {"listen": REACHABLE, "callers": ONE, "limits": {}}, {}, {UNLIMITED}),
    (
        "denials not limited, over HTTP",
        {"listen": {"http": "0.0.0.0:9192"}, "callers": ONE, "limits": {"refusals": None}},
        {},
        {UNLIMITED},
    ),
    (
        "denials of users limited",
        {"listen": REACHABLE, "callers": ONE, "limits": {"refusals": {"perPeer": None}}},
        {},
        set(),
    ),
    ("hosts of two", {}, {"g": hardened(hosts=["a.example"]), "h": hardened(hosts=["*.b.example"])}, {BY_HOST}),
]


@pytest.mark.parametrize(
    ("sections", "gateways", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_configuration_in_ids_out(sections: dict[str, Any], gateways: dict[str, Any], expected: set[str]) -> None:
    assert set(ids(found(gateways or {"g": HARDENED}, **{**LIMITED, **sections}))) == {AUTH, *expected}


SEVERITIES = {
    EVERYONE: "critical",
    NETWORK: "warn",
    "service.stamp_disabled": "critical",
    SHADOW: "warn",
    BY_HOST: "warn",
    UNLIMITED: "info",
}


def test_severities_are_those_of_the_rules_and_no_gateway_is_blamed() -> None:
    told = {}
    for _, sections, gateways, _ in CASES:
        for finding in found(gateways or {"g": HARDENED}, **{**LIMITED, **sections}):
            assert (finding.gateway is None) == finding.id.startswith("service.")
            if finding.gateway is None:
                told[finding.id] = finding.severity.value
    assert told == SEVERITIES


@pytest.mark.parametrize(
    ("sections", "id_", "places", "cure"),
    [
        (
            {"listen": REACHABLE, "callers": {"addresses": ["10.1.0.4", "0.0.0.0/0"]}},
            EVERYONE,
            ["listen.grpc is 0.0.0.0:9191", "callers.addresses[1] is 0.0.0.0/0"],
            "tls.clientCa",
        ),
        (
            {"listen": {"http": "0.0.0.0:9192"}, "callers": {"addresses": ["10.0.0.0/8"]}},
            NETWORK,
            ["listen.http is 0.0.0.0:9192", "callers.addresses[0] is 10.0.0.0/8"],
            "callers.addresses",
        ),
        ({"stamp": {"enabled": False}}, "service.stamp_disabled", ["stamp.enabled is false"], "stamp.enabled to true"),
        ({"mode": "shadow"}, SHADOW, ["mode is shadow, for g"], "enforce"),
        (
            {"listen": {"http": "0.0.0.0:9192", **REACHABLE}, "callers": ONE},
            UNLIMITED,
            ["listen.grpc is 0.0.0.0:9191, listen.http is 0.0.0.0:9192", "limits.refusals is not set"],
            "limits.refusals",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_finding_names_the_place_and_the_cure(sections: dict[str, Any], id_: str, places: list[str], cure: str) -> None:
    finding = the(id_, found({"g": HARDENED}, **sections))
    for place in places:
        assert place in finding.seen
    assert cure in finding.do


def test_gateways_chosen_by_host_are_named() -> None:
    gateways = {"a": hardened(hosts=["a.example"]), "b": HARDENED, "c": hardened(hosts=["c.example"])}
    finding = the(BY_HOST, found(gateways))
    assert "hosts: a, c are chosen" in finding.seen
    assert "proxy-config" in finding.do
