"""What a service loads: each library that it does not use would cost start-up and memory in every process."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from extauthz.doors.grpc_shared import Status

CONFIGURATION = """
listen: {grpc: "127.0.0.1:0", http: "localhost:0", admin: "127.0.0.1:0"}
server: {engine: ENGINE}
gateways:
  g: {trustedProxies: [10.0.0.7], auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}}
"""
# As `serve` does, until it is ready.
PROGRAM = """
import os, sys
from extauthz import process
from extauthz.cli.serve import command

def ready():
    service = sys._getframe(1).f_locals["self"]
    service.metrics.render("")
    print(*sys.modules, flush=True)
    os._exit(0)

process.settle_memory = ready  # the last thing before it serves; nothing is loaded before `serve` loads it
command(["--config", "extauthz.yaml"])
"""
# For people, for files of others, for pages, for names, for what another engine or another command does.
UNUSED = {
    *("rich", "pygments", "jinja2", "json5", "joserfc", "uvicorn", "websockets", "psutil", "dns", "opentelemetry"),
    *("uvloop", "ssl", "_ssl", "_hashlib"),
}
ONLY_WHEN_ASKED = {
    *("extauthz.audit", "extauthz.openclaw", "extauthz.explaining", "extauthz.migrate", "extauthz.probe"),
    *(
        "extauthz.gateway",
        "cryptography.x509",
        "cryptography.hazmat.primitives.serialization",
        "grpc_reflection.v1alpha.reflection",
    ),
}

# Of the standard library: what reads packages, mails and archives, what fetches, and tables of international names.
UNUSED_READERS = {
    *("importlib.metadata", "importlib.resources", "email.message", "zipfile", "tempfile", "encodings.idna"),
    *("http.client", "urllib.request", "multiprocessing", "ctypes.util"),
}


def loaded(folder: Path, engine: str) -> set[str]:
    """Return the modules that a service with this engine has when it is ready and was scraped once."""
    (folder / "extauthz.yaml").write_text(CONFIGURATION.replace("ENGINE", engine), encoding="utf-8")
    found = subprocess.run([sys.executable, "-c", PROGRAM], check=False, cwd=folder, capture_output=True, text=True)
    assert not found.returncode, found.stderr
    return set(found.stdout.split())


OTHER_ENGINE = {"grpcio": "extauthz.doors.envoy_native", "native": "extauthz.doors.envoy_grpc"}


@pytest.mark.parametrize("engine", ["grpcio", "native"])
def test_service_loads_nothing_that_it_does_not_use(tmp_path: Path, engine: str) -> None:
    if engine == "native":
        pytest.importorskip("pygrpc_native")
    modules = loaded(tmp_path, engine)
    assert not {name.partition(".")[0] for name in modules} & UNUSED
    assert sorted(modules & (ONLY_WHEN_ASKED | UNUSED_READERS)) == []
    assert OTHER_ENGINE[engine] not in modules
    assert ("grpc" in modules) == (engine == "grpcio")
    assert ("pygrpc_native" in modules) == (engine == "native")


def test_status_codes_are_those_of_grpc() -> None:
    for status in Status:
        assert status == grpc.StatusCode[status.name].value[0]
