"""`extauthz migrate`: OpenClaw's changed block, and the patch that makes it."""

import copy
import json
from pathlib import Path
from typing import Any

import json5
import pytest

from migrate.migrating import COMPLETE, RULES, TRUSTED_PROXY, migrate, patched

FULL: dict[str, Any] = {
    "mode": "local",
    "port": 18999,
    "bind": "lan",
    "publicOrigin": "https://gateway.example.com",
    "auth": {
        "mode": "token",
        "token": "${OPENCLAW_GATEWAY_TOKEN}",
        "rateLimit": {"maxAttempts": 3, "exemptLoopback": False},
        "identityScopes": {"nick@example.com": ["operator.admin"]},
    },
    "controlUi": {"enabled": True, "basePath": "/claw", "environment": {"label": "edge", "color": "amber"}},
    "tls": {"enabled": False, "certPath": "/etc/openclaw/tls/server.crt", "keyPath": "/etc/openclaw/tls/server.key"},
    "tailscale": {"mode": "off"},
    "reload": {"mode": "hybrid"},
    "tools": {"deny": ["browser"], "allow": ["gateway"]},
    "nodes": {"pairing": {"autoApproveCidrs": ["192.168.1.0/24"], "sshVerify": {"user": "claw", "timeoutMs": 7000}}},
    "http": {"endpoints": {"responses": {"enabled": True, "files": {"urlAllowlist": ["a.example"], "maxBytes": 9}}}},
    "terminal": {"shell": "/bin/zsh"},
    "roles": {"default": "guest", "definitions": {"guest": {"sessions": {"others": "view"}, "agents": ["a"]}}},
    "remote": {"url": "ws://127.0.0.1:18789", "transport": "ssh"},
}
"""Settings of all kinds, and no secret."""

SAID_ANEW = {"mode", "bind", "auth", "controlUi", "trustedProxies"}


def test_everything_else_is_kept(tmp_path: Path) -> None:
    found = migrate(tmp_path, {"gateway": FULL}, *COMPLETE)
    block = found.block
    assert {key: value for key, value in block.items() if key not in SAID_ANEW} == {
        key: value for key, value in FULL.items() if key not in SAID_ANEW
    }
    assert block["controlUi"] == {**FULL["controlUi"], "allowedOrigins": ["https://gateway.example.com"]}
    assert block["auth"]["rateLimit"] == FULL["auth"]["rateLimit"]
    assert block["auth"]["identityScopes"] == FULL["auth"]["identityScopes"]


