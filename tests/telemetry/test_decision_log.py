"""What is written, and how a log that cannot be written holds up nothing. With real files, pipes and devices."""

import contextlib
import json
import os
import resource
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cases.build import PAIRS, gateway
from extauthz.telemetry import decision_log
from extauthz.telemetry.decision_log import (
    NONE,
    STDOUT,
    DecisionLog,
    DecisionLogSettings,
    is_sampled,
    open_settings,
)
from extauthz.telemetry.output import OutputError
from extauthz.telemetry.record import Record
from support.logs import captured_logs
from telemetry.looking import Asking
from telemetry.records import changed

IDS = [f"{number:020x}" for number in range(2000)]


class Clock:
    """A clock that is set by hand; waiting for a reader takes it on a little."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def asking() -> Asking:
    return Asking({"g": gateway(), "shadow": gateway(mode="shadow")})


@pytest.fixture(scope="module")
def allowed(asking: Asking) -> Record:
    return asking.check(PAIRS)


@pytest.fixture(scope="module")
def denied(asking: Asking) -> Record:
    return asking.check([])


def _log(output: Path | str, clock: Callable[[], float] = time.monotonic, **settings: Any) -> DecisionLog:
    return DecisionLog(open_settings(DecisionLogSettings(output=output, **settings)), clock=clock)


def _impatient(output: Path, clock: Callable[[], float], **limits: Any) -> DecisionLog:
    return DecisionLog(open_settings(DecisionLogSettings(output=output)), clock=clock, **limits)


def _numbered(record: Record, numbers: Sequence[int]) -> list[Record]:
    return [changed(record, id=f"{number:020x}") for number in numbers]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _ids(path: Path) -> list[int]:
    return [int(line["id"], 16) for line in _read(path)]


@contextlib.contextmanager
def _pipe(path: Path) -> Iterator[int]:
    """A FIFO, and the end of it that is read from."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)


# What is written.


def test_file_is_made_for_its_owner_and_group_alone_and_added_to(tmp_path: Path, allowed: Record) -> None:
    path = tmp_path / "decisions.jsonl"
    for _ in range(2):
        log = _log(path)
        log.take([allowed])
        log.close()
        assert (log.written, log.failed) == (1, 0)
    assert len(_read(path)) == 2
    assert not stat.S_IMODE(path.stat().st_mode) & ~0o640


def test_denials_and_shadow_are_always_written_and_no_allow_with_a_share_of_nothing(
    tmp_path: Path, asking: Asking, allowed: Record, denied: Record
) -> None:
    path = tmp_path / "log"
    log = _log(path, allows=0.0)
    log.take([allowed, denied, asking.check([], gateway="shadow")])
    log.close()
    assert [line["result"] for line in _read(path)] == ["deny", "shadow"]


def test_share_of_allows_is_chosen_by_the_id_so_that_all_choose_the_same(tmp_path: Path, allowed: Record) -> None:
    records = [changed(allowed, id=one) for one in IDS]
    written = []
    for name in "ab":
        log = _log(tmp_path / name, allows=0.25)
        log.take(records)
        log.close()
        written.append([line["id"] for line in _read(tmp_path / name)])
    assert written[0] == written[1] == [one for one in IDS if is_sampled(one, 0.25)]
    assert 0.2 < len(written[0]) / len(IDS) < 0.3
    assert all(is_sampled(one, 0.5) for one in written[0])  # a larger share has all of a smaller one
    assert all(is_sampled(one, 1.0) for one in IDS)
    assert not any(is_sampled(one, 0.0) for one in IDS)


def test_none_writes_nothing_and_counts_nothing(allowed: Record) -> None:
    log = _log(NONE)
    log.take([allowed])
    log.close()
    assert (log.written, log.failed) == (0, 0)


def test_stdout_is_written_to_and_stays_open(capfd: pytest.CaptureFixture[str], allowed: Record) -> None:
    log = _log(STDOUT)
    log.take([allowed])
    log.close()
    os.write(1, b"still open\n")
    line, rest = capfd.readouterr().out.splitlines()
    assert json.loads(line)["id"] == allowed.id
    assert rest == "still open"


