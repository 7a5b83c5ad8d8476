"""The real service as a pod has it: the kubelet's files, nothing to write on, no capability, the manifest's probes.

No cluster is needed: the files are made by the same rules, and the restrictions by the same kernel.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from extauthz.cli import main
from support.clients import Response, http1
from support.kubelet import Volume
from support.ports import free_port
from support.process import Program, ProgramError, require_program, running, wait_until

SECRET_MODE = 0o440
# How probes and scrapers call it: by the address of the pod.
AT = "10.244.1.17:9193"
TOKEN = b"0123456789abcdef0123456789abcdef"
# What the root file system of the container is: every mount read-only, which the last line tries.
READ_ONLY = """
findmnt --raw --noheadings --output TARGET | while read -r mount; do mount -o remount,bind,ro "$mount"; done
touch "$1/written" 2>/dev/null && exit 99
shift
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def config(*users: str) -> str:
    """A file as someone has it on a host."""
    rules = {"userHeader": "x-forwarded-user", "allowUsers": list(users)}
    gateway = {"trustedProxies": ["10.0.0.7"], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}
    return yaml.safe_dump({"server": {"drainSeconds": 1}, "gateways": {"openclaw": gateway}})


@dataclass
class Pod:
    """One container of the Deployment."""

    root: Path
    manifests: list[dict[str, Any]]
    volumes: dict[str, Volume]
    ports: dict[str, int]
    program: Program | None = None

    @property
    def container(self) -> dict[str, Any]:
        (found,) = (one for one in self.manifests if one["kind"] == "Deployment")
        (container,) = found["spec"]["template"]["spec"]["containers"]
        return dict(container)

    def argv(self) -> list[str]:
        """The container's own command, on ports of this test's."""
        args = [self.here(word) for word in self.container["args"]]
        doors = [word for door, port in self.ports.items() for word in (f"--{door}", f"127.0.0.1:{port}")]
        return [sys.executable, "-m", "extauthz.cli", *args, *doors]

    def read_only(self) -> list[str]:
        tools = [require_program(name) for name in ("unshare", "findmnt", "setpriv")]
        if subprocess.run([tools[0], "--mount", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
            missing = "mounts can be made read-only by root alone, and not in every container"
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)
        return [tools[0], "--mount", "sh", "-c", READ_ONLY, "sh", str(self.root), *self.argv()]

    def here(self, text: str) -> str:
        return text.replace("/etc/extauthz", str(self.root))

    def mounted(self, text: str) -> dict[str, bytes]:
        """What the ConfigMap for a file on a host has in it."""
        found = next(one for one in written(self.root, text) if one["kind"] == "ConfigMap")
        return {name: self.here(content).encode() for name, content in found["data"].items()}

    def probe(self, name: str) -> int:
        """Ask as the kubelet does: at the pod's address, which is what the Host says."""
        asked = self.container[f"{name}Probe"]["httpGet"]
        return http1(self.ports[asked["port"]], [], target=asked["path"], host=AT).status

    def ask(self, user: str) -> Response:
        headers = [("X-Forwarded-For", "10.0.0.7"), ("X-Forwarded-User", user), ("X-Forwarded-Method", "GET")]
        headers += [("X-Forwarded-Host", "gateway.example.com"), ("X-Forwarded-Uri", "/")]
        return http1(self.ports["http"], headers, target="/forward-auth/traefik/openclaw")

    def key_ids(self) -> set[str]:
        answer = http1(self.ports["http"], [], target="/.well-known/jwks.json")
        return {key["kid"] for key in json.loads(answer.body)["keys"]}


def written(folder: Path, text: str) -> list[dict[str, Any]]:
    file = folder / "on-a-host.yaml"
    file.write_text(text, encoding="utf-8")
    argv = ["proxy-config", "kubernetes", "--config", str(file), "--image", "extauthz:1", "--proxy", "envoy/app=envoy"]
    result = CliRunner().invoke(main, [*argv, "--caller", "127.0.0.1"])
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def keys(folder: Path) -> dict[str, bytes]:
    """What `kubectl create secret generic --from-file=keys` would put into the Secret."""
    return {file.name: file.read_bytes() for file in (folder / "made").iterdir()}


def make_keys(folder: Path, command: str) -> None:
    assert CliRunner().invoke(main, ["keys", command, "--keys", str(folder / "made")]).exit_code == 0


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """The volumes of a pod, filled; the container is not started."""
    make_keys(tmp_path, "generate")
    found = Pod(tmp_path, written(tmp_path, config("nick")), {}, {})
    found.ports = {door: free_port() for door in ("grpc", "http", "admin")}
    found.volumes["config"] = Volume(tmp_path / "config", found.mounted(config("nick")))
    found.volumes["keys"] = Volume(tmp_path / "keys", keys(tmp_path), SECRET_MODE)
    found.volumes["admin"] = Volume(tmp_path / "admin", {"token": TOKEN}, SECRET_MODE)
    return found


@pytest.fixture
def started(pod: Pod) -> Iterator[Pod]:
    """The container, once its startup probe succeeds."""
    env = {one["name"]: one["value"] for one in pod.container["env"]}
    with running(pod.read_only(), log=pod.root / "log", env=env, ready=lambda: pod.probe("startup") == 200) as program:
        pod.program = program
        yield pod


def test_the_service_serves_where_it_can_write_nothing(started: Pod) -> None:
    assert started.program is not None
    assert not (started.root / "written").exists()
    for name in ("startup", "readiness", "liveness"):
        assert started.probe(name) == 200
    allowed, denied = started.ask("nick"), started.ask("eve")
    assert (allowed.status, allowed.values("x-authz-user")) == (200, ["nick"])
    assert allowed.values("x-authz-stamp")
    assert denied.values("x-authz-reason") == ["trusted_proxy_user_not_allowed"]
    assert "Traceback" not in started.program.log_text()


def test_metrics_want_the_token_of_the_secret(started: Pod) -> None:
    token = [("Authorization", f"Bearer {TOKEN.decode()}")]
    asked = [http1(started.ports["admin"], one, target="/metrics", host=AT).status for one in ([], token)]
    assert asked == [401, 200]


def test_a_configmap_that_changes_takes_effect_without_a_restart(started: Pod) -> None:
    assert started.ask("eve").status == 403
    started.volumes["config"].swap(started.mounted(config("nick", "eve")))
    wait_until(lambda: started.ask("eve").status == 200, "the new configuration to be in force")
    assert started.ask("nick").status == 200


def test_a_configmap_that_cannot_be_used_changes_nothing(started: Pod) -> None:
    assert started.program is not None
    log = started.program.log_text
    started.volumes["config"].swap({"extauthz.yaml": b"gateways: {openclaw: {trustedProxies: [everyone]}}"})
    wait_until(lambda: "trustedProxies" in log(), "the fault to be told")
    assert (started.ask("nick").status, started.probe("readiness")) == (200, 200)


def test_a_key_that_is_added_to_the_secret_is_published_without_a_restart(started: Pod) -> None:
    (first,) = started.key_ids()
    make_keys(started.root, "rotate")
    started.volumes["keys"].swap(keys(started.root))
    wait_until(lambda: len(started.key_ids()) == 2, "both keys to be published")
    assert first in started.key_ids()


def test_a_pod_that_is_asked_to_end_is_not_ready_and_ends_in_time(started: Pod) -> None:
    assert started.program is not None
    started.program.signal(signal.SIGTERM)
    wait_until(lambda: not answers(lambda: started.probe("readiness") == 200), "the pod to be no longer ready")
    assert started.program.wait_end() == 0


def answers(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:
        return False


@pytest.mark.parametrize(("volume", "said"), [("keys", "no key to sign with"), ("admin", "token")])
def test_a_pod_whose_secret_is_still_empty_never_becomes_ready(pod: Pod, volume: str, said: str) -> None:
    pod.volumes[volume].swap({})
    log = pod.root / "log"
    with pytest.raises(ProgramError), running(pod.argv(), log=log, ready=lambda: pod.probe("startup") == 200):
        pass
    assert said in log.read_text(encoding="utf-8")


def test_a_key_that_everyone_in_the_pod_can_read_is_refused(pod: Pod) -> None:
    pod.volumes["keys"] = Volume(pod.root / "open", keys(pod.root), SECRET_MODE | stat.S_IROTH)
    (pod.root / "keys").rename(pod.root / "gone")
    (pod.root / "open").rename(pod.root / "keys")
    with (
        pytest.raises(ProgramError),
        running(pod.argv(), log=pod.root / "log", ready=lambda: pod.probe("startup") == 200),
    ):
        pass
    assert "defaultMode: 0440" in (pod.root / "log").read_text(encoding="utf-8")
