"""docs/kubernetes.md, systemd.md, meshes.md: their files load, their commands run, and they name what there is."""

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner

from extauthz.cli import main
from support import confined
from support.clients import http1
from support.echo_gateway import echo_gateway
from support.envoy import running_envoy, validate_envoy
from support.ports import free_port
from support.process import Program, running, wait_until
from support.service import Service

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
CONFIG: Final = ROOT / "config"
every_page = pytest.mark.parametrize("name", ["kubernetes", "systemd", "meshes"])


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str, begins: str = "") -> list[str]:
    found: list[str] = re.findall(r"```yaml\n(.*?)```", page(name), flags=re.DOTALL)
    return [block for block in found if block.startswith(begins)]


def command(name: str, kind: str) -> list[str]:
    """The command that writes files of one kind, without where it writes them."""
    (line,) = re.findall(rf"^\$ extauthz (proxy-config {kind} .*)$", page(name), flags=re.MULTILINE)
    argv = shlex.split(line)
    return argv[:-2]


def run(argv: list[str], config: Path) -> str:
    result = CliRunner().invoke(main, [str(config) if word == "extauthz.yaml" else word for word in argv])
    assert result.exit_code == 0, result.output
    return result.stdout


@every_page
def test_every_link_leads_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]+)(#[^)]+)?\)", page(name)):
        assert (DOCS / target).exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", (DOCS / target).read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", ["systemd", "meshes"])
def test_its_file_is_good(name: str, tmp_path: Path) -> None:
    (block,) = [one for one in blocks(name) if re.match(r"# (\S*/)?extauthz.yaml\n", one)]
    file = tmp_path / "extauthz.yaml"
    file.write_text(block.replace("/var/lib/extauthz", str(tmp_path)), encoding="utf-8")
    checked = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert (checked.exit_code, checked.stdout) == (0, f"{file}: 1 gateway, good\n")


# docs/kubernetes.md


def test_the_command_writes_the_files_of_the_repository(tmp_path: Path) -> None:
    argv = [*command("kubernetes", "kubernetes"), "--directory", str(tmp_path)]
    run(argv, CONFIG / "extauthz.yaml")
    committed = {file.name: file.read_text(encoding="utf-8") for file in (CONFIG / "kubernetes").iterdir()}
    assert committed == {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}


def test_the_secrets_are_filled_as_the_manifest_itself_says() -> None:
    said = (CONFIG / "kubernetes" / "secret.yaml").read_text(encoding="utf-8")
    shown = page("kubernetes")
    for line in re.findall(r"^#   (.*)$", said, flags=re.MULTILINE):
        assert line.removesuffix(" --algorithm ES256") in shown


def test_envoy_takes_the_name_of_every_pod(tmp_path: Path) -> None:
    minimal = tmp_path / "extauthz.yaml"
    minimal.write_text(blocks("meshes", "# extauthz.yaml")[0], encoding="utf-8")
    text = run(command("kubernetes", "envoy"), minimal)
    assert validate_envoy(text, tmp_path) is None
    lines = {line.strip() for line in text.splitlines()}
    (quoted,) = blocks("kubernetes", "# from envoy.yaml")
    assert [line for line in quoted.splitlines()[1:] if line not in lines] == []


# docs/systemd.md


@contextlib.contextmanager
def instance(number: str, port: int, config: Path, folder: Path) -> Iterator[Program]:
    """One process as the unit starts it, on ports of this test's."""
    unit = confined.settings(CONFIG / "systemd" / "extauthz@.service")
    line = unit["ExecStart"][0].replace("%i", number).replace(":9191", f":{port}")
    for door in (":9192", ":9193"):
        line = line.replace(door, f":{free_port(f'127.0.0.{number}')}")
    argv = shlex.split(line.replace("/etc/extauthz/extauthz.yaml", str(config)))
    argv = [sys.executable, "-m", "extauthz.cli", *argv[1:]]
    with running(argv, log=folder / f"extauthz-{number}.log", cwd=folder) as program:
        program.wait_ready(Service(program, f"127.0.0.{number}:{port}").is_serving)
        yield program


