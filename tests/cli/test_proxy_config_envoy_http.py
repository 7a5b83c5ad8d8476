"""`extauthz proxy-config envoy --http`: the door of each gateway in its route, and what does not go with it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from extauthz.cli import main
from support.certificates import Authority
from support.envoy import validate_envoy


def gateway(*hosts: str) -> dict[str, Any]:
    rules = {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}}
    return {"hosts": list(hosts), "trustedProxies": ["10.0.0.7"], "auth": rules}


CONFIG: dict[str, Any] = {
    "gateways": {"openclaw": gateway("claw.example.com"), "research": gateway("research.example.com")}
}
UPSTREAMS = ("--upstream", "openclaw=127.0.0.1:18789", "--upstream", "research=127.0.0.1:18790")


def run(folder: Path, *options: str, **changed: Any) -> Result:
    file = folder / "extauthz.yaml"
    file.write_text(yaml.safe_dump({**CONFIG, **changed}), encoding="utf-8")
    argv = ["proxy-config", "envoy", "--http", "--config", str(file), *UPSTREAMS, *options]
    return CliRunner().invoke(main, argv)


def written(folder: Path, *options: str, **changed: Any) -> dict[str, Any]:
    result = run(folder, *options, **changed)
    assert result.exit_code == 0, result.output
    assert validate_envoy(result.stdout, folder) is None
    found: dict[str, Any] = yaml.safe_load(result.stdout)
    return found


def addresses(config: dict[str, Any]) -> list[tuple[str, int]]:
    (cluster,) = [one for one in config["static_resources"]["clusters"] if one["name"] == "extauthz"]
    (group,) = cluster["load_assignment"]["endpoints"]
    places = [one["endpoint"]["address"]["socket_address"] for one in group["lb_endpoints"]]
    return [(place["address"], place["port_value"]) for place in places]


def test_each_route_has_the_door_of_its_gateway(tmp_path: Path) -> None:
    config = written(tmp_path)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    doors = {}
    for host in manager["route_config"]["virtual_hosts"]:
        (check,) = host["typed_per_filter_config"].values()
        doors[host["domains"][0]] = check["check_settings"]["http_service"]["path_prefix"]
    assert doors == {
        "claw.example.com": "/forward-auth/envoy/openclaw",
        "research.example.com": "/forward-auth/envoy/research",
    }
    assert addresses(config) == [("127.0.0.1", 9192)]


def test_the_files_http_address_is_asked_or_those_that_are_given(tmp_path: Path) -> None:
    listen = {"grpc": "127.0.0.1:9991", "http": ["127.0.0.1:9992", "127.0.0.1:9993"]}
    assert addresses(written(tmp_path, listen=listen)) == [("127.0.0.1", 9992), ("127.0.0.1", 9993)]
    given = written(tmp_path, "--extauthz", "10.0.0.5:80", listen=listen)
    assert addresses(given) == [("10.0.0.5", 80)]


def test_an_address_that_is_none_is_named_with_its_place_in_the_file(tmp_path: Path) -> None:
    result = run(tmp_path, listen={"http": "0.0.0.0:9192"})
    assert result.exit_code == 2
    assert "listen.http" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--proxy-protocol-from", "10.0.9.0/24"], "proxy_protocol_from"),
        (["--extauthz-ca", "/ca.pem"], "--extauthz-ca"),
    ],
)
def test_what_only_goes_over_grpc_is_refused(tmp_path: Path, options: list[str], told: str) -> None:
    result = run(tmp_path, *options)
    assert result.exit_code == 2
    assert told in result.stderr


def test_tls_of_the_grpc_door_is_no_matter(tmp_path: Path) -> None:
    # The HTTP doors have none, whatever the file says for gRPC.
    authority = Authority(tmp_path)
    pair = authority.issue("extauthz", dns="extauthz.internal")
    tls = {"certificate": str(pair.certificate), "privateKey": str(pair.private_key)}
    config = written(tmp_path, tls=tls)
    (cluster,) = [one for one in config["static_resources"]["clusters"] if one["name"] == "extauthz"]
    assert "transport_socket" not in cluster