def test_what_is_redacted_by_the_settings_is_in_no_line(tmp_path: Path, allowed: Record, denied: Record) -> None:
    path = tmp_path / "log"
    log = _log(path, redact=("X-Forwarded-User",))
    log.take([allowed, denied])
    log.close()
    assert _read(path)[0]["user"] == "[redacted]"
    assert b"nick" not in path.read_bytes()


# Hints.


def test_hint_is_in_the_first_line_of_its_kind_and_again_after_a_while(
    tmp_path: Path, asking: Asking, denied: Record, clock: Clock
) -> None:
    path = tmp_path / "log"
    log = _log(path, clock)
    log.take([denied, denied, asking.check([], peer="10.9.9.9"), denied])
    clock.now += decision_log.HINT_SECONDS
    log.take([denied])
    log.close()
    told = [line.get("hint", "") for line in _read(path)]
    assert [bool(hint) for hint in told] == [True, False, True, False, True]
    assert "did not arrive" in told[0]
    assert "10.9.9.9" in told[2]


@pytest.mark.parametrize("name", ["x-forwarded-user", "X-Forwarded-For", "origin", "host"])
def test_hint_quotes_no_value_that_is_redacted(tmp_path: Path, asking: Asking, name: str) -> None:
    path = tmp_path / "log"
    log = _log(path, redact=(name,))
    pairs = [("x-forwarded-proto", "https"), ("x-forwarded-user", "nobody@example.com")]
    log.take([asking.check(pairs)])
    log.close()
    (line,) = _read(path)
    assert line["reason"] == "trusted_proxy_user_not_allowed"
    assert "hint" not in line


def test_long_list_of_users_is_not_searched_for_a_hint(tmp_path: Path) -> None:
    users = [f"user-{number}@example.com" for number in range(decision_log.MOST_USERS_SEARCHED + 1)]
    asking = Asking({"g": gateway({"allowUsers": users})})
    log = _log(tmp_path / "log")
    log.take([asking.check(PAIRS), asking.check([])])
    log.close()
    assert ["hint" in line for line in _read(tmp_path / "log")] == [False, True]


# Outputs that cannot be opened.


def test_output_that_cannot_be_opened_is_told_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/log cannot be written: No such file.*make its folder first"):
        _log(tmp_path / "missing" / "log")
    with pytest.raises(OutputError, match="Is a directory"):
        _log(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match="nobody reads this FIFO"):  # and nobody waits for one who does
        _log(tmp_path / "fifo")


def test_no_standard_output_is_told_and_what_has_its_number_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stdout__", None)
    with pytest.raises(OutputError, match="there is no standard output"):
        _log(STDOUT)


# Outputs that cannot be written.


def test_pipe_that_nobody_reads_holds_up_nothing_and_the_lines_are_counted(
    tmp_path: Path, allowed: Record, clock: Clock
) -> None:
    with _pipe(tmp_path / "fifo") as reader:
        log = _impatient(tmp_path / "fifo", clock, most_waiting_bytes=100_000)
        for start in range(0, 1000, 50):
            log.take(_numbered(allowed, range(start, start + 50)))
        assert log.failed > 0
        kept = 1000 - log.failed
        # Whoever reads again gets what waited, whole and in order.
        got = b""
        while log.written < kept:
            got += os.read(reader, 65536)
            log.take([])
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(reader, 65536):
                got += chunk
        numbers = [int(json.loads(line)["id"], 16) for line in got.splitlines()]
        assert numbers == list(range(kept))
        log.close()
    assert (log.written, log.failed) == (kept, 1000 - kept)


def test_line_longer_than_a_pipe_takes_at_once_arrives_whole(tmp_path: Path, asking: Asking) -> None:
    long = asking.check([*PAIRS, *((f"x-{'n' * 25}-{number}", "") for number in range(120))])
    with _pipe(tmp_path / "fifo") as reader:
        log = _log(tmp_path / "fifo")
        log.take([long])
        got = os.read(reader, 1 << 20)
        assert len(got) > 4096
        assert json.loads(got)["id"] == long.id
        log.close()


