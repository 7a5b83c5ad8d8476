"""`extauthz explain --replay`: what a decision log says would change under the present file."""

import gzip
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from cases.build import PAIRS, gateway, load_gateways, policy_of, request_of, text_of
from explaining.logged import changed, log_line
from extauthz.cli import main
from extauthz.config.load import loads
from extauthz.explaining.lines import LONGEST_LINE_BYTES, read_lines
from extauthz.explaining.replay import (
    LONGEST_COUNTED_CHARACTERS,
    MOST_COUNTED_APART,
    MOST_FAULTS_KEPT,
    as_json,
    replay,
)

THEN: Final[dict[str, Any]] = {"g": gateway(), "h": gateway()}
EVE: Final = [("x-forwarded-user", "eve@example.com"), *PAIRS[1:]]
ALLOWED, REFUSED_EVE, STRANGER = (
    log_line(load_gateways(THEN), request)
    for request in (request_of(), request_of(EVE), request_of(peer="10.0.0.8", gateway="h"))
)
LOG: Final = ALLOWED * 3 + REFUSED_EVE * 2 + STRANGER

Ran = Callable[..., Result]


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """Replay a log under a file with these gateways."""

    def run(log: bytes, gateways: dict[str, Any], *options: str, **sections: Any) -> Result:
        (tmp_path / "log.jsonl").write_bytes(log)
        (tmp_path / "extauthz.yaml").write_text(text_of({**sections, "gateways": gateways}), encoding="utf-8")
        argv = ["explain", "--config", str(tmp_path / "extauthz.yaml"), "--replay", str(tmp_path / "log.jsonl")]
        result = CliRunner().invoke(main, [*argv, *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def found(ran: Ran) -> Callable[..., Any]:
    """The same as JSON, with the status under `exit`."""

    def run(*arguments: Any, **sections: Any) -> Any:
        result = ran(*arguments, "--format", "json", **sections)
        return {**json.loads(result.stdout), "exit": result.exit_code}

    return run


def test_under_the_file_that_wrote_it_nothing_changes(found: Callable[..., Any]) -> None:
    report = found(LOG, THEN)
    assert (report["exit"], report["lines"], report["unchanged"]) == (0, 6, 6)
    # What that very file decided rests on nothing.
    assert (report["by_reason"], report["by_user"], report["rests_on"]) == ([], [], [])
    assert [(row["gateway"], row["unchanged"]) for row in report["by_gateway"]] == [("g", 5), ("h", 1)]


def test_who_is_let_in_now_is_counted_by_reason_user_and_gateway(found: Callable[..., Any]) -> None:
    report = found(LOG, {"g": gateway({"allowUsers": ["nick@example.com", "eve@example.com"]}), "h": gateway()})
    assert (report["exit"], report["newly_allowed"], report["unchanged"]) == (1, 2, 4)
    then = "trusted_proxy_user_not_allowed"
    assert report["by_reason"] == [{"change": "newly_allowed", "then": then, "now": None, "lines": 2}]
    (user,) = report["by_user"]
    assert (user["user"], user["newly_allowed"]) == ("eve@example.com", 2)
    assert report["by_gateway"][0]["gateway"] == "g"
    assert report["by_gateway"][0]["newly_allowed"] == 2


def test_who_is_refused_now_is_counted(found: Callable[..., Any]) -> None:
    report = found(LOG, {"g": gateway(trustedProxies=["10.0.0.9"]), "h": gateway()})
    assert (report["exit"], report["newly_denied"], report["reason_changed"]) == (1, 3, 2)
    assert {(row["change"], row["then"], row["now"], row["lines"]) for row in report["by_reason"]} == {
        ("newly_denied", None, "trusted_proxy_untrusted_source", 3),
        ("reason_changed", "trusted_proxy_user_not_allowed", "trusted_proxy_untrusted_source", 2),
    }


def test_a_gateway_that_is_gone_refuses_everyone(found: Callable[..., Any]) -> None:
    report = found(LOG, {"h": gateway(), "i": gateway()})
    assert (report["newly_denied"], report["reason_changed"], report["unchanged"]) == (3, 2, 1)
    assert {row["now"] for row in report["by_reason"]} == {"gateway_unknown"}


def test_another_user_than_then_is_a_change(found: Callable[..., Any]) -> None:
    log = changed(ALLOWED, user="somebody@example.com")
    report = found(log, {"g": gateway({"allowUsers": []})})
    assert (report["exit"], report["user_changed"]) == (1, 1)


SHADOW: Final[dict[str, Any]] = {"g": gateway(mode="shadow")}
SHADOWED: Final = log_line(load_gateways(SHADOW), request_of(EVE))


def test_what_enforce_would_deny_is_told_while_shadow_mode_is_on(found: Callable[..., Any]) -> None:
    report = found(SHADOWED * 4 + ALLOWED, SHADOW)
    assert (report["exit"], report["unchanged"], report["enforce_would_deny"]) == (0, 5, 4)
    reason = "trusted_proxy_user_not_allowed"
    assert report["enforce_would_deny_by_reason"] == [{"reason": reason, "lines": 4}]
    assert [(row["user"], row["enforce_would_deny"]) for row in report["by_user"]] == [("eve@example.com", 4)]


def test_what_shadow_mode_let_pass_is_newly_denied_under_enforce(found: Callable[..., Any]) -> None:
    report = found(SHADOWED * 4 + ALLOWED, {"g": gateway()})
    assert (report["exit"], report["newly_denied"], report["unchanged"]) == (1, 4, 1)
    assert report["enforce_would_deny"] == 0


def test_what_shadow_mode_would_newly_let_pass_is_a_change(found: Callable[..., Any]) -> None:
    report = found(REFUSED_EVE + ALLOWED, {"g": gateway({"allowUsers": ["x"]}, mode="shadow")})
    assert (report["exit"], report["newly_shadowed"], report["newly_denied"]) == (1, 2, 0)
    assert report["enforce_would_deny"] == 2


def test_what_cannot_be_told_is_apart_with_why_and_is_no_good_end(found: Callable[..., Any]) -> None:
    log = log_line(load_gateways(THEN), request_of([*PAIRS, ("x-email", "nick@example.com")])) * 2
    report = found(log, {"g": gateway({"userHeader": "x-email"})})
    assert (report["exit"], report["untold"], report["unchanged"], report["newly_allowed"]) == (1, 2, 0, 0)
    (why,) = report["untold_because"]
    assert (why["lines"], "x-email" in why["why"]) == (2, True)


def test_the_old_file_tells_what_the_log_leaves_open(ran: Ran, tmp_path: Path) -> None:
    proof = log_line(load_gateways(THEN), request_of([*PAIRS, ("x-proof", "1")]))
    now = {"g": gateway({"requiredHeaders": ["x-forwarded-proto", "x-proof"]})}
    (tmp_path / "then.yaml").write_text(text_of({"gateways": THEN}), encoding="utf-8")
    before = ("--before", str(tmp_path / "then.yaml"))
    alone, told = ran(proof, now, "--format", "json"), ran(proof, now, *before, "--format", "json")
    assert {row["what"] for row in json.loads(alone.stdout)["rests_on"]} == {
        "x-forwarded-proto was not blank",
        "x-proof was not blank",
    }
    assert (json.loads(alone.stdout)["unchanged"], alone.exit_code) == (1, 0)
    assert (json.loads(told.stdout)["untold"], told.exit_code) == (1, 1)
    assert (json.loads(ran(LOG, {**THEN, "i": gateway()}, *before, "--format", "json").stdout)["rests_on"]) == []


def test_a_line_that_cannot_be_read_is_told_with_its_number_and_ends_nothing(ran: Ran) -> None:
    log = ALLOWED + b"nonsense\n\n[1]\n" + REFUSED_EVE + b"\xff\n{}\n" + b'{"a"' + b"\n" + STRANGER[:40]
    result = ran(log, THEN)
    assert result.exit_code == 0
    for number, why in ((2, "no JSON"), (4, "no JSON object"), (6, "no UTF-8"), (7, "`result`"), (8, "no JSON")):
        assert any(f"line {number} " in line and why in line for line in result.stderr.splitlines())
    assert "and 1 more" in result.stderr
    assert "2 lines decided again, 6 could not be read" in result.stdout
    report = json.loads(ran(log, THEN, "--format", "json").stdout)["unreadable"]
    assert (report["lines"], len(report["first"])) == (6, MOST_FAULTS_KEPT)


def test_a_file_without_one_line_of_a_log_is_bad_usage(ran: Ran) -> None:
    for log in (b"nonsense\n", b'{"peer": "10.0.0.7"}\n', b"\x1f\x8bnot gzip", b"\0" * 100):
        result = ran(log, THEN)
        assert result.exit_code == 2
        assert "no line of a decision log" in result.stderr
    assert ran(b"", THEN).exit_code == 0


def test_gzip_is_told_by_the_content_and_broken_gzip_by_its_line(ran: Ran) -> None:
    packed = gzip.compress(LOG)
    assert "6 lines decided again, 0 could not" in ran(packed, THEN).stdout
    long = gzip.compress(b"".join(changed(ALLOWED, id=str(number)) for number in range(5000)))
    cut = ran(long[: len(long) // 2], THEN)
    assert "the rest of the file cannot be read" in cut.stderr


def test_standard_input_is_read_as_a_file_is(ran: Ran, tmp_path: Path) -> None:
    assert ran(LOG, THEN).exit_code == 0
    argv = [
        sys.executable,
        "-m",
        "extauthz.cli",
        "explain",
        "--config",
        str(tmp_path / "extauthz.yaml"),
        "--replay",
        "-",
    ]
    for log in (LOG, gzip.compress(LOG)):
        done = subprocess.run(argv, input=log, capture_output=True, check=False)
        assert done.returncode == 0
        assert b"6 lines decided again" in done.stdout
        assert done.stderr == b""  # no bar where nobody looks on


def test_a_terminal_gets_a_progress_bar_on_standard_error_alone(ran: Ran, tmp_path: Path) -> None:
    log = b"".join(changed(ALLOWED, id=str(number)) for number in range(3000))
    assert ran(log, THEN).exit_code == 0
    code = (
        "import os, pty, subprocess, sys\n"
        "master, slave = pty.openpty()\n"
        "env = {**os.environ, 'TERM': 'xterm'}\n"
        "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=slave, env=env)\n"
        "os.close(slave)\n"
        "out, seen = p.stdout.read(), b''\n"
        "try:\n"
        "    while part := os.read(master, 65536): seen += part\n"
        "except OSError: pass\n"
        "p.wait()\n"
        "print(b'deciding again' in seen, b'deciding' in out, b'3000 lines decided again' in out)\n"
    )
    argv = [sys.executable, "-m", "extauthz.cli", "explain", "--config", str(tmp_path / "extauthz.yaml")]
    argv += ["--replay", str(tmp_path / "log.jsonl")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]


def test_the_report_for_people_has_every_table(ran: Ran) -> None:
    shadow = SHADOWED + LOG
    now = {"g": gateway({"allowUsers": ["eve@example.com"]}), "h": gateway({"userHeader": "x"}, mode="shadow")}
    shown = ran(shadow, now).stdout
    for text in ("newly denied", "newly allowed", "newly shadowed", "By gateway", "By reason", "By user"):
        assert text in shown
    assert "nick@example.com" in shown
    assert "Shadow mode lets 1 of them pass that enforce would deny" in shown
    assert "Each table has its first 1 rows" in ran(shadow, now, "--top", "1").stdout


def test_a_user_of_the_log_can_neither_steer_the_terminal_nor_be_markup(ran: Ran) -> None:
    log = changed(REFUSED_EVE, user="\x1b[2J[bold red]eve[/]", reason="\x9bx")
    shown = ran(log, {"g": gateway(trustedProxies=["10.0.0.9"])}).stdout
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "[bold red]eve[/]" in shown


@pytest.mark.parametrize(
    "options",
    [
        ["--requests", "-"],
        ["--peer", "10.0.0.7"],
        ["--caller", "unix"],
        ["--top", "0"],
        ["--before", "/nowhere.yaml"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2(ran: Ran, options: list[str]) -> None:
    assert ran(LOG, THEN, *options).exit_code == 2


def test_before_without_a_log_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text_of({"gateways": THEN}), encoding="utf-8")
    result = CliRunner().invoke(main, ["explain", "--config", str(tmp_path / "e.yaml"), "--before", "x.yaml"])
    assert result.exit_code == 2
    assert "--before goes with --replay" in result.output


# Of any size.


class _Endless(io.RawIOBase):
    """A file of lines that are made while they are read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            self._rest = next(self._lines, b"")
            if not self._rest:
                return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _peak_bytes(lines: int) -> int:
    """Return the most memory that a replay holds, of a log in which every user, reason and gateway is another."""
    policy = policy_of({"g": gateway({"allowUsers": []})})
    told = json.loads(REFUSED_EVE)

    def made() -> Iterator[bytes]:
        for number in range(lines):
            told.update(user=f"{number}@" + "x" * 500, reason=f"trusted_proxy_missing_header_{number}", id=str(number))
            yield json.dumps(told).encode() + b"\n"

    tracemalloc.start()
    try:
        for _ in replay(policy, read_lines(_Endless(made()))):  # type: ignore[arg-type]  # reads as a file does
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_log_of_any_length_takes_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extauthz.explaining.replay.Counts.__init__.__defaults__", (50,))
    short, long = _peak_bytes(1000), _peak_bytes(8000)
    assert long < short * 1.5


def test_what_is_counted_apart_is_bounded_in_number_and_length_and_the_rest_is_counted_together() -> None:
    policy = policy_of({"g": gateway({"allowUsers": []})})
    told = json.loads(REFUSED_EVE)
    lines = b"".join(
        json.dumps({**told, "user": f"{number:06}" + "x" * 1000}).encode() + b"\n"
        for number in range(MOST_COUNTED_APART + 7)
    )
    *_, report = replay(policy, read_lines(io.BytesIO(lines)))
    assert len(report.by_user.rows) == MOST_COUNTED_APART
    assert max(len(user or "") for user in report.by_user.rows) == LONGEST_COUNTED_CHARACTERS + 1
    assert as_json(report, 3)["counted_together"]["users"] == {"newly_allowed": 7}
    assert len(as_json(report, 3)["by_user"]) == 3


def test_a_line_over_the_limit_is_passed_over_unread_and_those_behind_it_are_read() -> None:
    long = b'{"a": "' + b"x" * (2 * LONGEST_LINE_BYTES + 5) + b'"}\n'
    found = list(read_lines(io.BytesIO(long + b'{"b": 1}\n' + long[:-1])))
    assert [(line.number, line.data) for line in found] == [(1, None), (2, {"b": 1}), (3, None)]
    assert f"longer than {LONGEST_LINE_BYTES} bytes" in found[0].fault


def test_files_of_these_tests_load() -> None:
    assert not loads(text_of({"gateways": THEN})).incomplete
