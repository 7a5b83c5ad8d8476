"""No secret of an openclaw.json is printed or written by `extauthz migrate`, wherever in the file it stands."""

import json
from pathlib import Path
from typing import Any

import pytest

from migrate.migrating import COMPLETE, RULES, TRUSTED_PROXY, migrate

SECRET = "hunter2S3CR3T"

# Everywhere where OpenClaw keeps a secret, where one could be by mistake, and where nobody knows of one yet.
_PLACES: list[dict[str, Any]] = [
    {"gateway": {"auth": {"token": SECRET}}},
    {"gateway": {"auth": {"password": SECRET}}},
    {"gateway": {"auth": {"mode": "token", "token": {"source": "env", "value": SECRET}}}},
    {"gateway": {"auth": {"token": f"{SECRET}${{TOKEN}}"}}},
    {"gateway": {"auth": {"token": [SECRET]}}},
    {"gateway": {"auth": {"sessionKey": SECRET, "pin": 4815162342}}},
    {"gateway": {"remote": {"token": SECRET, "password": SECRET}}},
    {"gateway": {"remote": {"url": f"wss://nick:{SECRET}@gateway.example.com"}}},
    {"gateway": {"remote": {"url": f"wss://gateway.example.com/?token={SECRET}"}}},
    {"gateway": {"push": {"apns": {"relay": {"baseUrl": f"https://{SECRET}@relay.example.com", "key": SECRET}}}}},
    {"gateway": {"controlUi": {"github": {"token": SECRET}}}},
    {"gateway": {"tailscale": {"mode": "serve", "authKey": SECRET}}},
    {"gateway": {"tls": {"enabled": True, "key": f"-----BEGIN PRIVATE KEY-----{SECRET}", "passphrase": SECRET}}},
    {"gateway": {"auth": {"trustedProxy": {**RULES, "sharedSecret": SECRET}}}},
    {"gateway": {"auth": {"rateLimit": {"secrets": {"inner": SECRET}}}}},
    {"gateway": {"webhooks": [{"url": SECRET}, [SECRET], SECRET]}},
    {"gateway": {"http": {"endpoints": {"responses": {"files": {"apiKey": SECRET}}}}}},
    {"gateway": {"auth\u0000mode": SECRET, "auth.mode": SECRET, "port\u0000": SECRET}},
    {"gateway": {"nodes": {"pairing": {"sshVerify": {"passphrase": SECRET}}}}},
    {"gateway": {"http": {"securityHeaders": {"authorization": SECRET}}}},
    {"env": {"vars": {"OPENCLAW_GATEWAY_TOKEN": SECRET}, "OPENCLAW_GATEWAY_PASSWORD": SECRET}, "gateway": {}},
    {"hooks": {"token": SECRET}, "models": {"providers": {"x": {"apiKey": SECRET}}}, "gateway": {}},
    {"meta": {"lastTouchedVersion": SECRET}, "gateway": {}},
]


def _laid(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _laid(merged[key], value) if both else value
    return merged


def _everything() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place in _PLACES:
        found = _laid(found, place)
    return found


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD"):
        monkeypatch.setenv(name, SECRET)


@pytest.mark.parametrize(
    "mode", [{}, {"auth": {"mode": "none"}}, TRUSTED_PROXY], ids=["unset", "none", "trusted-proxy"]
)
@pytest.mark.parametrize("place", [*_PLACES, _everything()], ids=lambda place: json.dumps(place)[:60])
def test_a_secret_is_nowhere_in_what_comes_out(place: dict[str, Any], mode: dict[str, Any], tmp_path: Path) -> None:
    config = _laid(place, {"gateway": mode})
    for options in ((), ("--format", "json"), COMPLETE, (*COMPLETE, "--proxy", "envoy")):
        found = migrate(tmp_path, config, *options, "--force")
        assert SECRET not in found.said
        assert "4815162342" not in found.said
        if found.result.exit_code == 0 or "--proxy" not in options:
            assert found.files


@pytest.mark.parametrize(
    "gateway",
    [
        {"port": [SECRET]},
        {"mode": SECRET},
        {"auth": SECRET},
        {"auth": {"mode": SECRET}},
        {"auth": {"trustedProxy": SECRET}},
        {"trustedProxies": SECRET},
        {"trustedProxies": [[SECRET]]},
        {"controlUi": {"allowedOrigins": {"x": SECRET}}},
        {"controlUi": {"enabled": SECRET}},
        {"remote": SECRET},
        {"bind": {"x": SECRET}},
        {"tls": {"enabled": SECRET}},
    ],
    ids=str,
)
def test_nor_in_what_is_said_of_a_bad_file(gateway: dict[str, Any], tmp_path: Path) -> None:
    found = migrate(tmp_path, {"gateway": {"auth": {"mode": "trusted-proxy"}, **gateway}})
    assert (found.result.exit_code, found.files) == (2, [])
    assert SECRET not in found.said
    (name,) = gateway
    assert f"gateway.{name}" in found.result.stderr


def test_references_are_no_secrets_and_stay(tmp_path: Path) -> None:
    stored = {"source": "store", "provider": "default", "id": "GITHUB"}
    config = {
        "gateway": {
            "auth": {"token": "${OPENCLAW_GATEWAY_TOKEN}", "mode": "token"},
            "controlUi": {"github": {"token": stored}, "basePath": "/${BASE}"},
            "remote": {"password": "${REMOTE}"},
        }
    }
    found = migrate(tmp_path, config, *COMPLETE)
    assert found.block["controlUi"]["github"] == {"token": stored}
    assert found.block["controlUi"]["basePath"] == "/${BASE}"
    assert found.block["remote"] == {"password": "${REMOTE}"}
    assert "token" not in found.block["auth"]


def test_what_is_left_out_is_named_and_the_patch_does_not_touch_it(tmp_path: Path) -> None:
    config = {
        "gateway": {"controlUi": {"github": {"token": SECRET}}, "a b\n// {": SECRET, "auth": {"password": SECRET}}
    }
    found = migrate(tmp_path, config, *COMPLETE)
    head = (found.folder / "openclaw.gateway.json5").read_text().partition("{\n")[0]
    assert "// gateway.controlUi.github.token: left out" in head
    assert "// gateway.'a b\\n// {': left out" in head
    assert "gateway.auth.password: left out" not in head
    assert "a b\n// {" not in found.patch
    assert "github" not in json.dumps(found.patch)
    assert found.patch["auth"]["password"] is None
    assert "the token or password is taken out" in found.guide or "the password is taken out" in found.guide


def test_where_the_old_secret_must_go_too(tmp_path: Path) -> None:
    config = {
        "env": {"vars": {"MY_TOKEN": SECRET}},
        "gateway": {"auth": {"mode": "token", "token": "${MY_TOKEN}"}},
    }
    found = migrate(tmp_path, config, *COMPLETE)
    assert "unset OPENCLAW_GATEWAY_TOKEN OPENCLAW_GATEWAY_PASSWORD MY_TOKEN\n" in found.guide
    assert "`env.vars.MY_TOKEN` is set in OpenClaw's own file: take it out there" in found.guide
