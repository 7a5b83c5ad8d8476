"""What the running service tells systemd, from its start to its end."""

import signal
from pathlib import Path

from cases.build import gateway, text_of
from doors.door import command
from support.ports import free_port
from support.process import running
from support.systemd import Listener, listening


def told(listener: Listener, key: str) -> dict[str, str]:
    """Return the next datagram in which this variable stands; signs of life come in between."""
    while key not in (heard := listener.heard()):
        assert set(heard) <= {"WATCHDOG", "STATUS"}
    return heard


def test_service_tells_when_it_is_ready_reloads_lives_and_stops(tmp_path: Path) -> None:
    config = {"server": {"drainSeconds": 1}, "gateways": {"g": gateway()}}
    argv = command(tmp_path, config, [f"127.0.0.1:{free_port()}"])
    with listening(tmp_path / "notify.sock") as systemd:
        # A sign of life a second: while nobody reads, the socket holds ten of them, and no word more.
        env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2000000"}
        with running(argv, log=tmp_path / "log", cwd=tmp_path, env=env) as program:
            assert told(systemd, "READY")["STATUS"] == "serving 1 gateway"
            assert told(systemd, "WATCHDOG") == {"WATCHDOG": "1"}
            file = tmp_path / "extauthz.yaml"
            file.write_text(text_of({"gateways": {"g": gateway(), "h": gateway()}}), encoding="utf-8")
            program.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC" in told(systemd, "RELOADING")
            assert told(systemd, "READY")["STATUS"] == "serving 2 gateways"
            file.write_text("gateways: {}", encoding="utf-8")
            program.signal(signal.SIGHUP)
            told(systemd, "RELOADING")
            # A refused configuration is no failed service: it serves what it had.
            assert "the new configuration is refused" in told(systemd, "READY")["STATUS"]
            program.signal(signal.SIGTERM)
            assert told(systemd, "STOPPING")
            assert program.wait_end() == 0


def test_service_that_hangs_feeds_no_watchdog(tmp_path: Path) -> None:
    argv = command(tmp_path, {"gateways": {"g": gateway()}}, [f"127.0.0.1:{free_port()}"])
    with listening(tmp_path / "notify.sock") as systemd:
        env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "500000"}
        with running(argv, log=tmp_path / "log", cwd=tmp_path, env=env) as program:
            told(systemd, "READY")
            told(systemd, "WATCHDOG")
            program.freeze()
            try:
                while not systemd.hears_nothing():
                    pass  # what was sent before it was stopped
                try:
                    heard = systemd.heard(seconds=2)
                except TimeoutError:
                    heard = {}
                assert heard == {}
            finally:
                program.signal(signal.SIGCONT)
            assert told(systemd, "WATCHDOG")
