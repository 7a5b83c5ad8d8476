"""`extauthz proxy-config openclaw`: the block that OpenClaw wants, out of the file. OpenClaw itself: tests/openclaw."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from extauthz.cli import main

RULES: dict[str, Any] = {"userHeader": "X-Forwarded-User", "requiredHeaders": ["x-forwarded-proto"]}
GATEWAY: dict[str, Any] = {
    "trustedProxies": ["10.0.0.7"],
    "auth": {"mode": "trusted-proxy", "trustedProxy": {**RULES, "allowUsers": ["nick@example.com"]}},
    "controlUi": {"allowedOrigins": ["https://gateway.example.com"]},
}
ONE: dict[str, Any] = {"gateways": {"openclaw": GATEWAY}}
OPEN = {**GATEWAY, "auth": {"mode": "trusted-proxy", "trustedProxy": RULES}, "controlUi": {}}


def run(folder: Path, config: dict[str, Any], *options: str) -> Result:
    file = folder / "extauthz.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return CliRunner().invoke(main, ["proxy-config", "openclaw", "--config", str(file), *options])


def block(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert list(found) == ["gateway"]
    gateway: dict[str, Any] = found["gateway"]
    return gateway


def test_on_one_host(tmp_path: Path) -> None:
    result = run(tmp_path, ONE, "--gateway", "openclaw")
    assert block(result) == {
        "mode": "local",
        "bind": "loopback",
        "trustedProxies": ["127.0.0.1"],
        "auth": {
            "mode": "trusted-proxy",
            "trustedProxy": {
                "userHeader": "x-forwarded-user",
                "requiredHeaders": ["x-authz-stamp"],
                "allowUsers": ["nick@example.com"],
                "allowLoopback": True,
            },
        },
        "controlUi": {"allowedOrigins": ["https://gateway.example.com"]},
    }
    assert not result.stderr


def test_proxy_on_another_host_is_trusted_alone_and_loopback_is_not(tmp_path: Path) -> None:
    result = run(tmp_path, ONE, "--proxy", "10.0.0.5")
    found = block(result)
    assert found["trustedProxies"] == ["10.0.0.5"]
    assert "allowLoopback" not in found["auth"]["trustedProxy"]
    assert found["bind"] == "lan"
    assert "firewall" in result.stderr


def test_proxies_in_front_of_the_calling_one_are_never_trusted(tmp_path: Path) -> None:
    # They reach Envoy. Could they reach OpenClaw as well, they could be anyone there.
    assert "10.0.0.7" not in run(tmp_path, ONE).stdout


def test_without_a_list_of_users_or_origins_there_is_none(tmp_path: Path) -> None:
    result = run(tmp_path, {"gateways": {"openclaw": OPEN}})
    found = block(result)
    assert "allowUsers" not in found["auth"]["trustedProxy"]
    assert "controlUi" not in found
    assert "gateways.openclaw.controlUi.allowedOrigins: is missing" in result.stderr


def test_header_names_are_those_of_the_file(tmp_path: Path) -> None:
    found = block(run(tmp_path, {**ONE, "headers": {"stamp": "X-Proof", "user": "X-Verified"}}))
    assert found["auth"]["trustedProxy"]["requiredHeaders"] == ["x-proof"]
    assert found["auth"]["trustedProxy"]["userHeader"] == "x-forwarded-user"


def test_behind_a_verifying_sidecar_the_user_is_the_one_that_it_writes(tmp_path: Path) -> None:
    found = block(run(tmp_path, ONE, "--verified"))
    assert found["auth"]["trustedProxy"]["userHeader"] == "x-authz-user"


def test_host_header_fallback_is_passed_on_by_its_ugly_name(tmp_path: Path) -> None:
    name = "dangerouslyAllowHostHeaderOriginFallback"
    found = block(run(tmp_path, {"gateways": {"openclaw": {**GATEWAY, "controlUi": {name: True}}}}))
    assert found["controlUi"] == {name: True}


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1", "127.0.0.0/8"])
def test_loopback_in_every_form_is_loopback(tmp_path: Path, proxy: str) -> None:
    found = block(run(tmp_path, ONE, "--proxy", proxy))
    assert found["auth"]["trustedProxy"]["allowLoopback"] is True
    assert found["bind"] == "loopback"


def test_one_proxy_here_and_one_elsewhere(tmp_path: Path) -> None:
    found = block(run(tmp_path, ONE, "--proxy", "127.0.0.1", "--proxy", "10.0.0.5"))
    assert found["auth"]["trustedProxy"]["allowLoopback"] is True
    assert found["bind"] == "lan"


@pytest.mark.parametrize(
    ("config", "options", "told"),
    [
        (ONE, ["--gateway", "claw"], "there is no gateway 'claw' in the file; there is openclaw"),
        ({"gateways": {"a": GATEWAY, "b": GATEWAY}}, [], "--gateway: which one? The file has a, b"),
        (ONE, ["--proxy", "envoy.internal"], "the address of the proxy that calls OpenClaw: 'envoy.internal'"),
        (ONE, ["--proxy", "10.0.0.0/33"], "the prefix length must be a number"),
        ({"gateways": {"openclaw": {}}}, [], "gateways.openclaw.auth.trustedProxy.userHeader: is missing"),
        ({**ONE, "stamp": {"enabled": False}}, [], "stamp.enabled: is false"),
    ],
)
def test_what_is_missing_or_wrong_is_told_with_its_cure(
    tmp_path: Path, config: dict[str, Any], options: list[str], told: str
) -> None:
    result = run(tmp_path, config, *options)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert not result.stdout


def test_a_file_is_not_overwritten_without_force(tmp_path: Path) -> None:
    output = tmp_path / "openclaw.json"
    output.write_text("{}", encoding="utf-8")
    refused = run(tmp_path, ONE, f"--output={output}")
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert output.read_text(encoding="utf-8") == "{}"
    assert run(tmp_path, ONE, f"--output={output}", "--force").exit_code == 0
    assert "gateway" in json.loads(output.read_text(encoding="utf-8"))


def test_kinds_are_listed_with_what_they_are() -> None:
    result = CliRunner().invoke(main, ["proxy-config", "--help"])
    assert result.exit_code == 0
    assert "envoy" in result.stdout
    assert "openclaw" in result.stdout
    unknown = CliRunner().invoke(main, ["proxy-config", "haproxy"])
    assert unknown.exit_code == 2
