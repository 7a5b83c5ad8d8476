"""The harness itself: what other tests take on trust."""

import contextlib
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from support.clients import Headers, Refused, Session, http1, raw, websocket
from support.echo_gateway import echo_gateway
from support.ports import free_port
from support.process import READY_SECONDS, ProgramError, require_program, running, wait_until

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or waits for nothing but to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # reaped, before it was opened or before it was read
        return True


def test_no_port_is_given_twice_and_each_can_be_listened_on() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)
    with socket.create_server(("127.0.0.1", ports[0])) as server:
        assert server.getsockname()[1] == ports[0]
    with socket.create_server(("::1", free_port("::1")), family=socket.AF_INET6):
        pass


def test_a_program_runs_while_its_block_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(SLEEP, log=log, ready=lambda: "up" in log.read_text()) as program:
        assert program.returncode is None
        program.kill()
        assert program.returncode == -signal.SIGKILL
        program.restart().wait_ready(lambda: program.log_text().count("up") == 2)
        pid = program.pid
        assert not gone(pid)
    assert gone(pid)


def test_a_program_that_ignores_sigterm_ends_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(STUBBORN, log=log, ready=lambda: "up" in log.read_text()) as program:
        assert program.stop(seconds=0.2) == -signal.SIGKILL
    assert gone(program.pid)


def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(["sh", "-c", "sleep 600 & echo $!; wait"], log=log, ready=lambda: log.read_text() != "") as program:
        child = int(program.log_text())
        assert not gone(child)
    # Reparented, it is reaped by whoever is in charge of that, in their own time.
    wait_until(lambda: has_ended(child), "the end of the child")


def test_a_program_that_is_not_ready_shows_its_log(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; print('the cause'); sys.exit(3)"]
    with (
        pytest.raises(ProgramError, match=r"(?s)ended with 3.*the cause"),
        running(failing, log=tmp_path / "1", ready=lambda: False),
    ):
        pass
    with (
        pytest.raises(ProgramError, match=r"not ready in 0\.1 s"),
        running(SLEEP, log=tmp_path / "2", ready=lambda: False, seconds=0.1),
    ):
        pass


def test_a_missing_program_is_skipped_by_name_and_never_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(require_program("python")).exists()
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require_program("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        require_program("no-such-program")


def test_the_echo_gateway_tells_what_came_byte_by_byte() -> None:
    with echo_gateway("one") as gateway:
        sent: Headers = [("X-A", "1"), ("x-a", "2"), (b"Odd", b"\xff"), ("empty", "")]
        answer = http1(gateway.port, sent, method="PUT", target="/a?b=%2F", body=b"body", trailers=[("x-T", "3")])
        assert answer.json() == {
            "gateway": "one",
            "method": "PUT",
            "path": "/a?b=%2F",
            "version": "HTTP/1.1",
            "headers": [
                ["host", "gateway.example.com"],
                ["X-A", "1"],
                ["x-a", "2"],
                ["Odd", "\xff"],
                ["empty", ""],
                ["transfer-encoding", "chunked"],
            ],
            "trailers": [["x-T", "3"]],
            "body": "body",
        }
        assert gateway.arrived[0].values("X-a") == ["1", "2"]
        assert http1(gateway.port, method="HEAD").body == b""
        with Session(gateway.port) as session:
            request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
            assert [session.send(request).status for _ in range(3)] == [200, 200, 200]
        gateway.clear()
        assert raw(gateway.port, b"nonsense\r\n\r\n").status == 400
        assert gateway.arrived == []


def test_the_echo_gateway_closes_what_comes_as_it_stops() -> None:
    # Else what it forgets is collected in the middle of another test, which fails by the warning.
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            with echo_gateway() as gateway:
                where = ("127.0.0.1", gateway.port)
                opened = [stack.enter_context(socket.create_connection(where, READY_SECONDS)) for _ in range(20)]
            for connection in opened:
                with contextlib.suppress(ConnectionError):
                    assert connection.recv(1) == b""
    gc.collect()


def test_the_echo_gateway_echoes_frames_and_refuses_what_is_no_handshake() -> None:
    with echo_gateway() as gateway:
        with websocket(gateway.port, [("X-Dup", "1"), ("X-Dup", "2")], path="/ws") as opened:
            assert opened.hello["headers"][-2:] == [["X-Dup", "1"], ["X-Dup", "2"]]
            assert opened.hello["path"] == "/ws"
            assert (opened.echo("a"), opened.echo(b"b")) == ("a", b"b")
        with pytest.raises(Refused) as refused, websocket(gateway.port, [("Sec-WebSocket-Version", "12")]):
            pass
        assert refused.value.response.status == 400