def test_end_does_not_wait_for_a_reader_for_ever(tmp_path: Path, allowed: Record, clock: Clock) -> None:
    with _pipe(tmp_path / "fifo"), captured_logs() as said:
        log = _impatient(tmp_path / "fifo", clock, close_seconds=0.1)
        log.take(_numbered(allowed, range(1000)))
        log.close()
    assert log.written + log.failed == 1000
    assert log.failed > 0
    assert said[-1]["failed"] == log.failed


def test_reader_that_went_is_said_once_and_one_that_came_back_gets_what_waited(
    tmp_path: Path, allowed: Record, clock: Clock
) -> None:
    path = tmp_path / "fifo"
    with captured_logs() as said:
        with _pipe(path):
            log = _log(path, clock)
        for number in range(5):
            log.take(_numbered(allowed, [number]))
            clock.now += decision_log.RETRY_SECONDS
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        clock.now += decision_log.RETRY_SECONDS
        log.take([])
        got = os.read(reader, 65536)
        log.close()
        os.close(reader)
    assert [json.loads(line)["id"] for line in got.splitlines()] == [f"{number:020x}" for number in range(5)]
    assert [line["event"] for line in said] == ["decisions cannot be written", "decisions can be written again"]
    assert said[0]["error"] == "Broken pipe"
    assert (log.written, log.failed) == (5, 0)


def test_full_device_is_told_and_costs_no_more_memory_than_said(allowed: Record, clock: Clock) -> None:
    with captured_logs() as said:
        log = _impatient(Path("/dev/full"), clock, most_waiting_bytes=10_000)
        for _ in range(100):
            log.take([allowed])
            clock.now += decision_log.RETRY_SECONDS
        log.close()
    assert (log.written, log.failed) == (0, 100)
    assert {line["error"] for line in said if "error" in line} == {"No space left on device"}
    assert len(said) == 2 + 100 * decision_log.RETRY_SECONDS // decision_log.SAY_SECONDS


