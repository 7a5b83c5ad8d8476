"""config/kubernetes: what the generator prints, valid for Kubernetes, restricted, consistent, and without a secret."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from click.testing import CliRunner

from extauthz.audit.run import audit
from extauthz.cli import main
from extauthz.config.load import loads
from extauthz.proxies.kubernetes import FILES, PRE_STOP_SECONDS

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "config" / "kubernetes"
# As it stands in docs/kubernetes.md.
COMMAND = (
    f"proxy-config kubernetes --config {ROOT / 'config' / 'extauthz.yaml'} --image registry.example.com/extauthz:1.0.0 "
    "--proxy envoy/app=envoy --caller 10.244.0.0/16 --monitoring monitoring/app.kubernetes.io/name=prometheus"
)
# The oldest has preStop's `sleep` switched on; the newest is what the package has.
VERSIONS = [f"1.{minor}" for minor in range(30, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]

GATEWAY: dict[str, Any] = {
    "trustedProxies": ["10.0.0.7"],
    "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}},
}
CALLERS = {"addresses": ["10.244.0.0/16"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"callers": CALLERS},
    "unstamped": {"callers": CALLERS, "stamp": {"enabled": False}},
    "tls": {
        "callers": {**CALLERS, "principals": ["spiffe://cluster/envoy"]},
        "tls": {"certificate": "c.pem", "privateKey": "k.pem", "clientCa": "ca.pem"},
        "server": {"drainSeconds": 60},
    },
}


def committed() -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in COMMITTED.iterdir()}


def written(variant: str, folder: Path, *options: str) -> str:
    config = folder / "extauthz.yaml"
    config.write_text(yaml.safe_dump({**VARIANTS[variant], "gateways": {"openclaw": GATEWAY}}), encoding="utf-8")
    argv = [
        "proxy-config",
        "kubernetes",
        "--config",
        str(config),
        "--image",
        "extauthz:1",
        "--proxy",
        "envoy/app=envoy",
    ]
    result = CliRunner().invoke(main, [*argv, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module", params=["committed", *VARIANTS])
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Manifests of every kind that can be written."""
    if request.param == "committed":
        return "---\n".join(committed().values())
    return written(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def objects(stream: str) -> list[dict[str, Any]]:
    """The same as data."""
    return [one for one in yaml.safe_load_all(stream) if one is not None]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] == kind]


