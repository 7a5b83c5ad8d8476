"""`extauthz migrate`: our file. It loads, decides as OpenClaw did, and what nobody said denies everything."""

import json
from pathlib import Path
from typing import Any

import pytest

from cases.corpus import RULESETS, Case, cases
from extauthz.config.compile import compile_policy
from extauthz.config.load import load
from extauthz.core.address import parse_address
from extauthz.explaining import explain_request
from migrate.migrating import COMPLETE, RULES, TRUSTED_PROXY, migrate

AUTH: dict[str, str] = {
    "token": "{mode: 'token', token: '${OPENCLAW_GATEWAY_TOKEN}'}",
    "password": '{"mode": "password", "password": {source: "env", provider: "default", id: "PASSWORD"}, }',
    "none": "{mode: 'none'}",
    "unset": "{}",
    "trusted-proxy": "{mode: 'trusted-proxy', trustedProxy: {userHeader: 'x-forwarded-user', allowUsers: ['nick@x']}}",
}
FORMS: dict[str, str] = {
    "json5": "{gateway: {auth: %s, trustedProxies: ['10.0.0.7']}}",
    "comments": "// head\n{/* inside */ gateway: {auth: %s, // end\n trustedProxies: ['10.0.0.7']}}",
    "trailing commas": "{gateway: {auth: %s, trustedProxies: ['10.0.0.7',],},}",
    "quoted keys": '{"gateway": {"auth": %s, "trustedProxies": ["10.0.0.7"]}}',
    "hexadecimal": "{gateway: {port: 0x4965, auth: %s, trustedProxies: ['10.0.0.7']}}",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("mode", AUTH)
def test_every_mode_in_every_form_gives_a_file_that_is_good(mode: str, form: str, tmp_path: Path) -> None:
    found = migrate(tmp_path, form % AUTH[mode], *COMPLETE)
    assert found.result.exit_code == 0, found.result.output
    assert found.run("check").exit_code == 0
    rules = found.ours["auth"]["trustedProxy"]
    assert found.ours["trustedProxies"] == ["10.0.0.7"]
    assert (rules["userHeader"], rules["allowUsers"]) == ("x-forwarded-user", ["nick@example.com"])
    assert found.ours["mode"] == ("enforce" if mode == "none" else "shadow")
    assert found.ours["ruleset"] == ("openclaw-2026.9" if mode == "trusted-proxy" else "standard")


@pytest.mark.parametrize("mode", ["token", "password", "none", "unset"])
def test_what_the_file_cannot_say_is_open_and_check_names_the_same_places(mode: str, tmp_path: Path) -> None:
    found = migrate(tmp_path, FORMS["json5"] % AUTH[mode], "--format", "json")
    assert found.result.exit_code == 1
    opened = [note["path"] for note in json.loads(found.result.stdout)["open"]]
    assert opened == ["trustedProxies", "auth.trustedProxy.userHeader", "auth.trustedProxy.allowUsers"]
    checked = found.run("check", "--format", "json")
    assert checked.exit_code == 1
    errors = {error["path"].removeprefix("gateways.openclaw.") for error in json.loads(checked.stdout)["errors"]}
    # A list of users is never missing: it names somebody who cannot exist.
    assert errors == set(opened) - {"auth.trustedProxy.allowUsers"}
    assert found.ours["mode"] == "enforce"
    text = (found.folder / "extauthz.yaml").read_text()
    assert [path for path in opened if f"# TO FILL IN  gateways.openclaw.{path}: " in text] == opened


@pytest.mark.parametrize("left", range(3))
def test_one_open_place_is_enough_to_deny_everybody(left: int, tmp_path: Path) -> None:
    said = [COMPLETE[2 * at : 2 * at + 2] for at in range(3) if at != left]
    found = migrate(tmp_path, "{gateway: {auth: {token: 'x'}}}", *(word for option in said for word in option))
    assert found.result.exit_code == 1
    for peer in ("10.0.0.7", "127.0.0.1"):
        for user in ("nick@example.com", "eve@example.com", ""):
            explained = found.explained(peer, {"x-forwarded-user": user, "x-forwarded-for": "203.0.113.10"})
            assert not explained["allowed"]
            assert "shadow" not in explained["hint"]


def test_proxies_that_said_where_clients_are_do_not_begin_to_say_who_they_are(tmp_path: Path) -> None:
    prepared = "{gateway: {trustedProxies: ['10.0.0.9'], auth: {mode: 'token', trustedProxy: {userHeader: 'x-old'}}}}"
    found = migrate(tmp_path, prepared)
    assert found.ours["trustedProxies"] == []
    assert found.ours["auth"]["trustedProxy"]["userHeader"] == ""
    assert "x-old" not in found.said
    assert "`gateway.trustedProxies` is not taken over" in found.guide


def test_everyone_is_let_in_only_where_somebody_says_so(tmp_path: Path) -> None:
    options = [*COMPLETE[:4], "--allow-everyone"]
    assert migrate(tmp_path, "{gateway: {}}", *options).ours["auth"]["trustedProxy"]["allowUsers"] == []
    both = migrate(tmp_path, "{gateway: {}}", *COMPLETE, "--allow-everyone", "--force")
    assert (both.result.exit_code, "only one of them" in both.result.stderr) == (2, True)


# --- as OpenClaw decided --------------------------------------------------------------------------------------------

_OPENCLAWS_OWN = {"trustedProxies", "allowRealIpFallback", "auth", "controlUi", "localInterfaces", "ruleset"}


def _openclaws(case: Case) -> bool:
    """Whether a case has nothing that only extauthz knows, and nothing that is refused or left open."""
    rules = (case.gateway.get("auth") or {}).get("trustedProxy") or {}
    return (
        case.gateway.keys() <= _OPENCLAWS_OWN
        and "allowCommaInUser" not in rules
        and bool(case.gateway.get("trustedProxies"))
        and bool(str(rules.get("userHeader") or "").strip())
        and not isinstance(case.gateway.get("localInterfaces"), str)
    )


CASES = [case for case in cases() if _openclaws(case) and not case.name.endswith(f"/{RULESETS[0]}")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_openclaw_decided_is_decided_alike(case: Case, tmp_path: Path) -> None:
    ruleset = case.gateway["ruleset"]
    gateway = {key: value for key, value in case.gateway.items() if key not in {"ruleset", "localInterfaces"}}
    release = {"openclaw-2026.2": "2026.2.17", "openclaw-2026.9": "2026.9.6"}[ruleset]
    found = migrate(tmp_path, {"meta": {"lastTouchedVersion": release}, "gateway": gateway})
    assert found.result.exit_code == 0, found.result.output
    assert found.ours["ruleset"] == ruleset
    own = frozenset(filter(None, map(parse_address, case.gateway.get("localInterfaces", []))))
    policy = compile_policy(load(found.folder / "extauthz.yaml"), interfaces=lambda: own)
    explained = explain_request(policy, {"gateway": "openclaw", **case.request})
    assert (explained["reason"], explained["user"]) == (case.exact.reason, case.exact.user)


def test_there_are_such_cases() -> None:
    assert len(CASES) > 100


# --- entries that OpenClaw reads otherwise --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry", ["not-an-ip", "10.0.0.0/33", "10.0/16", "0x0a000000/8", "010.0.0.0/8", "localhost", "*"]
)
def test_entries_that_are_refused_are_left_out_and_named(entry: str, tmp_path: Path) -> None:
    found = migrate(tmp_path, {"gateway": {**TRUSTED_PROXY, "trustedProxies": ["10.0.0.7", entry]}})
    assert found.result.exit_code == 0
    assert found.ours["trustedProxies"] == ["10.0.0.7"]
    assert f"`gateway.trustedProxies[1]` left out: '{entry}'" in found.guide
    assert "--trusted-proxy ADDR" in found.guide


def test_where_none_can_be_used_the_place_is_open(tmp_path: Path) -> None:
    found = migrate(tmp_path, {"gateway": {**TRUSTED_PROXY, "trustedProxies": ["${PROXY}", "localhost"]}})
    assert (found.result.exit_code, found.ours["trustedProxies"]) == (1, [])
    assert "what ${PROXY} is, OpenClaw alone knows" in found.guide


def test_references_in_the_list_of_users_are_never_an_empty_list(tmp_path: Path) -> None:
    rules = {**RULES, "allowUsers": ["${ADMIN}"], "requiredHeaders": ["${HEADER}"], "userHeader": "${USER_HEADER}"}
    found = migrate(tmp_path, {"gateway": {**TRUSTED_PROXY, "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}})
    assert found.result.exit_code == 1
    assert found.ours["mode"] == "enforce"
    ours = found.ours["auth"]["trustedProxy"]
    assert (ours["allowUsers"], ours["requiredHeaders"], ours["userHeader"]) == (["${ADMIN}"], ["${HEADER}"], "")
    assert found.block["auth"]["trustedProxy"]["allowUsers"] == ["${ADMIN}"]
    for path in ("userHeader", "requiredHeaders[0]", "allowUsers[0]"):
        assert f"open  auth.trustedProxy.{path}: " in found.result.stderr
    assert "--user-header NAME --required-header NAME --allow-user USER" in found.guide


@pytest.mark.parametrize(
    "line", ["a\n# b\ngateways:\n  evil: {}", "a\u2028b", "'\"\\", "\U0001f600 nick", "- x", "yes"]
)
def test_any_text_for_a_user_stays_one_user(line: str, tmp_path: Path) -> None:
    rules = {**RULES, "allowUsers": [line, f"{line}${{X}}"]}
    found = migrate(tmp_path, {"gateway": {**TRUSTED_PROXY, "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}})
    assert found.result.exit_code == 1
    assert found.ours["auth"]["trustedProxy"]["allowUsers"] == [line, f"{line}${{X}}"]
    assert found.block["auth"]["trustedProxy"]["allowUsers"] == [line, f"{line}${{X}}"]
    assert found.run("check").exit_code == 0


def test_origins(tmp_path: Path) -> None:
    def origins(*options: str, **control_ui: Any) -> Any:
        gateway = {**TRUSTED_PROXY, "publicOrigin": "https://claw.example.com", "controlUi": control_ui}
        return migrate(tmp_path, {"gateway": gateway}, "--force", *options).ours.get("controlUi", {})

    assert origins() == {"allowedOrigins": ["https://claw.example.com"]}
    assert origins("--host", "a.example.com") == {"allowedOrigins": ["https://a.example.com"]}
    assert origins("--origin", "https://b.example.com") == {"allowedOrigins": ["https://b.example.com"]}
    assert origins(allowedOrigins=["https://c.example.com", "nonsense"]) == {
        "allowedOrigins": ["https://c.example.com"]
    }
    assert origins(enabled=False) == {}
    fallback = {"dangerouslyAllowHostHeaderOriginFallback": True}
    assert origins(**fallback) == fallback


def test_a_list_of_origins_never_becomes_empty_for_that_would_ask_nothing(tmp_path: Path) -> None:
    config = {"gateway": {**TRUSTED_PROXY, "controlUi": {"allowedOrigins": ["gateway.example.com", "${ORIGIN}"]}}}
    found = migrate(tmp_path, config)
    assert (found.result.exit_code, found.files) == (2, [])
    for told in ("allowedOrigins[0]", "allowedOrigins[1]", "--origin ORIGIN"):
        assert told in found.result.stderr


def test_hosts_are_those_that_people_use(tmp_path: Path) -> None:
    def hosts(origin: str, *options: str) -> Any:
        gateway = {**TRUSTED_PROXY, "publicOrigin": origin}
        return migrate(tmp_path, {"gateway": gateway}, "--force", *options).ours.get("hosts")

    assert hosts("https://claw.example.com") == ["claw.example.com"]
    assert hosts("https://claw.example.com:8443") == ["claw.example.com"]
    assert [hosts("http://127.0.0.1:18789"), hosts("https://10.0.0.1"), hosts("https://["), hosts("https://l")] == [
        None
    ] * 4
    assert hosts("https://a.example.com", "--host", "b.example.com") == ["b.example.com"]


def test_loopback_is_refused_as_openclaw_refused_it(tmp_path: Path) -> None:
    found = migrate(tmp_path, {"gateway": {**TRUSTED_PROXY, "trustedProxies": ["127.0.0.1"]}})
    headers = {"x-forwarded-user": "nick@example.com", "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.10"}
    assert found.explained("127.0.0.1", headers)["reason"] == "trusted_proxy_loopback_source"
    assert "requests from 127.0.0.1 are refused" in found.guide


def test_another_ruleset_can_be_chosen(tmp_path: Path) -> None:
    found = migrate(tmp_path, {"gateway": TRUSTED_PROXY}, "--ruleset", "standard", "--gateway", "claw")
    assert found.ours["ruleset"] == "standard"
    assert "localInterfaces" not in found.ours
    assert found.run("explain", "--gateway", "claw", "--peer", "192.0.2.1").exit_code == 1