def test_any_of_the_processes_answers_while_another_is_gone(tmp_path: Path) -> None:
    (block,) = blocks("systemd", "# /etc/extauthz/extauthz.yaml")
    config = tmp_path / "extauthz.yaml"
    places = {"/var/lib/extauthz": str(tmp_path), "10.0.0.7": "127.0.0.1"}
    config.write_text(replaced(block, places), encoding="utf-8")
    grpc, listen, admin = free_port("127.0.0.1"), free_port(), free_port()
    argv = command("systemd", "envoy")
    written = run([*argv, f"--listen=127.0.0.1:{listen}", f"--admin=127.0.0.1:{admin}", "--timeout=10"], config)
    shown = {line.strip() for line in written.splitlines()}
    (quoted,) = blocks("systemd", "# from envoy.yaml")
    assert [line for line in quoted.splitlines()[1:] if line not in shown] == []
    with (
        echo_gateway() as gateway,
        instance("1", grpc, config, tmp_path) as first,
        instance("2", grpc, config, tmp_path) as second,
        running_envoy(
            replaced(written, {"9191": str(grpc), "18789": gateway.address.rpartition(":")[2]}),
            admin_port=admin,
            directory=tmp_path,
        ) as envoy,
    ):

        def status() -> int:
            return http1(listen, [("x-forwarded-user", "nick@example.com")]).status

        wait_until(lambda: envoy.finds_well(2), "both processes to be healthy")
        assert status() == 200
        first.kill()
        wait_until(lambda: envoy.finds_well(1), "the first to be missed")
        assert status() == 200
        first.restart()
        wait_until(lambda: envoy.finds_well(2), "the first to be back")
        second.kill()
        wait_until(lambda: envoy.finds_well(1), "the second to be missed")
        assert status() == 200
        assert len(list((tmp_path / "keys").glob("*.jwk"))) == 1  # theirs together


def replaced(text: str, places: dict[str, str]) -> str:
    for shown, real in places.items():
        text = text.replace(shown, real)
    return text


# docs/meshes.md


def objects(kind: str) -> list[dict[str, Any]]:
    found = (one for block in blocks("meshes", "apiVersion") for one in yaml.safe_load_all(block))
    return [one for one in found if one["kind"] == kind]


def services() -> dict[str, set[int]]:
    """The Services of the manifests, with their ports."""
    text = (CONFIG / "kubernetes" / "service.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load_all(text)
    return {one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]} for one in found}


def gateways() -> set[str]:
    return set(yaml.safe_load(blocks("meshes", "# extauthz.yaml")[0])["gateways"])


def test_it_says_that_it_was_not_run() -> None:
    assert "**None of this was run.**" in page("meshes")


def test_envoy_gateway_asks_where_extauthz_is_for_a_gateway_that_there_is() -> None:
    (policy,), (grant,) = objects("SecurityPolicy"), objects("ReferenceGrant")
    asks = policy["spec"]["extAuth"]
    assert asks["failOpen"] is False
    (backend,) = asks["grpc"]["backendRefs"]
    assert backend["port"] in services()[backend["name"]]
    (named,) = asks["contextExtensions"]
    assert named["name"] == "gateway"
    assert named["value"] in gateways()
    assert grant["metadata"]["namespace"] == backend["namespace"]
    assert grant["spec"]["to"] == [{"group": "", "kind": "Service", "name": backend["name"]}]
    (source,) = grant["spec"]["from"]
    assert (source["kind"], source["namespace"]) == (policy["kind"], policy["metadata"]["namespace"])


def test_istio_asks_where_extauthz_is_about_every_request() -> None:
    (block,) = blocks("meshes", "# in the ConfigMap istio")
    (provider,) = yaml.safe_load(block)["extensionProviders"]
    asks = provider["envoyExtAuthzGrpc"]
    name, namespace = asks["service"].split(".")[:2]
    assert namespace == "extauthz"
    assert asks["port"] in services()[name]
    assert asks["failOpen"] is False
    (policy,) = objects("AuthorizationPolicy")
    assert policy["spec"]["action"] == "CUSTOM"
    assert policy["spec"]["provider"] == {"name": provider["name"]}
    assert policy["spec"]["rules"] == [{}]


def test_traefiks_resources_say_what_its_written_file_says(tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text(blocks("meshes", "# extauthz.yaml")[0], encoding="utf-8")
    door = "extauthz.extauthz.svc.cluster.local:9192"
    argv = ["proxy-config", "traefik", "--config", "extauthz.yaml", "--upstream=127.0.0.1:1", f"--extauthz={door}"]
    written = yaml.safe_load(run(argv, config))["http"]
    shown = {one["metadata"]["name"]: one["spec"] for one in objects("Middleware")}
    assert shown == written["middlewares"]
    (route,) = objects("IngressRoute")[0]["spec"]["routes"]
    (router,) = written["routers"].values()
    assert [one["name"] for one in route["middlewares"]] == router["middlewares"]
    assert 9192 in services()["extauthz"]
