"""The configurations that users start from load, and mean what is said of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cases.build import GATEWAY, gateway, load_gateways, text_of
from extauthz.config.compile import compile_policy
from extauthz.config.load import load, loads

EXAMPLE = Path(__file__).parents[2] / "config" / "extauthz.yaml"

# Every key of the schema with the default that users are told, as the specification has it. Without tls, whose files
# are not there.
WHOLE = """
listen:
  grpc: 127.0.0.1:9191
  http: 127.0.0.1:9192
  admin: 127.0.0.1:9193
callers:
  addresses: [127.0.0.0/8, "::1", unix]
  principals: []
server: {engine: grpcio, drainSeconds: 10, maxConcurrent: 1000}
limits: {messageBytes: 1048576, headers: 200, headerBytes: 16384}
stamp:
  enabled: true
  issuer: extauthz
  algorithm: ES256
  keys: ./keys
  generateKeys: true
  lifetime: 60s
  bind: [method, host]
  reuse: 5s
headers: {user: x-authz-user, gateway: x-authz-gateway, decision: x-authz-decision, stamp: x-authz-stamp}
denial: {body: json, reason: true}
decisionLog: {output: stdout, allows: 1.0, redact: [cookie, authorization]}
admin: {tokenFile: null}
mode: enforce
accepted: []
gateways:
  openclaw:
    hosts: [gateway.example.com, "*.claw.example.com"]
    callers: {addresses: [10.1.0.4]}
    peer: source
    ruleset: standard
    mode: enforce
    trustedProxies: [10.0.0.7, 10.0.1.0/28]
    auth:
      mode: trusted-proxy
      trustedProxy:
        userHeader: x-forwarded-user
        requiredHeaders: [x-forwarded-proto, x-forwarded-host]
        allowUsers: [nick@example.com]
"""


def test_whole_example_loads() -> None:
    loaded = loads(WHOLE)
    assert not loaded.incomplete
    compiled = compile_policy(loaded).gateways["openclaw"]
    assert [str(entry) for entry in compiled.trusted_proxies.entries] == ["10.0.0.7", "10.0.1.0/28"]
    assert compiled.allow_users == {"nick@example.com"}


def test_defaults_are_those_of_the_example() -> None:
    written, minimal = loads(WHOLE).settings, load_gateways({"openclaw": GATEWAY}).settings
    for section in type(written).model_fields:
        if section not in {"gateways", "tls"}:
            assert getattr(minimal, section) == getattr(written, section), section


def test_gateways_alone_are_a_file() -> None:
    loaded = loads(text_of({"gateways": {"g": GATEWAY}}))
    assert loaded.incomplete == ()
    assert loaded.notices == ()


def test_commented_example_loads_without_a_word() -> None:
    loaded = load(EXAMPLE)
    assert loaded.incomplete == ()
    assert set(compile_policy(loaded).gateways) == {"openclaw", "research"}


def test_openclaws_own_gateway_object_can_be_pasted() -> None:
    pasted: dict[str, Any] = {
        "trustedProxies": ["10.0.0.7", "::1"],
        "allowRealIpFallback": True,
        "auth": {
            "mode": "trusted-proxy",
            "trustedProxy": {
                "userHeader": "x-forwarded-user",
                "requiredHeaders": ["x-forwarded-proto"],
                "allowUsers": [],
                "allowLoopback": True,
            },
        },
        "controlUi": {"allowedOrigins": ["*"], "dangerouslyAllowHostHeaderOriginFallback": True},
    }
    compiled = compile_policy(load_gateways({"g": pasted})).gateways["g"]
    assert compiled.allow_real_ip_fallback
    assert compiled.any_origin
    assert compiled.host_origin_fallback


@pytest.mark.parametrize("ruleset", ["standard", "openclaw-2026.2", "openclaw-2026.9"])
@pytest.mark.parametrize("given", [None, True, False])
def test_loopback_default_is_the_rulesets(ruleset: str, given: bool | None) -> None:
    config = gateway({} if given is None else {"allowLoopback": given}, ruleset=ruleset)
    compiled = compile_policy(load_gateways({"g": config})).gateways["g"]
    assert compiled.allow_loopback == (ruleset != "openclaw-2026.9" if given is None else given)


def test_paths_are_relative_to_the_file_and_not_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "extauthz.yaml").write_text(WHOLE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    loaded = load(Path("etc/extauthz.yaml"))
    assert loaded.path(loaded.settings.stamp.keys).resolve() == (folder / "keys").resolve()
    assert loaded.path("/run/keys") == Path("/run/keys")


def test_overrides_take_the_place_of_the_files_addresses_alone() -> None:
    loaded = loads(WHOLE, overrides={"listen": {"grpc": ["127.0.0.1:0", "[::1]:0"]}})
    assert loaded.settings.listen.grpc == ["127.0.0.1:0", "[::1]:0"]
    assert loaded.settings.listen.admin == ["127.0.0.1:9193"]
    alone = loads(text_of({"gateways": {"g": GATEWAY}}), overrides={"listen": {"http": ["127.0.0.1:1"]}})
    assert alone.settings.listen.http == ["127.0.0.1:1"]


def test_every_gateways_own_names_and_the_services_are_protected() -> None:
    sections = {"headers": {"user": " X-Id ", "stamp": "x-sig"}}
    compiled = compile_policy(load_gateways({"g": gateway({"userHeader": "X-Me"})}, **sections)).gateways["g"]
    assert compiled.protected == {"x-id", "x-authz-gateway", "x-authz-decision", "x-sig", "x-me"}


def test_large_files_load() -> None:
    users = [f"user-{number}@example.com" for number in range(100_000)]
    many = {f"g{number}": gateway(hosts=[f"g{number}.example.com"]) for number in range(1_000)}
    policy = compile_policy(
        load_gateways({**many, "large": gateway({"allowUsers": users}, hosts=["large.example.com"])})
    )
    assert len(policy.gateways) == 1_001
    assert len(policy.gateways["large"].allow_users) == 100_000


def test_whole_example_is_yaml_that_others_read_alike() -> None:
    data = yaml.safe_load(WHOLE)
    assert loads(text_of(data)).settings == loads(WHOLE).settings
