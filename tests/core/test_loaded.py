"""What a service loads: each library that it does not use would cost start-up and memory in every process."""

import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from extauthz.doors.grpc_shared import Status

ROOT = Path(__file__).parents[2]
CONFIGURATION = """
listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", admin: "127.0.0.1:0"}
server: {engine: ENGINE}
gateways:
  g: {trustedProxies: [10.0.0.7], auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}}
"""
# As `serve` does, until it is ready.
PROGRAM = """
import os, sys
from extauthz.cli.serve import command
from extauthz.service import Service

def ready(service):
    service._open()
    service.metrics.render("")
    print(*sys.modules, flush=True)
    os._exit(0)

Service.run = ready
command(["--config", "extauthz.yaml"])
"""
# For people, for files of others, for pages, for names, for what another engine or another command does.
UNUSED = {"rich", "pygments", "jinja2", "json5", "joserfc", "uvicorn", "websockets", "psutil", "dns", "opentelemetry"}
ONLY_WHEN_ASKED = {
    *("extauthz.audit", "extauthz.openclaw", "extauthz.explaining", "extauthz.migrate", "extauthz.probe"),
    *(
        "extauthz.gateway",
        "cryptography.x509",
        "cryptography.hazmat.primitives.serialization",
        "grpc_reflection.v1alpha.reflection",
    ),
}


def loaded(folder: Path, engine: str) -> set[str]:
    """Return the modules that a service with this engine has when it is ready and was scraped once."""
    (folder / "extauthz.yaml").write_text(CONFIGURATION.replace("ENGINE", engine), encoding="utf-8")
    found = subprocess.run([sys.executable, "-c", PROGRAM], check=False, cwd=folder, capture_output=True, text=True)
    assert not found.returncode, found.stderr
    return set(found.stdout.split())


# It does nothing.
PLUGIN = """
class Plugin:
    def new_schema_validator(self, *_args, **_kwargs):
        return None, None, None

plugin = Plugin()
"""
OTHER_ENGINE = {"grpcio": "extauthz.doors.envoy_native", "native": "extauthz.doors.envoy_grpc"}


@pytest.mark.parametrize("engine", ["grpcio", "native"])
def test_service_loads_nothing_that_it_does_not_use(tmp_path: Path, engine: str) -> None:
    if engine == "native":
        pytest.importorskip("pygrpc_native")
    modules = loaded(tmp_path, engine)
    assert not {name.partition(".")[0] for name in modules} & UNUSED
    assert sorted(modules & ONLY_WHEN_ASKED) == []
    assert OTHER_ENGINE[engine] not in modules
    assert ("grpc" in modules) == (engine == "grpcio")
    assert ("pygrpc_native" in modules) == (engine == "native")


def test_a_plugin_of_pydantic_that_is_installed_sees_no_configuration(tmp_path: Path) -> None:
    package = tmp_path / "plugin-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[pydantic]\nplugin = plugin_of_others:plugin\n", encoding="utf-8")
    (tmp_path / "plugin_of_others.py").write_text(PLUGIN, encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYDANTIC_")}
    variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
    told = {
        program: subprocess.run(
            [sys.executable, "-c", f"{program}; import sys; print('plugin_of_others' in sys.modules)"],
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for program in ("import pydantic; pydantic.create_model('A')", "import extauthz.config.schema")
    }
    # The first shows that it would be loaded.
    assert list(told.values()) == ["True", "False"]


def test_status_codes_are_those_of_grpc() -> None:
    for status in Status:
        assert status == grpc.StatusCode[status.name].value[0]
