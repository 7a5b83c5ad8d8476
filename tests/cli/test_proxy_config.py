"""`extauthz proxy-config envoy`: the real Envoy takes what it writes, and what it refuses it refuses with the cure."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from extauthz.cli import main
from support.certificates import Authority
from support.envoy import validate_envoy

RULES = {"mode": "trusted-proxy", "trustedProxy": {"userHeader": " X-Forwarded-User ", "allowUsers": ["nick"]}}
OPENCLAW: dict[str, Any] = {"hosts": ["claw.example.com", "*.claw.example.com"], "trustedProxies": ["10.0.0.7"]}
OPENCLAW["auth"] = RULES
RESEARCH: dict[str, Any] = {**OPENCLAW, "hosts": ["research.example.com"]}
RESEARCH["auth"] = {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-email"}}
PLAIN: dict[str, Any] = {"gateways": {"openclaw": {**OPENCLAW, "hosts": []}}}
BOTH: dict[str, Any] = {"gateways": {"openclaw": OPENCLAW, "research": RESEARCH}}
UP = "--upstream=openclaw=127.0.0.1:18789"
UP2 = "--upstream=research=10.0.0.9:80"


def run(folder: Path, config: dict[str, Any], *options: str) -> Result:
    file = folder / "extauthz.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return CliRunner().invoke(main, ["proxy-config", "envoy", "--config", str(file), *options])


def written(folder: Path, config: dict[str, Any], *options: str) -> dict[str, Any]:
    """Return the configuration as data, once the real Envoy has accepted it."""
    result = run(folder, config, *options)
    assert result.exit_code == 0, result.output
    assert validate_envoy(result.stdout, folder) is None
    found: dict[str, Any] = yaml.safe_load(result.stdout)
    return found


def connections(config: dict[str, Any]) -> dict[str, Any]:
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    found: dict[str, Any] = chain["filters"][0]["typed_config"]
    return found


def hosts(config: dict[str, Any]) -> dict[str, list[str]]:
    """Return the domains by the gateway that their route names."""
    found = {}
    for host in connections(config)["route_config"]["virtual_hosts"]:
        (check,) = host["typed_per_filter_config"].values()
        found[check["check_settings"]["context_extensions"]["gateway"]] = host["domains"]
    return found


def cluster(config: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in config["static_resources"]["clusters"] if one["name"].endswith(name))
    return found


def endpoints(config: dict[str, Any], name: str) -> list[str]:
    (group,) = cluster(config, name)["load_assignment"]["endpoints"]
    found = []
    for one in group["lb_endpoints"]:
        address = one["endpoint"]["address"]
        place = address.get("socket_address")
        found.append(f"{place['address']}:{place['port_value']}" if place else address["pipe"]["path"])
    return found


def settable(config: dict[str, Any]) -> str:
    """Return the expression of the names that an answer may set."""
    (authz,) = [one for one in connections(config)["http_filters"] if one["name"].endswith("ext_authz")]
    found: str = authz["typed_config"]["decoder_header_mutation_rules"]["allow_expression"]["regex"]
    return found


def test_only_gateway_takes_every_host_if_it_has_none_of_its_own(tmp_path: Path) -> None:
    config = written(tmp_path, PLAIN, UP)
    assert hosts(config) == {"openclaw": ["*"]}
    assert endpoints(config, "_openclaw") == ["127.0.0.1:18789"]
    assert endpoints(config, "extauthz") == ["127.0.0.1:9191"]
    assert "admin" not in config


def test_gateways_are_told_apart_by_their_hosts_and_named_by_the_route(tmp_path: Path) -> None:
    config = written(tmp_path, BOTH, UP, UP2)
    assert hosts(config) == {
        "openclaw": ["claw.example.com", "*.claw.example.com"],
        "research": ["research.example.com"],
    }
    assert endpoints(config, "_research") == ["10.0.0.9:80"]


def test_chosen_gateways_alone_are_written(tmp_path: Path) -> None:
    config = written(tmp_path, BOTH, UP2, "--gateway", "research")
    assert hosts(config) == {"research": ["research.example.com"]}
    assert "forwarded" not in settable(config)
    assert "email" in settable(config)


def test_default_gateway_takes_the_other_hosts(tmp_path: Path) -> None:
    config = written(tmp_path, BOTH, UP, UP2, "--default", "research")
    assert hosts(config)["research"] == ["research.example.com", "*"]


def test_answers_may_set_the_configured_names_and_every_user_header_and_nothing_else(tmp_path: Path) -> None:
    names = {"user": "X-Verified-User", "gateway": "x-claw", "decision": "x-decision", "stamp": "x-proof"}
    config = written(tmp_path, {**BOTH, "headers": names}, UP, UP2)
    found = settable(config).replace("\\", "")
    assert found == "(?:x-verified-user|x-claw|x-decision|x-proof|x-forwarded-user|x-email)"


def test_each_process_of_extauthz_has_an_endpoint(tmp_path: Path) -> None:
    config = written(tmp_path, PLAIN, UP, "--extauthz=127.0.0.1:9191", "--extauthz=unix:/run/extauthz/2.sock")
    assert endpoints(config, "extauthz") == ["127.0.0.1:9191", "/run/extauthz/2.sock"]


def test_processes_come_from_the_file_where_it_says_them(tmp_path: Path) -> None:
    listen = {"listen": {"grpc": ["127.0.0.1:9201", "[::1]:9201", "unix:/run/extauthz.sock"]}}
    config = written(tmp_path, {**PLAIN, **listen}, UP)
    assert endpoints(config, "extauthz") == ["127.0.0.1:9201", "::1:9201", "/run/extauthz.sock"]


def test_limit_of_checks_is_that_of_the_file(tmp_path: Path) -> None:
    config = written(tmp_path, {**PLAIN, "server": {"maxConcurrent": 77}}, UP)
    assert cluster(config, "extauthz")["circuit_breakers"]["thresholds"][0]["max_requests"] == 77


def test_options_reach_the_configuration(tmp_path: Path) -> None:
    options = ["--listen=[::1]:8443", "--admin=127.0.0.1:9901", "--timeout=0.25", "--trusted-hops=2"]
    options += ["--proxy-protocol-from=10.0.0.0/8", "--escaped-slashes=redirect", "--underscores=allow"]
    config = written(tmp_path, PLAIN, UP, *options)
    (listener,) = config["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 8443}
    assert listener["listener_filters"][0]["name"] == "envoy.filters.listener.proxy_protocol"
    assert config["admin"]["address"]["socket_address"]["port_value"] == 9901
    manager = connections(config)
    assert manager["xff_num_trusted_hops"] == 2
    assert manager["path_with_escaped_slashes_action"] == "UNESCAPE_AND_REDIRECT"
    assert manager["common_http_protocol_options"]["headers_with_underscores_action"] == "ALLOW"
    assert "timeout: 0.250s" in run(tmp_path, PLAIN, UP, *options).stdout


def test_tls_for_clients(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("envoy", dns="claw.example.com")
    options = [f"--tls-certificate={own.certificate}", f"--tls-key={own.private_key}"]
    config = written(tmp_path, PLAIN, UP, *options, f"--tls-client-ca={authority.certificate}")
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    assert chain["transport_socket"]["typed_config"]["require_client_certificate"] is True


def test_tls_to_extauthz_wants_a_certificate_where_the_file_asks_callers_for_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("envoy", dns="envoy.internal")
    tls = {"certificate": "c.pem", "privateKey": "k.pem", "clientCa": "ca.pem"}
    options = [f"--extauthz-ca={authority.certificate}", "--extauthz-name=authz.internal"]
    options += [f"--extauthz-certificate={own.certificate}", f"--extauthz-key={own.private_key}"]
    config = written(tmp_path, {**PLAIN, "tls": tls}, UP, *options)
    context = cluster(config, "extauthz")["transport_socket"]["typed_config"]
    assert context["sni"] == "authz.internal"
    assert context["common_tls_context"]["tls_certificates"]
    assert not run(tmp_path, {**PLAIN, "tls": tls}, UP, *options).stderr


def test_what_the_file_cannot_say_of_tls_is_a_placeholder_and_a_note(tmp_path: Path) -> None:
    tls = {"certificate": "c.pem", "privateKey": "k.pem"}
    result = run(tmp_path, {**PLAIN, "tls": tls}, UP)
    assert result.exit_code == 0
    context = cluster(yaml.safe_load(result.stdout), "extauthz")["transport_socket"]["typed_config"]
    assert context["sni"] == "extauthz.internal"
    assert "tls_certificates" not in context["common_tls_context"]
    assert "--extauthz-ca says it" in result.stderr
    assert "--extauthz-name says it" in result.stderr
    assert "--extauthz-key" not in result.stderr


def test_incomplete_gateway_is_written_and_told(tmp_path: Path) -> None:
    result = run(tmp_path, {"gateways": {"openclaw": {}}}, UP)
    assert result.exit_code == 0
    assert validate_envoy(result.stdout, tmp_path) is None
    assert "denies every request" in result.stderr


@pytest.mark.parametrize(
    ("config", "options", "told"),
    [
        (BOTH, [UP], "gateway 'research' has no upstream: say where it listens, as research=HOST:PORT"),
        (BOTH, [UP, UP2, "--gateway=claw"], "there is no gateway 'claw' in the file; there is openclaw, research"),
        (BOTH, [UP, UP2, "--gateway=openclaw"], "'research' is none of the gateways that are written"),
        (BOTH, [UP, UP2, "--upstream=clawd=127.0.0.1:1"], "'clawd' is none of the gateways that are written"),
        (BOTH, [UP, UP2, "--default=clawd"], "'clawd' is none of the gateways that are written"),
        (PLAIN, [UP, UP], "gateway 'openclaw' has two"),
        (PLAIN, ["--upstream=127.0.0.1:1"], "write ID=HOST:PORT"),
        (PLAIN, ["--upstream=openclaw=nowhere"], "the upstream of 'openclaw': 'nowhere' is refused"),
        (PLAIN, [UP, "--listen=localhost:80"], "an address to listen on"),
        (PLAIN, [UP, "--admin=0.0.0.0:9901"], "whoever reaches it rules Envoy"),
        (PLAIN, [UP, "--timeout=0"], "timeout: 0.0 is refused"),
        (PLAIN, [UP, "--extauthz=nowhere"], "extauthz: 'nowhere' is refused"),
        (PLAIN, [UP, "--tls-key=k.pem"], "--tls-certificate and --tls-key are wanted together"),
        (PLAIN, [UP, "--extauthz-ca=ca.pem"], "set `tls` in the file"),
        ({**PLAIN, "listen": {"grpc": "127.0.0.1:0"}}, [UP], "listen.grpc: 127.0.0.1:0 does not say at which address"),
        (
            {**PLAIN, "listen": {"grpc": "0.0.0.0:9191"}, "callers": {"addresses": ["10.0.0.1"]}},
            [UP],
            "listen.grpc: 0.0.0.0:9191 does not say at which address",
        ),
        ({**BOTH, "gateways": {**BOTH["gateways"], "research": {}}}, [UP, UP2], "gateways.research.hosts: is missing"),
        ({**PLAIN, "headers": {"user": "x_user"}}, [UP], "underscores: 'x_user' has one"),
        ({"gateway": {}}, [UP], "gateways"),
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
    output = tmp_path / "envoy.yaml"
    assert run(tmp_path, PLAIN, UP, f"--output={output}").exit_code == 0
    first = output.read_text(encoding="utf-8")
    assert validate_envoy(first, tmp_path) is None
    again = run(tmp_path, PLAIN, "--upstream=openclaw=127.0.0.1:1", f"--output={output}")
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert "--force" in again.stderr
    assert output.read_text(encoding="utf-8") == first
    assert run(tmp_path, PLAIN, "--upstream=openclaw=127.0.0.1:1", f"--output={output}", "--force").exit_code == 0
    assert output.read_text(encoding="utf-8") != first


def test_what_is_refused_leaves_no_file(tmp_path: Path) -> None:
    output = tmp_path / "envoy.yaml"
    assert run(tmp_path, PLAIN, f"--output={output}").exit_code == 2
    assert not output.exists()
    missing = run(tmp_path, PLAIN, UP, f"--output={tmp_path / 'no' / 'envoy.yaml'}")
    assert missing.exit_code == 2
    assert "cannot be written" in missing.stderr