def the(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = of_kind(objects, kind)
    return found


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = the(objects, "Deployment")["spec"]["template"]["spec"]
    return found


def test_the_committed_files_are_what_the_command_writes(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*COMMAND.split(), "--directory", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert committed() == {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert CliRunner().invoke(main, COMMAND.split()).stdout == "---\n".join(committed()[name] for name in FILES)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_kubernetes_takes_the_committed_files(version: str) -> None:
    for one in yaml.safe_load_all("---\n".join(committed().values())):
        kubernetes_validate.validate(one, version, strict=True)


def test_kubernetes_takes_every_object(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        kubernetes_validate.validate(one, VERSIONS[0], strict=True)


def test_kubernetes_would_not_take_just_anything(objects: list[dict[str, Any]]) -> None:
    deployment = the(objects, "Deployment")
    deployment["spec"]["template"]["spec"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_there_is_all_that_is_wanted_and_nothing_twice(objects: list[dict[str, Any]]) -> None:
    kinds = {one["kind"] for one in objects}
    wanted = "ConfigMap Secret NetworkPolicy Service Deployment HorizontalPodAutoscaler PodDisruptionBudget"
    assert kinds == set(wanted.split())
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    assert {one["metadata"]["namespace"] for one in objects} == {"extauthz"}


# The Pod Security Standard "restricted", and what it takes from "baseline".
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def test_the_pod_keeps_to_the_restricted_standard(objects: list[dict[str, Any]]) -> None:
    spec = pod(objects)
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(spec)
    assert all(set(volume) - {"name"} <= VOLUMES for volume in spec["volumes"])
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"} & set(context)
    for container in spec["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["privileged"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert not {"procMount", "runAsUser", "seccompProfile", "seLinuxOptions"} & set(own)
        assert not any("hostPort" in port for port in container["ports"])


def test_a_process_that_is_taken_over_finds_nothing_to_write_and_no_token(objects: list[dict[str, Any]]) -> None:
    spec = pod(objects)
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert not any("subPath" in mount for mount in container["volumeMounts"])
    assert all(volume["secret"]["defaultMode"] == 0o440 for volume in spec["volumes"] if "secret" in volume)
    assert the(objects, "NetworkPolicy")["spec"]["egress"] == []


def test_no_secret_is_ever_written(stream: str, objects: list[dict[str, Any]]) -> None:
    for secret in of_kind(objects, "Secret"):
        assert set(secret) == {"apiVersion", "kind", "metadata", "type"}
    assert not re.search(r"PRIVATE KEY|\"d\":", stream)


def test_the_keys_of_this_host_are_not_looked_at(tmp_path: Path) -> None:
    made = CliRunner().invoke(main, ["keys", "generate", "--keys", str(tmp_path / "keys")])
    assert made.exit_code == 0
    (key,) = (tmp_path / "keys").iterdir()
    key.chmod(0)
    secret = yaml.safe_load_all(written("plain", tmp_path))
    assert all("data" not in one for one in secret if one["kind"] == "Secret")


def test_what_is_mounted_is_there_and_what_is_there_is_mounted(objects: list[dict[str, Any]]) -> None:
    spec = pod(objects)
    (container,) = spec["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    made = {one["metadata"]["name"] for one in of_kind(objects, "Secret")}
    assert secrets - made <= {"extauthz-tls"}  # which a certificate manager makes
    assert made <= secrets
    (config,) = [volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume]
    assert config == the(objects, "ConfigMap")["metadata"]["name"]


def test_the_configuration_names_only_what_is_mounted(objects: list[dict[str, Any]]) -> None:
    (container,) = pod(objects)["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    config = the(objects, "ConfigMap")["data"]["extauthz.yaml"]
    assert container["args"][:2] == ["serve", "--config"]
    assert str(Path(container["args"][2]).parent) in mounts
    for path in re.findall(r"/etc/extauthz/[\w./-]+", config):
        assert path in mounts or str(Path(path).parent) in mounts


def test_the_pods_are_those_that_everything_else_speaks_of(objects: list[dict[str, Any]]) -> None:
    deployment = the(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in of_kind(objects, "Service")]
    selectors.append(the(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    selectors.append(the(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors += [one["labelSelector"]["matchLabels"] for one in pod(objects)["topologySpreadConstraints"]]
    assert all(selector.items() <= labels for selector in selectors)
    target = the(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"]


def ports_named(node: Any) -> Iterator[str]:
    """Every port that is called by its name."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("port", "targetPort") if isinstance(node.get(key), str))
        for value in node.values():
            yield from ports_named(value)
    elif isinstance(node, list):
        for value in node:
            yield from ports_named(value)


def test_every_port_is_one_that_the_service_listens_on(objects: list[dict[str, Any]]) -> None:
    (container,) = pod(objects)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert set(ports_named(objects)) <= set(ports)
    listen = loads(the(objects, "ConfigMap")["data"]["extauthz.yaml"]).settings.listen
    assert listen.model_dump() == {name: [f"0.0.0.0:{port}"] for name, port in ports.items()}


def test_nobody_asks_for_a_signature_who_was_not_named(objects: list[dict[str, Any]]) -> None:
    for rule in the(objects, "NetworkPolicy")["spec"]["ingress"]:
        assert {port["port"] for port in rule["ports"]} in ({"grpc", "http"}, {"admin"})
        for one in rule["from"]:
            assert one["namespaceSelector"]["matchLabels"]
            assert one["podSelector"]["matchLabels"]
    callers = loads(the(objects, "ConfigMap")["data"]["extauthz.yaml"]).settings.callers
    assert callers.addresses == ["10.244.0.0/16"]


def test_the_audit_finds_nothing_critical_in_how_it_is_deployed(objects: list[dict[str, Any]]) -> None:
    found = audit(loads(the(objects, "ConfigMap")["data"]["extauthz.yaml"]))
    # What is found of each gateway is of the file; that stamping is off was asked for.
    ours = [one.id for one in found if one.gateway is None and one.severity.value == "critical"]
    assert set(ours) <= {"service.stamp_disabled"}


def test_a_pod_is_not_killed_while_it_drains(objects: list[dict[str, Any]]) -> None:
    spec = pod(objects)
    drain = loads(the(objects, "ConfigMap")["data"]["extauthz.yaml"]).settings.server.drain_seconds
    assert spec["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": PRE_STOP_SECONDS}}
    assert spec["terminationGracePeriodSeconds"] > PRE_STOP_SECONDS + drain


def test_no_pod_makes_a_key_of_its_own(objects: list[dict[str, Any]]) -> None:
    stamp = loads(the(objects, "ConfigMap")["data"]["extauthz.yaml"]).settings.stamp
    assert not (stamp.enabled and stamp.generate_keys)


def test_envoy_finds_every_pod_and_the_other_proxies_one_address(objects: list[dict[str, Any]]) -> None:
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "Service")}
    assert services["extauthz-pods"]["clusterIP"] == "None"
    assert [port["name"] for port in services["extauthz-pods"]["ports"]] == ["grpc"]
    assert "clusterIP" not in services["extauthz"]
    assert services["extauthz"]["type"] == "ClusterIP"
    assert all(port["name"] != "admin" for one in services.values() for port in one["ports"])


def test_names_and_numbers_are_those_that_were_given(tmp_path: Path) -> None:
    options = ["--name=authz", "--namespace=edge", "--replicas=3", "--max-replicas=9", "--proxy=envoy-2/app=a,tier=b"]
    options.append("--ipv6")
    objects = list(yaml.safe_load_all(written("tls", tmp_path, *options)))
    assert {one["metadata"]["namespace"] for one in objects} == {"edge"}
    assert all(one["metadata"]["name"].startswith("authz") for one in objects)
    scaler = the(objects, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    (rule,) = the(objects, "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"][1]["podSelector"]["matchLabels"] == {"app": "a", "tier": "b"}
    settings = loads(the(objects, "ConfigMap")["data"]["extauthz.yaml"]).settings
    assert settings.listen.grpc == ["[::]:9191"]
    assert settings.tls is not None
    assert settings.tls.client_ca == "/etc/extauthz/tls/ca.crt"
    assert settings.callers.principals == ["spiffe://cluster/envoy"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--image extauthz", "a tag that is not latest"),
        ("--image extauthz:latest", "a tag that is not latest"),
        ("--image extauthz:1;rm", "image: 'extauthz:1;rm' is refused"),
        ("--proxy envoy", "wanted namespace/label=value"),
        ("--proxy envoy/", "every pod of the namespace could ask"),
        ("--proxy envoy/app=", "every pod of the namespace could ask"),
        ("--proxy envoy/app={x}", "every pod of the namespace could ask"),
        ("--monitoring all", "monitoring: 'all' is refused"),
        ("--name -x", "name: '-x' is refused"),
        ("--namespace a.b", "namespace: 'a.b' is refused"),
        ("--replicas 0", "replicas: 0 is refused"),
        ("--replicas 5 --max-replicas 4", "most_replicas: 4 is refused"),
        ("--caller nobody", "callers.addresses: "),
        ("--caller 0.0.0.0/0", "0.0.0.0/0 is everybody"),
        ("--directory d --output o", "--directory and --output: one of them"),
    ],
)
def test_what_cannot_be_is_refused_with_the_cure(options: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text(yaml.safe_dump({**VARIANTS["plain"], "gateways": {"openclaw": GATEWAY}}), encoding="utf-8")
    argv = ["proxy-config", "kubernetes", "--config", str(config)]
    argv += [] if "--image" in options else ["--image", "extauthz:1"]
    argv += [] if "--proxy" in options else ["--proxy", "envoy/app=envoy"]
    result = CliRunner().invoke(main, [*argv, *options.split()])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_digest_is_an_image(tmp_path: Path) -> None:
    image = "registry.example.com:5000/team/extauthz@sha256:" + "0" * 64
    objects = list(yaml.safe_load_all(written("plain", tmp_path, "--image", image)))
    assert pod(objects)["containers"][0]["image"] == image


def test_files_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    into = tmp_path / "manifests"
    written("plain", tmp_path, "--directory", str(into))
    (into / FILES[0]).write_text("mine", encoding="utf-8")
    argv = ["proxy-config", "kubernetes", "--config", str(tmp_path / "extauthz.yaml"), "--directory", str(into)]
    argv += ["--image", "extauthz:1", "--proxy", "envoy/app=envoy"]
    assert CliRunner().invoke(main, argv).exit_code == 2
    assert (into / FILES[0]).read_text(encoding="utf-8") == "mine"
    assert CliRunner().invoke(main, [*argv, "--force"]).exit_code == 0
    assert (into / FILES[0]).read_text(encoding="utf-8") != "mine"