def test_what_openclaw_is_told_is_what_proxy_config_tells_it(tmp_path: Path) -> None:
    for number, (config, options) in enumerate(
        [
            ({"auth": {"mode": "none"}}, COMPLETE),
            (TRUSTED_PROXY, ()),
            (FULL, COMPLETE),
            (TRUSTED_PROXY, ("--proxy-address", "10.0.0.5")),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        found = migrate(tmp_path / str(number), {"gateway": config}, *options)
        told = found.run("proxy-config", "openclaw", *(["--proxy", "10.0.0.5"] if "10.0.0.5" in options else []))
        assert told.exit_code == 0, told.output
        said = json.loads(told.stdout)["gateway"]
        assert patched(found.block, said) == found.block
        assert found.block["auth"]["trustedProxy"] == said["auth"]["trustedProxy"]


@pytest.mark.parametrize(
    "gateway",
    [
        {},
        FULL,
        TRUSTED_PROXY,
        {**FULL, "auth": {**FULL["auth"], "allowTailscale": True}, "tailscale": {"mode": "serve"}},
        {**TRUSTED_PROXY, "allowRealIpFallback": True, "auth": {**TRUSTED_PROXY["auth"], "password": "x"}},
        {
            **FULL,
            "auth": {"mode": "none", "trustedProxy": RULES},
            "controlUi": {"allowedOrigins": ["https://a.example"]},
        },
        {
            "auth": {"password": {"source": "env", "provider": "default", "id": "P"}},
            "remote": {"token": "x", "url": "ws://a"},
        },
    ],
    ids=range(7),
)
def test_the_patch_makes_the_block_out_of_the_old_one(gateway: dict[str, Any], tmp_path: Path) -> None:
    before = copy.deepcopy(gateway)
    found = migrate(tmp_path, {"gateway": gateway}, *COMPLETE)
    assert found.result.exit_code == 0, found.result.output
    assert patched(before, found.patch) == found.block


def test_second_ways_in_are_gone(tmp_path: Path) -> None:
    gateway = {
        "auth": {"mode": "token", "token": "x", "password": "y", "allowTailscale": True},
        "tailscale": {"mode": "funnel", "preserveFunnel": False},
        "remote": {"token": "z", "url": "wss://elsewhere.example.com"},
        "allowRealIpFallback": True,
    }
    found = migrate(tmp_path, {"gateway": gateway}, *COMPLETE)
    block = found.block
    assert block["auth"].keys() == {"mode", "trustedProxy", "allowTailscale"}
    assert block["auth"]["allowTailscale"] is False
    assert block["tailscale"] == {"mode": "off", "preserveFunnel": False}
    assert block["remote"] == {"url": "wss://elsewhere.example.com"}
    assert "allowRealIpFallback" not in block
    for path in ("auth", "auth.allowTailscale", "tailscale.mode", "remote.token", "allowRealIpFallback"):
        assert f"- `gateway.{path}` " in found.guide


def test_what_was_dormant_stays_so(tmp_path: Path) -> None:
    approve = {"deviceAutoApprove": {"enabled": True, "scopes": ["operator.admin"]}}
    token = {"auth": {"mode": "token", "trustedProxy": {**RULES, **approve}}}
    assert "deviceAutoApprove" not in migrate(tmp_path, {"gateway": token}, *COMPLETE).block["auth"]["trustedProxy"]
    proxied = {**TRUSTED_PROXY, "auth": {"mode": "trusted-proxy", "trustedProxy": {**RULES, **approve}}}
    kept = migrate(tmp_path, {"gateway": proxied}, "--force").block["auth"]["trustedProxy"]
    assert kept["deviceAutoApprove"] == approve["deviceAutoApprove"]


def test_conflicts_are_named(tmp_path: Path) -> None:
    gateway = {
        "bind": "lan",
        "tls": {"enabled": True},
        "portals": {"ingress": {"domain": "p.example.com", "port": 18790}},
    }
    config = {"meta": {"lastTouchedVersion": "2026.2.17"}, "gateway": gateway}
    guide = migrate(tmp_path, config, *COMPLETE).guide
    for told in (
        "`gateway.bind` was `lan`, is `loopback`",
        "`gateway.tls.enabled` is kept, and does not go together",
        "`gateway.portals.ingress` is kept",
        "`gateway` is written for OpenClaw 2026.9",
        "`gateway.port` is not set: OpenClaw listens on 18789",
    ):
        assert told in guide


def test_a_proxy_elsewhere(tmp_path: Path) -> None:
    options = (*COMPLETE, "--proxy-address", "10.0.0.5")
    found = migrate(tmp_path, {"gateway": {"bind": "loopback"}}, *options)
    assert found.block["bind"] == "lan"
    assert found.block["trustedProxies"] == ["10.0.0.5"]
    assert "let a firewall admit only the proxy" in found.guide
    narrow = {"bind": "custom", "customBindHost": "10.0.0.9"}
    block = migrate(tmp_path, {"gateway": narrow}, *options, "--force").block
    assert (block["bind"], block["customBindHost"]) == ("custom", "10.0.0.9")


def test_origins_that_only_openclaw_knows_stay_in_its_block(tmp_path: Path) -> None:
    gateway = {**TRUSTED_PROXY, "controlUi": {"allowedOrigins": ["https://a.example.com", "${ORIGIN}", "rubbish"]}}
    found = migrate(tmp_path, {"gateway": gateway})
    assert found.ours["controlUi"]["allowedOrigins"] == ["https://a.example.com"]
    assert found.block["controlUi"]["allowedOrigins"] == ["https://a.example.com", "${ORIGIN}"]


def test_with_places_open_openclaw_lets_nobody_in(tmp_path: Path) -> None:
    found = migrate(tmp_path, "{gateway: {auth: {mode: 'token'}}}")
    rules = found.block["auth"]["trustedProxy"]
    assert (rules["userHeader"], rules["allowUsers"]) == ("", ["to-be-filled-in@users.invalid"])
    for name in ("openclaw.gateway.json5", "openclaw.patch.json5"):
        assert "// NOT COMPLETE" in (found.folder / name).read_text()


def test_both_files_are_json5_whatever_the_keys_are(tmp_path: Path) -> None:
    odd = {"gateway": {"x\u2028y": "s", "a\nb": "s", "auth": {"identityScopes": {"\u2029*/": ["operator.read"]}}}}
    found = migrate(tmp_path, odd, *COMPLETE)
    for name in ("openclaw.gateway.json5", "openclaw.patch.json5"):
        assert json5.loads((found.folder / name).read_text(encoding="utf-8")).keys() == {"gateway"}
    assert found.block["auth"]["identityScopes"] == {"\u2029*/": ["operator.read"]}
