"""`make run`, as a person meets it: what is printed is run in a shell, and each line does what it says."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cases.corpus import OF_PROOFS
from extauthz.core.reasons import REASONS
from extauthz.demo.programs import PORTS, free_port
from extauthz.demo.running import FRONT_PORT
from support.process import Program, require_program, running, wait_until

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^# (?P<title>.+)\n# (?P<expect>\d{3}.*)\n(?P<command>(?:curl|\S*/extauthz) .+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The demonstration, ready."""
    require_program("envoy")
    require_program("curl")
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    argv = [sys.executable, "-m", "extauthz.cli", "demo", "--config", str(ROOT / "config" / "extauthz.yaml")]
    with running(argv, log=log) as program:
        program.wait_ready(lambda: "Ctrl-C stops all." in program.log_text(), 60)
        yield program


def _outcome(command: str) -> str:
    answer = subprocess.run(["sh", "-c", command], capture_output=True, check=False).stdout
    explained = re.search(rb"^denied by gateway \S+ with (\d+: \S+)$", answer, re.MULTILINE)
    if explained is not None:
        return explained[1].decode().replace(":", "")
    status = answer.split(b" ", 2)[1].decode()
    reason = re.search(rb"^x-authz-reason: (\S+)", answer, re.MULTILINE)
    return f"{status} {reason[1].decode()}" if reason is not None else status


def test_every_line_that_is_printed_does_what_it_says(demo: Program) -> None:
    lines = [found.groupdict() for found in LINE.finditer(demo.log_text())]
    # All that can be shown: this host can read its own addresses, and nothing unforeseen goes wrong on demand.
    shown = {line["expect"].partition(" ")[2] for line in lines} - {""}
    never = {"internal_error", "trusted_proxy_local_interface_check_failed", *OF_PROOFS}
    assert {code for code in REASONS if not any(reason.startswith(code) for reason in shown)} == never
    wrong = {line["title"]: outcome for line in lines if (outcome := _outcome(line["command"])) != line["expect"]}
    assert wrong == {}


def test_the_spoofing_line_shows_the_gateway_what_was_stamped_and_not_what_was_forged(demo: Program) -> None:
    line = next(found for found in LINE.finditer(demo.log_text()) if "spoofing" in found["title"])
    answer = subprocess.run(["sh", "-c", line["command"]], capture_output=True, check=True, text=True).stdout
    assert '["x-authz-user", "nick@example.com"]' in answer
    assert '["x-authz-gateway", "openclaw"]' in answer
    assert "admin@example.com" not in answer
    assert "forged" not in answer


def test_each_decision_is_a_line_of_the_file_that_is_named(demo: Program) -> None:
    named = re.search(r"^Each decision is a line of (.+)\. Lines to try:$", demo.log_text(), re.MULTILINE)
    assert named is not None
    decisions = Path(named[1])
    line = next(found for found in LINE.finditer(demo.log_text()) if "Nobody is named" in found["title"])
    answer = subprocess.run(["sh", "-c", line["command"]], capture_output=True, check=True, text=True).stdout
    decision = re.search(r"^x-authz-decision: (\S+)", answer, re.MULTILINE)
    assert decision is not None
    wait_until(lambda: decision[1] in decisions.read_text(encoding="utf-8"), "its line")
    (told,) = (told for told in decisions.read_text(encoding="utf-8").splitlines() if decision[1] in told)
    assert json.loads(told)["reason"] == "trusted_proxy_user_missing"


def test_no_port_of_the_demonstration_can_become_the_source_of_a_connection(demo: Program) -> None:
    programs = psutil.Process(demo.pid).children(recursive=True)
    open_ = [each for program in programs for each in program.net_connections("inet")]
    ports = {each.laddr.port for each in open_ if each.status == psutil.CONN_LISTEN}
    assert len(ports) >= 7
    assert [port for port in ports if port not in PORTS] in ([], [FRONT_PORT])


def test_a_port_is_kept_from_others_until_the_demonstration_ends() -> None:
    with contextlib.ExitStack() as demonstration:
        port = free_port(demonstration)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        socket.create_server(("127.0.0.1", port)).close()  # its own program sets SO_REUSEADDR
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_ctrl_c_stops_everything_that_was_started(demo: Program) -> None:
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= 4
    demo.signal(signal.SIGINT)
    assert demo.wait_end() == 0
    wait_until(lambda: not any(child.is_running() for child in children), "all programs are gone")
    assert demo.log_text().rstrip().endswith("Stopped.")
