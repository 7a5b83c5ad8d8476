"""Names in a cluster: the pods may ask the name servers that the file wants, and nobody else."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from click.testing import CliRunner

from cases.build import gateway
from extauthz.cli import main


def egress(folder: Path, entry: str, servers: list[str]) -> Any:
    config = {
        "callers": {"addresses": ["10.244.0.0/16"]},
        "dns": {"servers": servers},
        "gateways": {"openclaw": gateway(trustedProxies=[entry])},
    }
    file = folder / "extauthz.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    argv = ["proxy-config", "kubernetes", "--config", str(file), "--image", "extauthz:1", "--proxy", "envoy/app=envoy"]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 0, result.output
    (policy,) = (one for one in yaml.safe_load_all(result.stdout) if one["kind"] == "NetworkPolicy")
    kubernetes_validate.validate(policy, kubernetes_validate.latest_version(), strict=True)
    return policy["spec"]["egress"]


def test_without_a_name_nothing_goes_out(tmp_path: Path) -> None:
    assert egress(tmp_path, "10.0.0.7", ["10.96.0.10"]) == []


def test_names_are_asked_of_the_clusters_dns(tmp_path: Path) -> None:
    (rule,) = egress(tmp_path, "dns:traefik.ingress.svc.cluster.local.", [])
    assert rule["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert rule["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("server", "range_", "port"), [("10.96.0.10", "10.96.0.10/32", 53), ("[fd00::a]:5353", "fd00::a/128", 5353)]
)
def test_names_are_asked_of_the_servers_of_the_file_alone(tmp_path: Path, server: str, range_: str, port: int) -> None:
    (rule,) = egress(tmp_path, "dns:traefik.internal.", [server])
    assert rule["to"] == [{"ipBlock": {"cidr": range_}}]
    assert {one["port"] for one in rule["ports"]} == {port}
