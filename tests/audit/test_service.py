"""The service's part of extauthz.yaml and its key files in, the ids of the findings out."""

from pathlib import Path
from typing import Any

import pytest

from audit.finding_out import HARDENED, NOW, found, hardened, ids, the
from cases.build import text_of
from extauthz.audit import Finding, audit
from extauthz.config.load import load
from extauthz.stamp.keys import generate, rotate
from extauthz.stamp.keyset import Schedule
from support.certificates import Authority

AUTH = "gateway.trusted_proxy_auth"
EVERYONE = "service.callers_everyone"
NETWORK = "service.callers_wide_range"
SHADOW = "service.shadow_mode"
BY_HOST = "service.gateways_by_host"
TO_ALL = "service.key_readable_by_everyone"
TO_GROUP = "service.key_readable_by_group"
OLD = "service.key_old"
UNREAD = "service.keys_unread"
DAY = 86_400

REACHABLE = {"grpc": "0.0.0.0:9191"}
ALL = {"addresses": ["0.0.0.0/0"]}
ONE = {"addresses": ["10.1.0.4"]}
TLS = {"certificate": "tls/c.pem", "privateKey": "tls/k.pem"}
MUTUAL = {**TLS, "clientCa": "tls/ca.pem"}


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
    ("hosts of two", {}, {"g": hardened(hosts=["a.example"]), "h": hardened(hosts=["*.b.example"])}, {BY_HOST}),
]


@pytest.mark.parametrize(
    ("sections", "gateways", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_configuration_in_ids_out(sections: dict[str, Any], gateways: dict[str, Any], expected: set[str]) -> None:
    assert set(ids(found(gateways or {"g": HARDENED}, **sections))) == {AUTH, *expected}


SEVERITIES = {
    EVERYONE: "critical",
    NETWORK: "warn",
    "service.stamp_disabled": "critical",
    SHADOW: "warn",
    BY_HOST: "warn",
}


def test_severities_are_those_of_the_rules_and_no_gateway_is_blamed() -> None:
    told = {}
    for _, sections, gateways, _ in CASES:
        for finding in found(gateways or {"g": HARDENED}, **sections):
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


# Key files.


def file_with(tmp_path: Path, **sections: Any) -> Path:
    path = tmp_path / "extauthz.yaml"
    path.write_text(text_of({**sections, "gateways": {"g": HARDENED}}), encoding="utf-8")
    return path


def beside(tmp_path: Path, **sections: Any) -> list[Finding]:
    """Audit a file whose keys lie beside it; what is said of delegation left out."""
    return [finding for finding in audit(load(file_with(tmp_path, **sections)), NOW) if finding.id != AUTH]


def made(tmp_path: Path, days: float = 0) -> Path:
    """Make the first key this long ago."""
    assert generate(tmp_path / "keys", "ES256", now=NOW - days * DAY) is not None
    (path,) = (tmp_path / "keys").iterdir()
    return path


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, []),
        (0o400, []),
        (0o640, [(TO_GROUP, "warn")]),
        (0o440, [(TO_GROUP, "warn")]),
        (0o620, [(TO_GROUP, "warn")]),
        (0o604, [(TO_ALL, "critical")]),
        (0o644, [(TO_ALL, "critical")]),
        (0o602, [(TO_ALL, "critical")]),
        (0o777, [(TO_ALL, "critical")]),
    ],
    ids=lambda value: f"{value:04o}" if isinstance(value, int) else "",
)
def test_key_that_others_can_use_is_told(tmp_path: Path, mode: int, expected: list[tuple[str, str]]) -> None:
    path = made(tmp_path)
    path.chmod(mode)
    findings = beside(tmp_path)
    assert [(finding.id, finding.severity.value) for finding in findings] == expected
    for finding in findings:
        assert f"stamp.keys: {path} has mode {mode:04o}" in finding.seen
        assert "chmod 600" in finding.do
        assert finding.gateway is None


def test_key_of_tls_that_others_can_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    authority = Authority(tmp_path / "tls", "ca")
    authority.issue("server", dns="extauthz.example")
    key = tmp_path / "tls" / "server.key"
    tls = {"certificate": "tls/server.pem", "privateKey": "tls/server.key"}
    key.chmod(0o600)
    assert beside(tmp_path, tls=tls) == []
    key.chmod(0o640)
    assert ids(beside(tmp_path, tls=tls)) == [TO_GROUP]
    key.chmod(0o644)
    (finding,) = beside(tmp_path, tls=tls)
    assert finding.id == TO_ALL
    assert f"tls.privateKey: {key}" in finding.seen


