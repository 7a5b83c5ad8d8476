"""config/systemd: what systemd itself says of the units, and the real service under what they forbid."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from extauthz.config.load import loads
from extauthz.config.schema import Settings
from support import confined
from support.clients import http1
from support.ports import free_port
from support.process import require_program, running
from support.service import Service

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "config" / "systemd" / "extauthz@.service"
SYSUSERS = ROOT / "config" / "systemd" / "extauthz.conf"
PROGRAM = "/opt/extauthz/bin/extauthz"
# 0 is the best and 10 the worst; what systemd itself calls OK ends at 4.4.
MOST_EXPOSED = 1.5

GATEWAY = {
    "trustedProxies": ["10.0.0.7"],
    "ruleset": "openclaw-2026.9",
    "localInterfaces": "auto",
    "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}},
}


@pytest.fixture
def said() -> dict[str, str]:
    """The last value of each key of the unit."""
    return {key: values[-1] for key, values in confined.settings(UNIT).items()}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as its first instance, with a program that is there."""
    found = tmp_path / "extauthz@1.service"
    found.write_text(UNIT.read_text(encoding="utf-8").replace(PROGRAM, sys.executable), encoding="utf-8")
    return found


def test_systemd_finds_no_fault(installed: Path) -> None:
    checked = subprocess.run(
        [require_program("systemd-analyze"), "verify", str(installed)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_calls_it_little_exposed(installed: Path) -> None:
    limit = f"--threshold={MOST_EXPOSED * 10:.0f}"
    checked = subprocess.run(
        [require_program("systemd-analyze"), "security", "--offline=true", "--no-pager", limit, str(installed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_systemd_makes_the_user_whom_the_unit_names(said: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run([require_program("systemd-sysusers"), f"--root={tmp_path}", str(SYSUSERS)], check=True)
    (user,) = (tmp_path / "etc" / "passwd").read_text(encoding="utf-8").splitlines()
    assert user.split(":")[0] == said["User"]
    assert user.split(":")[5] == f"/var/lib/{said['StateDirectory']}"
    assert user.endswith("nologin")


def test_each_instance_has_addresses_of_its_own_that_no_other_host_reaches(said: dict[str, str]) -> None:
    seen: set[str] = set()
    for instance in ("1", "2", "254"):
        argv = said["ExecStart"].replace("%i", instance).split()
        listen = {door: [argv[argv.index(f"--{door}") + 1]] for door in ("grpc", "http", "admin")}
        loaded = loads(yaml.safe_dump({"gateways": {"g": GATEWAY}}), overrides={"listen": listen})  # no callers: local
        seen.update(address for addresses in listen.values() for address in addresses)
        assert loaded.settings.listen.grpc == listen["grpc"]
    assert len(seen) == 9
    assert {f"127.0.0.1:{port}" for port in (9191, 9192, 9193)} <= seen


def test_a_drain_may_end_before_systemd_ends_it(said: dict[str, str]) -> None:
    assert int(said["TimeoutStopSec"]) > Settings.model_validate({"gateways": {"g": GATEWAY}}).server.drain_seconds


def test_readiness_is_told_by_the_service_itself(said: dict[str, str]) -> None:
    assert (said["Type"], said["NotifyAccess"], said["ExecReload"]) == ("notify", "main", "/bin/kill -HUP $MAINPID")


@pytest.fixture(params=["grpcio", "native"])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The real service under the unit's restrictions on calls, sockets and memory, with each of its engines."""
    require_program("systemd-analyze")
    config = tmp_path / "extauthz.yaml"
    config.write_text(
        yaml.safe_dump({"server": {"engine": request.param}, "gateways": {"g": GATEWAY}}), encoding="utf-8"
    )
    doors = {door: f"127.0.0.1:{free_port()}" for door in ("grpc", "http", "admin")}
    argv = [sys.executable, confined.__file__, str(UNIT), sys.executable, "-m", "extauthz.cli", "serve"]
    argv += ["--config", str(config), *(word for door, where in doors.items() for word in (f"--{door}", where))]
    with running(argv, log=tmp_path / "log", cwd=tmp_path) as program:
        found = Service(program, doors["grpc"], http=doors["http"])
        program.wait_ready(found.is_serving)
        yield found


def test_the_service_works_under_what_the_unit_forbids(service: Service) -> None:
    assert Path(f"/proc/{service.program.pid}/status").read_text(encoding="utf-8").count("\nSeccomp:\t2\n") == 1
    port = int(service.http.rpartition(":")[2])
    assert http1(port, [], target="/.well-known/jwks.json").status == 200
    denied = http1(port, [("X-Forwarded-For", "203.0.113.9, 10.0.0.7")], target="/forward-auth/traefik/g")
    assert denied.values("x-authz-reason") == ["trusted_proxy_user_missing"]
    assert service.program.stop() == 0
    assert "Traceback" not in service.program.log_text()


FORBIDDEN = {
    "a packet socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)",
    "memory to write code into": "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
    "another root": "import os; os.chroot('/')",
    "another user": "import os; os.setuid(0)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_the_unit_forbids_is_refused(what: str) -> None:
    require_program("systemd-analyze")
    argv = [sys.executable, confined.__file__, str(UNIT), sys.executable, "-c", FORBIDDEN[what]]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert tried.returncode == 1
    assert "Error: [Errno " in tried.stderr
