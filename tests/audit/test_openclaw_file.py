"""An openclaw.json in, the ids of the findings out: what is wrong in it is a finding there, and no refusal."""

import json
from pathlib import Path
from typing import Any

import pytest

from audit.finding_out import ids, the
from extauthz.audit import Finding, audit_openclaw
from extauthz.openclaw import read

AUTH = "gateway.trusted_proxy_auth"
MISSING = "gateway.trusted_proxies_missing"
NO_AUTH = "gateway.bind_no_auth"
ORIGINS = "gateway.control_ui.allowed_origins_required"
ANY_ORIGIN = "gateway.control_ui.allowed_origins_wildcard"
HOST_ORIGIN = "gateway.control_ui.host_header_origin_fallback"
REAL_IP = "gateway.real_ip_fallback_enabled"
NO_PROXIES = "gateway.trusted_proxy_no_proxies"
NO_HEADER = "gateway.trusted_proxy_no_user_header"
NO_LIST = "gateway.trusted_proxy_no_allowlist"
NOTHING_REQUIRED = "gateway.trusted_proxy_no_required_headers"
TOKEN = "gateway.trusted_proxy_token"
PASSWORD = "gateway.trusted_proxy_password"
INVALID = "gateway.config_invalid"
REFERENCE = "gateway.unresolved_reference"
NO_ADDRESS = "gateway.trusted_proxies_unreadable_entry"
NO_ORIGIN = "gateway.control_ui.allowed_origins_unreadable_entry"

RULES: dict[str, Any] = {
    "userHeader": "x-forwarded-user",
    "requiredHeaders": ["x-authz-stamp"],
    "allowUsers": ["nick@example.com"],
}
SECRET = "s3cret-s3cret-s3cret-s3cret"
UI = {"allowedOrigins": ["https://gateway.example.com"]}