@pytest.mark.parametrize(("days", "expected"), [(0, []), (89.9, []), (90, []), (90.1, [OLD]), (400, [OLD]), (-1, [])])
def test_key_that_has_signed_for_long_is_told(tmp_path: Path, days: float, expected: list[str]) -> None:
    path = made(tmp_path, days)
    findings = beside(tmp_path)
    assert ids(findings) == expected
    for finding in findings:
        assert finding.severity == "warn"
        assert path.name in finding.seen
        assert f"{int(days)} days" in finding.seen
        assert "keys rotate" in finding.do


def test_old_key_that_signs_no_more_is_not_told(tmp_path: Path) -> None:
    made(tmp_path, 400)
    rotate(tmp_path / "keys", schedule=Schedule(), now=NOW - 10 * DAY)
    assert beside(tmp_path) == []


def test_old_key_is_told_while_its_successor_waits(tmp_path: Path) -> None:
    made(tmp_path, 400)
    rotate(tmp_path / "keys", schedule=Schedule(), now=NOW - 10)
    assert ids(beside(tmp_path)) == [OLD]


def test_keys_that_are_not_there_yet_are_nothing_to_tell(tmp_path: Path) -> None:
    assert beside(tmp_path) == []
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / ".key-000001.jwk.tmp").write_text("", encoding="utf-8")
    (tmp_path / "keys" / "README").write_text("no key", encoding="utf-8")
    assert beside(tmp_path) == []


def test_keys_are_left_alone_where_nothing_is_signed(tmp_path: Path) -> None:
    made(tmp_path).chmod(0o644)
    assert ids(beside(tmp_path, stamp={"enabled": False})) == ["service.stamp_disabled"]


def test_key_that_is_none_is_told_without_its_content(tmp_path: Path) -> None:
    path = made(tmp_path)
    path.write_text('{"d": "s3cret"', encoding="utf-8")
    (finding,) = beside(tmp_path)
    assert (finding.id, finding.severity) == (UNREAD, "info")
    assert str(path) in finding.seen
    assert "s3cret" not in finding.seen


def test_keys_that_cannot_be_looked_at_are_told(tmp_path: Path) -> None:
    (tmp_path / "keys").symlink_to("keys")  # leads nowhere, for root too
    (finding,) = beside(tmp_path)
    assert finding.id == UNREAD
    assert str(tmp_path / "keys") in finding.seen
    assert "user of the service" in finding.do


def test_key_file_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "keys" / "other.jwk").symlink_to("other.jwk")
    (finding,) = beside(tmp_path)
    assert finding.id == UNREAD
    assert "other.jwk" in finding.seen


def test_directory_of_keys_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("", encoding="utf-8")
    assert ids(beside(tmp_path)) == [UNREAD]


def test_audit_writes_nothing(tmp_path: Path) -> None:
    beside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["extauthz.yaml"]


# What was accepted.


def accepting(id_: str, gateway: str | None = "g", **more: Any) -> dict[str, Any]:
    return {"id": id_, "by": "nick", "because": "we mean it", **({"gateway": gateway} if gateway else {}), **more}


def test_accepted_finding_stays_what_it_is_with_who_and_why_beside_it() -> None:
    before = found({"g": HARDENED})
    (after,) = found({"g": HARDENED}, accepted=[accepting(AUTH)])
    assert after.accepted is not None
    assert (after.accepted.by, after.accepted.because) == ("nick", "we mean it")
    assert {**after.as_json(), "accepted": None} == {**before[0].as_json(), "accepted": None}
    assert after.severity == "critical"


def test_acceptance_is_of_one_gateway_and_of_one_finding() -> None:
    findings = found({"g": hardened({"allowUsers": []}), "h": HARDENED}, accepted=[accepting(AUTH)])
    assert [finding.gateway for finding in findings if finding.accepted] == ["g"]
    assert [finding.id for finding in findings if finding.accepted] == [AUTH]


def test_finding_of_the_service_is_accepted_without_a_gateway() -> None:
    findings = found({"g": HARDENED}, mode="shadow", accepted=[accepting(SHADOW, None)])
    assert the(SHADOW, findings).accepted is not None


@pytest.mark.parametrize(
    "entry",
    [
        accepting(AUTH, None),
        accepting("gateway.trusted_proxy_oauth"),
        accepting(SHADOW),
        accepting("gateway.trusted_proxy_no_allowlist"),
    ],
    ids=str,
)
def test_acceptance_of_what_was_not_found_is_told(entry: dict[str, Any]) -> None:
    findings = found({"g": HARDENED}, mode="shadow", accepted=[accepting(AUTH), entry])
    finding = the("service.accepted_unmatched", findings)
    assert finding.severity == "info"
    assert "accepted[1]" in finding.seen
    assert entry["id"] in finding.seen
    assert the(SHADOW, findings).accepted is None