def test_file_of_which_the_disk_has_room_for_a_part_only_has_no_torn_line(
    tmp_path: Path, allowed: Record, clock: Clock
) -> None:
    path = tmp_path / "log"
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = _log(path, clock)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        with captured_logs() as said:
            for number in range(10):
                log.take(_numbered(allowed, [number]))
                clock.now += decision_log.RETRY_SECONDS
        before = _ids(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert before == list(range(len(before)))
    assert len(before) < 10
    assert said[0]["error"] == "File too large"
    log.take([])
    log.close()
    assert _ids(path) == list(range(10))


def test_decision_that_cannot_be_told_costs_no_other_its_line(tmp_path: Path, allowed: Record) -> None:
    path = tmp_path / "log"
    log = _log(path)
    odd = changed(allowed, time_ns=10**40)  # no moment that has a name
    with captured_logs() as said:
        log.take([allowed, odd, odd, allowed])
    log.close()
    assert (log.written, log.failed) == (2, 2)
    assert [line["event"] for line in said] == ["a decision cannot be told"]


# Files that move.


def test_file_is_moved_away_at_its_size_and_so_many_are_kept(tmp_path: Path, allowed: Record) -> None:
    path = tmp_path / "log"
    log = _log(path, rotate_bytes=2000, keep=3)
    for number in range(40):
        log.take(_numbered(allowed, [number]))
    log.close()
    files = [path.with_name(name) for name in ("log.3", "log.2", "log.1", "log")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 2000 for file in files)
    told = [number for file in files for number in _ids(file)]
    assert told == list(range(told[0], 40))
    assert log.written == 40


def test_size_of_nothing_never_rotates_and_a_line_over_the_size_is_written(tmp_path: Path, allowed: Record) -> None:
    for name, size in (("never", 0), ("small", 1)):
        log = _log(tmp_path / name, rotate_bytes=size, keep=100)
        for number in range(10):
            log.take(_numbered(allowed, [number]))
        log.close()
    assert _ids(tmp_path / "never") == list(range(10))
    assert len(list(tmp_path.glob("small*"))) == 10


def test_file_that_another_program_moved_or_removed_is_opened_anew(tmp_path: Path, allowed: Record) -> None:
    path = tmp_path / "log"
    log = _log(path)
    log.take(_numbered(allowed, [0]))
    path.rename(tmp_path / "log-by-logrotate")
    log.take(_numbered(allowed, [1]))
    path.unlink()
    log.take(_numbered(allowed, [2]))
    log.close()
    assert _ids(tmp_path / "log-by-logrotate") == [0]
    assert _ids(path) == [2]


def test_file_that_another_program_emptied_goes_on_at_its_beginning(tmp_path: Path, allowed: Record) -> None:
    path = tmp_path / "log"
    log = _log(path)
    log.take(_numbered(allowed, range(3)))
    os.truncate(path, 0)
    log.take(_numbered(allowed, [3]))
    log.close()
    assert _ids(path) == [3]


def test_link_to_the_file_stays_a_link(tmp_path: Path, allowed: Record) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "log"
    link.symlink_to(tmp_path / "disk" / "log")
    log = _log(link, rotate_bytes=1000)
    for number in range(4):
        log.take(_numbered(allowed, [number]))
    log.close()
    assert link.is_symlink()
    assert (tmp_path / "disk" / "log.1").exists()


def test_folder_that_cannot_be_changed_stops_the_rotation_and_not_the_log(
    tmp_path: Path, allowed: Record, clock: Clock
) -> None:
    path = tmp_path / "log"
    log = _log(path, clock, rotate_bytes=1000)
    (tmp_path / "log.1").mkdir()  # a file cannot take the place of a folder
    with captured_logs() as said:
        for number in range(6):
            log.take(_numbered(allowed, [number]))
    log.close()
    assert _ids(path) == list(range(6))
    assert [line["event"] for line in said] == ["the file cannot be rotated, and grows"]


def test_backlog_makes_no_file_larger_than_its_size(tmp_path: Path, allowed: Record, clock: Clock) -> None:
    path = tmp_path / "log"
    log = _log(path, clock, rotate_bytes=2000, keep=100)
    log.take(_numbered(allowed, range(100)))
    log.close()
    assert all(file.stat().st_size <= 2000 for file in tmp_path.iterdir())
    assert log.written == 100


# Settings that change.


def test_other_output_is_followed_and_what_waited_goes_to_the_old_one(tmp_path: Path, allowed: Record) -> None:
    log = _log(tmp_path / "a")
    log.take(_numbered(allowed, [0]))
    log.follow(log.prepare(DecisionLogSettings(output=tmp_path / "b", allows=1.0)))
    log.take(_numbered(allowed, [1]))
    log.close()
    assert (_ids(tmp_path / "a"), _ids(tmp_path / "b")) == ([0], [1])


def test_other_share_and_redaction_keep_the_output_open(tmp_path: Path, allowed: Record) -> None:
    path = tmp_path / "log"
    log = _log(path)
    opened = log.prepare(DecisionLogSettings(output=path, redact=("x-forwarded-user",)))
    before = _descriptors(path)
    log.follow(opened)
    log.take([allowed])
    assert _descriptors(path) == before
    log.close()
    assert _read(path)[0]["user"] == "[redacted]"
    assert not _descriptors(path)


def test_settings_that_were_passed_over_leave_no_file_open(tmp_path: Path, allowed: Record) -> None:
    log = _log(tmp_path / "a")
    for name in "bcb":
        log.follow(log.prepare(DecisionLogSettings(output=tmp_path / name)))
    log.follow(log.prepare(DecisionLogSettings(output=tmp_path / "b", allows=0.5)))
    assert not _descriptors(tmp_path / "c")
    log.take([changed(allowed, id=next(one for one in IDS if is_sampled(one, 0.5)))])
    assert not _descriptors(tmp_path / "a")
    assert len(_ids(tmp_path / "b")) == 1
    log.close()
    assert not _descriptors(tmp_path / "b")


def test_output_that_cannot_be_opened_changes_nothing(tmp_path: Path, allowed: Record) -> None:
    log = _log(tmp_path / "a")
    with pytest.raises(OutputError):
        log.prepare(DecisionLogSettings(output=tmp_path / "missing" / "b"))
    log.take(_numbered(allowed, [0]))
    log.close()
    assert _ids(tmp_path / "a") == [0]


def _descriptors(path: Path) -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if link.readlink() == path:
                found.append(link.name)
    return found