def delegating(rules: dict[str, Any] | None = None, auth: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return a good gateway in trusted-proxy mode with other keys, in its rules and its `auth` too."""
    return {
        "bind": "lan",
        "trustedProxies": ["10.0.0.7"],
        "auth": {"mode": "trusted-proxy", "trustedProxy": {**RULES, **(rules or {})}, **(auth or {})},
        "controlUi": UI,
        **keys,
    }


def token(**keys: Any) -> dict[str, Any]:
    return {"auth": {"mode": "token", "token": SECRET}, **keys}


BINDS = ("lan", "tailnet", "auto", "custom")

CASES: list[tuple[str, dict[str, Any], set[str]]] = [
    # Delegated.
    ("good", delegating(), {AUTH}),
    ("good on loopback", delegating({"allowLoopback": False}, bind="loopback"), {AUTH}),
    ("what concerns nobody here", delegating(port=18789, tls={"enabled": True}, mode="local", reload={}), {AUTH}),
    ("no rules", {**delegating(), "auth": {"mode": "trusted-proxy"}}, {AUTH, NO_HEADER, NO_LIST, NOTHING_REQUIRED}),
    ("no proxies", delegating(trustedProxies=[]), {AUTH, NO_PROXIES}),
    ("no proxies on loopback", delegating(trustedProxies=[], bind="loopback"), {AUTH, NO_PROXIES, MISSING}),
    ("a user header of white space", delegating({"userHeader": " "}), {AUTH, NO_HEADER}),
    ("everyone", delegating({"allowUsers": []}), {AUTH, NO_LIST}),
    ("*", delegating({"allowUsers": ["*"]}), {AUTH, "gateway.trusted_proxy_unmatchable_user"}),
    ("a comma, which is one user there", delegating({"allowUsers": ["CN=Nick,O=Example"]}), {AUTH}),
    ("loopback allowed", delegating({"allowLoopback": True}), {AUTH, "gateway.trusted_proxy_allow_loopback"}),
    ("loopback listed and not allowed", delegating(trustedProxies=["127.0.0.1"]), {AUTH}),
    ("nothing required", delegating({"requiredHeaders": []}), {AUTH, NOTHING_REQUIRED}),
    (
        "nothing that proves anything",
        delegating({"requiredHeaders": ["x-forwarded-proto", "x-forwarded-host"]}),
        {AUTH, "gateway.trusted_proxy_required_headers_always_there"},
    ),
    (
        "everything",
        delegating(trustedProxies=["0.0.0.0/1", "128.0.0.0/1"]),
        {AUTH, "gateway.trusted_proxies_everything", "gateway.trusted_proxies_loopback_range"},
    ),
    ("wide", delegating(trustedProxies=["10.0.0.0/16"]), {AUTH, "gateway.trusted_proxies_wide_range"}),
    ("X-Real-IP", delegating(allowRealIpFallback=True), {AUTH, REAL_IP}),
    ("a token beside", delegating(auth={"token": SECRET}), {AUTH, TOKEN}),
    ("a token in the environment", delegating(auth={"token": "${GATEWAY_TOKEN}"}), {AUTH, TOKEN}),
    (
        "a token kept elsewhere",
        delegating(auth={"token": {"source": "env", "provider": "p", "id": "T"}}),
        {AUTH, TOKEN},
    ),
    ("a blank token", delegating(auth={"token": " "}), {AUTH}),
    ("a password beside", delegating(auth={"password": SECRET}), {AUTH, PASSWORD}),
    ("both beside", delegating(auth={"password": SECRET, "token": SECRET}), {AUTH, TOKEN, PASSWORD}),
    # Not delegated: what is of delegation is not told.
    ("nothing but loopback", {}, {MISSING}),
    ("nothing but loopback, without the UI", {"controlUi": {"enabled": False}}, set()),
    ("token on loopback", token(), {MISSING}),
    ("token on loopback behind a proxy", token(trustedProxies=["127.0.0.1"]), set()),
    ("token on loopback, without the UI", token(controlUi={"enabled": False}), set()),
    ("none on loopback", {"auth": {"mode": "none"}, "trustedProxies": ["127.0.0.1"]}, set()),
    ("rules that are not used", token(auth={"mode": "token", "token": SECRET, "trustedProxy": {}}), {MISSING}),
    *((f"none on {bind}", {"bind": bind, "auth": {"mode": "none"}, "controlUi": UI}, {NO_AUTH}) for bind in BINDS),
    *((f"no auth on {bind}", {"bind": bind, "controlUi": UI}, {NO_AUTH}) for bind in BINDS),
    *((f"token on {bind}", token(bind=bind, controlUi=UI), set()) for bind in BINDS),
    *((f"no origins on {bind}", token(bind=bind), {ORIGINS}) for bind in BINDS),
    *((f"delegated on {bind}", delegating(bind=bind), {AUTH}) for bind in BINDS),
    ("none with a token", {"bind": "lan", "auth": {"mode": "none", "token": SECRET}, "controlUi": UI}, {NO_AUTH}),
    ("token without one", {"bind": "lan", "auth": {"mode": "token"}, "controlUi": UI}, {NO_AUTH}),
    (
        "token with a password",
        {"bind": "lan", "auth": {"mode": "token", "password": SECRET}, "controlUi": UI},
        {NO_AUTH},
    ),
    ("password", {"bind": "lan", "auth": {"mode": "password", "password": SECRET}, "controlUi": UI}, set()),
    ("password without one", {"bind": "lan", "auth": {"mode": "password", "password": ""}, "controlUi": UI}, {NO_AUTH}),
    ("a token and no mode", {"bind": "lan", "auth": {"token": SECRET}, "controlUi": UI}, set()),
    ("a password and no mode", {"bind": "lan", "auth": {"password": "${PASSWORD}"}, "controlUi": UI}, set()),
    # The Control UI.
    ("no origins", delegating(controlUi={}), {AUTH, ORIGINS}),
    ("blank origins", delegating(controlUi={"allowedOrigins": [" ", ""]}), {AUTH, ORIGINS}),
    ("no origins on loopback", delegating(controlUi={}, bind="loopback"), {AUTH}),
    ("no origins without the UI", delegating(controlUi={"enabled": False}), {AUTH}),
    ("every origin", delegating(controlUi={"allowedOrigins": ["*"]}), {AUTH, ANY_ORIGIN}),
    (
        "every origin on loopback",
        delegating(controlUi={"allowedOrigins": [" * "]}, bind="loopback"),
        {AUTH, ANY_ORIGIN},
    ),
    (
        "the Host's origin",
        delegating(controlUi={"dangerouslyAllowHostHeaderOriginFallback": True}),
        {AUTH, HOST_ORIGIN},
    ),
    # What is wrong.
    ("a path in an origin", delegating(controlUi={"allowedOrigins": ["https://a.example/ui"]}), {AUTH, NO_ORIGIN}),
    ("a host as an origin", delegating(controlUi={"allowedOrigins": ["gateway.example.com"]}), {AUTH, NO_ORIGIN}),
    ("a proxy as a number", delegating(trustedProxies=[7]), {AUTH, INVALID}),
    ("proxies as text", delegating(trustedProxies="10.0.0.7"), {AUTH, INVALID, NO_PROXIES}),
    ("rules as a list", delegating(auth={"trustedProxy": []}), {AUTH, INVALID, NO_HEADER, NO_LIST, NOTHING_REQUIRED}),
    ("a user header as a number", delegating({"userHeader": 7}), {AUTH, INVALID, NO_HEADER}),
    ("a mode that is not known", {"auth": {"mode": "oauth"}, "trustedProxies": ["127.0.0.1"]}, {INVALID}),
    ("a mode as a number", {"auth": {"mode": 1}, "trustedProxies": ["127.0.0.1"]}, {INVALID}),
    ("a bind that is not known", token(bind="0.0.0.0", controlUi=UI), {INVALID}),
    ("yes in words", delegating(allowRealIpFallback="true"), {AUTH, INVALID}),
    ("auth as text", {"auth": "none", "bind": "lan", "controlUi": UI}, {INVALID, NO_AUTH}),
    # What stands in the environment.
    ("a proxy in the environment", delegating(trustedProxies=["${PROXY_IP}"]), {AUTH, REFERENCE}),
    ("a user in the environment", delegating({"allowUsers": ["${ME}"]}), {AUTH, REFERENCE}),
    ("a user header in the environment", delegating({"userHeader": "${USER_HEADER}"}), {AUTH, REFERENCE}),
    ("an origin in the environment", delegating(controlUi={"allowedOrigins": ["${ORIGIN}"]}), {AUTH, REFERENCE}),
    ("a bind in the environment", token(bind="${BIND}", controlUi=UI), {REFERENCE}),
    (
        "a proxy in the environment may be any",
        delegating(trustedProxies=["127.0.0.1", "${IP}"], allowRealIpFallback=True),
        {AUTH, REFERENCE, REAL_IP},
    ),
]

# Of what only an openclaw.json can have; the others are the same as in extauthz.yaml.
OWN_SEVERITIES = {
    ORIGINS: "critical",
    MISSING: "warn",
    NO_AUTH: "critical",
    TOKEN: "critical",
    PASSWORD: "warn",
    INVALID: "critical",
    REFERENCE: "warn",
    NO_ORIGIN: "warn",
}

SURPRISING = [
    *("not-an-ip", "10.0.0.0/33", "10.0/16", "0x0a000000/8", "010.0.0.0/8", "10.0.0.0/255.255.255.0"),
    *("localhost", "*", "", " ", "10.0.0.1:443", "10.0.0.1-10.0.0.9", "[2001:db8::]/32"),
]


def audited(tmp_path: Path, gateway: Any) -> list[Finding]:
    file = tmp_path / "openclaw.json"
    file.write_text(json.dumps({"gateway": gateway, "agents": {"apiKey": SECRET}}), encoding="utf-8")
    findings = audit_openclaw(read(file))
    assert SECRET not in str(findings)
    return findings


@pytest.mark.parametrize(("gateway", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_configuration_in_ids_out(tmp_path: Path, gateway: dict[str, Any], expected: set[str]) -> None:
    findings = audited(tmp_path, gateway)
    assert sorted(ids(findings)) == sorted(expected)
    assert {finding.gateway for finding in findings} <= {"openclaw"}


@pytest.mark.parametrize("entry", SURPRISING, ids=repr)
def test_entry_that_is_skipped_silently_or_read_in_a_surprising_way_is_told(tmp_path: Path, entry: str) -> None:
    findings = audited(tmp_path, delegating(trustedProxies=["10.0.0.7", entry]))
    assert sorted(ids(findings)) == sorted([AUTH, NO_ADDRESS])
    assert "gateway.trustedProxies[1]" in the(NO_ADDRESS, findings).seen


@pytest.mark.parametrize(
    ("entries", "severity"),
    [
        (["127.0.0.1", "::1"], "warn"),
        (["10.0.0.7"], "critical"),
        (["127.0.0.1", "${IP}"], "critical"),
        (["127.0.0.1", "x"], "critical"),
        (["127.0.0.1", 7], "critical"),
        ("127.0.0.1", "critical"),
    ],
    ids=str,
)
def test_real_ip_weighs_less_only_where_every_proxy_is_exactly_loopback(
    tmp_path: Path, entries: Any, severity: str
) -> None:
    findings = audited(tmp_path, delegating(trustedProxies=entries, allowRealIpFallback=True))
    assert the(REAL_IP, findings).severity == severity


@pytest.mark.parametrize(
    ("gateway", "id_", "places", "cure"),
    [
        (delegating(), AUTH, ["gateway.auth.mode", "10.0.0.7"], "trustedProxies"),
        (delegating(auth={"token": SECRET}), TOKEN, ["gateway.auth.token"], "Remove auth.token"),
        (delegating(auth={"password": SECRET}), PASSWORD, ["gateway.auth.password"], "Remove auth.password"),
        ({"bind": "lan", "auth": {"mode": "none"}}, NO_AUTH, ["gateway.bind is 'lan'", "'none'"], "loopback"),
        ({"bind": "lan"}, NO_AUTH, ["gateway.bind is 'lan'", "no token or password"], "loopback"),
        ({}, MISSING, ["gateway.trustedProxies", "gateway.bind is loopback"], "trustedProxies"),
        (token(bind="auto"), ORIGINS, ["gateway.bind is 'auto'", "gateway.controlUi.allowedOrigins"], "https://"),
        (
            delegating(controlUi={"allowedOrigins": ["https://a.example", "https://b.example/"]}),
            NO_ORIGIN,
            ["gateway.controlUi.allowedOrigins[1] is 'https://b.example/'"],
            "scheme://host",
        ),
        (delegating(trustedProxies=["10.0/16"]), NO_ADDRESS, ["gateway.trustedProxies[0]", "10.0"], "canonical"),
        (delegating(bind=7), INVALID, ["gateway.bind is a number, and text is wanted"], "audit again"),
        (
            delegating(auth={"mode": "magic"}),
            INVALID,
            ["gateway.auth.mode is 'magic'", "trusted-proxy"],
            "audit again",
        ),
        (delegating(trustedProxies=["${IP}"]), REFERENCE, ["gateway.trustedProxies[0] is '${IP}'"], "copy of the file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_finding_names_the_place_and_the_cure(
    tmp_path: Path, gateway: dict[str, Any], id_: str, places: list[str], cure: str
) -> None:
    finding = the(id_, audited(tmp_path, gateway))
    for place in places:
        assert place in finding.seen
    assert cure in finding.do


def test_severities_are_those_of_the_rules(tmp_path: Path) -> None:
    told = {finding.id: finding.severity.value for _, gateway, _ in CASES for finding in audited(tmp_path, gateway)}
    assert {id_: severity for id_, severity in told.items() if id_ in OWN_SEVERITIES} == OWN_SEVERITIES


def test_included_gateway_is_audited(tmp_path: Path) -> None:
    (tmp_path / "gateway.json5").write_text("{bind: 'lan', auth: {mode: 'none'}, // all of it\n}", encoding="utf-8")
    file = tmp_path / "openclaw.json"
    file.write_text('{gateway: {$include: "./gateway.json5"}}', encoding="utf-8")
    assert sorted(ids(audit_openclaw(read(file)))) == sorted([NO_AUTH, ORIGINS])
