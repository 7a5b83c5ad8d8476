"""The decision log of the real service: asked at its real doors, under outputs that do not take what is written."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cases.build import PAIRS, gateway, text_of
from cases.messages import FORMS, check_request
from doors.door import Served, ask, call, channel, command, refused, serving
from forward_auth.asking import DIALECTS, Asked
from forward_auth.asking import ask as ask_http
from support.clients import raw
from support.files import json_lines
from support.ports import free_port
from support.process import require_program, running, wait_until

SECRET = "s3cr3t-v4lue"
PAGE = Path(__file__).parents[2] / "docs" / "decision-log.md"
GATEWAYS = {
    "g": gateway(),
    "shadow": gateway(mode="shadow"),
    "narrow": gateway(callers={"addresses": ["127.0.0.9"]}),
    "jwt": gateway({"requiredHeaders": ["x-goog-iap-jwt-assertion"]}),
}


def _lines(path: Path) -> list[dict[str, Any]]:
    # The last line may be half written, and so its last character.
    return json_lines(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else []


def _http_port(served: Served) -> int:
    argv = served.program.argv
    return int(argv[argv.index("--http") + 1].rpartition(":")[2])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that logs to decisions.jsonl beside its file."""
    directory = tmp_path_factory.mktemp("logged")
    config = {"callers": {"addresses": ["127.0.0.0/25"]}, "decisionLog": {"output": "log"}, "gateways": GATEWAYS}
    with serving(directory, config) as running_service:
        yield running_service


@pytest.fixture
def log(served: Served) -> Path:
    return Path(served.program.argv[served.program.argv.index("--config") + 1]).with_name("log")


def _told(log: Path, decision: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [line for line in _lines(log) if line["id"] == decision]
        return bool(found)

    wait_until(look, "the line of the decision")
    (line,) = found
    return line


@pytest.mark.parametrize("form", FORMS)
def test_what_envoy_is_answered_is_what_is_logged(served: Served, log: Path, form: Any) -> None:
    for pairs, about, told in (
        (PAIRS, {}, ("g", "allow", None, None)),
        ([], {}, ("g", "deny", "trusted_proxy_missing_header_x-forwarded-proto", "required_headers")),
        (PAIRS, {"peer": "10.9.9.9"}, ("g", "deny", "trusted_proxy_untrusted_source", "trusted_source")),
        ([], {"gateway": "shadow"}, ("shadow", "shadow", "trusted_proxy_missing_header_x-forwarded-proto", None)),
        (PAIRS, {"gateway": "narrow"}, ("narrow", "deny", "caller_not_allowed", "gateway_caller")),
        (PAIRS, {"gateway": "no-such"}, (None, "deny", "gateway_unknown", "gateway")),
    ):
        outcome = ask(served.address, check_request(pairs, form=form, **about))
        line = _told(log, outcome.response.dynamic_metadata.fields["decision"].string_value)
        assert (line["gateway"], line["result"], line["reason"]) == told[:3]
        assert line["step"] == (told[3] if told[1] != "shadow" else "required_headers")
        assert (line["reason"] or "") == outcome.reason
        assert line["door"] == "grpc"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_each_http_door_answers_is_what_is_logged(served: Served, log: Path, dialect: str) -> None:
    port = _http_port(served)
    for pairs, name, result in ((PAIRS, "g", "allow"), ((), "g", "deny"), ((), "shadow", "shadow")):
        answer = ask_http(dialect, port, name, Asked(pairs=pairs, path="/chat?q=1"))
        if result == "shadow":  # nothing that could be an identity passes, the decision's id neither
            wait_until(lambda: any((one["door"], one["result"]) == (dialect, "shadow") for one in _lines(log)), "it")
            continue
        (decision,) = answer.values("x-authz-decision")
        line = _told(log, decision)
        assert (line["door"], line["gateway"], line["result"], line["path"]) == (dialect, name, result, "/chat")
        assert (line["user"] == "nick@example.com") is (result == "allow")
        assert line["reason"] == (None if result == "allow" else answer.values("x-authz-reason")[0])


def test_bytes_that_are_no_request_and_strangers_are_logged(served: Served, log: Path) -> None:
    outcome = ask(served.address, b"\xff\xff")
    line = _told(log, outcome.response.dynamic_metadata.fields["decision"].string_value)
    assert (line["reason"], line["fault"]) == ("request_malformed", "the bytes are no request")
    before = len(_lines(log))
    raw(_http_port(served), b"\x00 / HTTP/9\r\n\r\n")
    wait_until(lambda: len(_lines(log)) > before, "the line of what was no HTTP")
    assert (_lines(log)[before]["reason"], _lines(log)[before]["door"]) == ("request_malformed", None)


def test_secret_in_any_place_is_in_neither_log(served: Served, log: Path) -> None:
    pairs = [
        *PAIRS,
        ("cookie", f"session={SECRET}"),
        ("authorization", f"Bearer {SECRET}"),
        ("proxy-authorization", f"Basic {SECRET}"),
        ("x-api-key", SECRET),
        ("x-goog-iap-jwt-assertion", f"a.{SECRET}.c"),
        ("x-pomerium-jwt-assertion", f"a.{SECRET}.c"),
        ("x-authz-stamp", SECRET),
        ("referer", f"https://example.com/?{SECRET}"),
    ]
    before, asked = len(_lines(log)), 0
    for name in ("g", "shadow", "jwt", "no-such"):
        for path in (f"/?q={SECRET}", f"/a;jsessionid={SECRET}", f"//nick:{SECRET}@example.com/"):
            for form in FORMS:
                ask(served.address, check_request(pairs, gateway=name, path=path, form=form))
            for dialect in DIALECTS:
                ask_http(dialect, _http_port(served), name, Asked(pairs=pairs, path=path))
            asked += len(FORMS) + len(DIALECTS)
    wait_until(lambda: len(_lines(log)) == before + asked, "a line for each")
    assert SECRET not in log.read_text(encoding="utf-8")
    assert SECRET not in served.program.log_text()


def test_log_decided_again_under_its_own_file_changes_nothing(served: Served, log: Path, tmp_path: Path) -> None:
    for pairs, name in ((PAIRS, "g"), ([], "g"), ([], "shadow"), (PAIRS[:1], "jwt")):
        outcome = ask(served.address, check_request(pairs, gateway=name))
    _told(log, outcome.response.dynamic_metadata.fields["decision"].string_value)  # the last line
    copy = tmp_path / "log"
    copy.write_bytes(log.read_bytes())
    config = served.program.argv[served.program.argv.index("--config") + 1]
    argv = [sys.executable, "-m", "extauthz.cli", "explain", "--config", config, "--replay", str(copy)]
    ended = subprocess.run([*argv, "--format", "json"], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    assert report["lines"] == report["unchanged"] == len(_lines(copy))
    assert report["unreadable"]["lines"] == 0


# Outputs that take nothing.


@contextlib.contextmanager
def _serving_into(directory: Path, output: Path | str) -> Iterator[Served]:
    """A service of which standard output goes to a file, a FIFO or a device, and the rest to its log."""
    address = f"127.0.0.1:{free_port()}"
    argv = command(directory, {"gateways": {"g": gateway()}}, [address])
    shell = ["/bin/sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", str(output), *argv]
    with running(shell, log=directory / "extauthz.log", cwd=directory) as program:
        served = Served(program, (address,), None)
        program.wait_ready(served.is_serving)
        yield served


def _answered(served: Served, count: int) -> int:
    """Ask so often, and return how often the answer was the right one."""
    message = check_request(PAIRS)
    with channel(served.address) as opened:
        return sum(b"nick@example.com" in call(opened, message) for _ in range(count))


def test_stdout_that_nobody_reads_delays_no_decision_and_no_end(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with _serving_into(tmp_path, fifo) as served:
            assert _answered(served, 500) == 500
            assert served.program.stop() == 0
            (missing,) = [line for line in served.logged() if "missing from the log" in line["event"]]
        got = b""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(reader, 65536):
                got += chunk
    finally:
        os.close(reader)
    *whole, rest = got.split(b"\n")
    assert all(json.loads(line)["result"] == "allow" for line in whole)
    assert len(whole) + missing["failed"] == 500
    assert not rest or len(rest) < len(whole[0]) + 100  # at most the one line that the end cut off


def test_stdout_that_was_closed_costs_no_decision(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with _serving_into(tmp_path, fifo) as served:
        os.close(reader)
        assert _answered(served, 100) == 100
        wait_until(lambda: any("cannot be written" in line["event"] for line in served.logged()), "the fault")
        assert _answered(served, 100) == 100
        assert served.program.stop() == 0
        said = [line["error"] for line in served.logged() if "cannot be written" in line["event"]]
    assert said == ["Broken pipe"]


def test_full_disk_costs_no_decision(tmp_path: Path) -> None:
    with serving(tmp_path, {"decisionLog": {"output": "/dev/full"}, "gateways": {"g": gateway()}}) as served:
        assert _answered(served, 200) == 200
        wait_until(lambda: any("cannot be written" in line["event"] for line in served.logged()), "the fault")
        assert _answered(served, 200) == 200
        assert served.program.stop() == 0
        (missing,) = [line for line in served.logged() if "missing from the log" in line["event"]]
        assert missing["failed"] == 400


def test_two_services_that_share_a_file_and_rotate_it_lose_and_break_no_line(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    log = {"output": str(shared), "rotateBytes": 20_000, "keep": 1000}
    config = {"decisionLog": log, "gateways": {"g": gateway()}}
    for name in "ab":
        (tmp_path / name).mkdir()
    with serving(tmp_path / "a", config) as one, serving(tmp_path / "b", config) as other:
        message = check_request(PAIRS)
        with channel(one.address) as first, channel(other.address) as second:
            for _ in range(1000):
                call(first, message)
                call(second, message)
        assert (one.program.stop(), other.program.stop()) == (0, 0)
    files = sorted(tmp_path.glob("shared*"))
    assert len(files) > 10
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 2000
    assert all(file.stat().st_size <= 20_000 for file in files)


# Outputs that change, or cannot be.


def test_reload_changes_the_output_and_one_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    config = {"decisionLog": {"output": "first"}, "gateways": {"g": gateway()}}
    with serving(tmp_path, config) as served:
        message = check_request(PAIRS)
        file = tmp_path / "extauthz.yaml"

        def write(output: str) -> None:
            file.write_text(text_of({**config, "decisionLog": {"output": output}}), encoding="utf-8")
            served.program.signal(signal.SIGHUP)

        ask(served.address, message)
        wait_until(lambda: len(_lines(tmp_path / "first")) == 1, "the first line")
        write("missing/second")
        wait_until(lambda: any("is refused" in line["event"] for line in served.logged()), "the refusal")
        assert "make its folder first" in served.program.log_text()
        ask(served.address, message)
        wait_until(lambda: len(_lines(tmp_path / "first")) == 2, "the second line, as before")
        write("second")
        wait_until(lambda: any("is in force" in line["event"] for line in served.logged()), "the reload")
        ask(served.address, message)
        wait_until(lambda: len(_lines(tmp_path / "second")) == 1, "the line in the new file")
        assert len(_lines(tmp_path / "first")) == 2


def test_output_that_cannot_be_opened_stops_the_start_and_is_found_by_check(tmp_path: Path) -> None:
    config = {"decisionLog": {"output": "missing/log"}, "stamp": {"enabled": False}, "gateways": {"g": gateway()}}
    said = refused(tmp_path, config)
    assert "decisionLog.output" in said
    assert "make its folder first" in said
    argv = [sys.executable, "-m", "extauthz.cli", "check", "--config", str(tmp_path / "extauthz.yaml")]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "decisionLog.output" in ended.stdout
    assert sorted(found.name for found in tmp_path.iterdir()) == ["extauthz.yaml"]  # check makes nothing


def test_decisions_go_to_standard_output_unless_told_otherwise(tmp_path: Path) -> None:
    with _serving_into(tmp_path, tmp_path / "out") as served:
        outcome = ask(served.address, check_request(PAIRS))
        wait_until(lambda: len(_lines(tmp_path / "out")) == 1, "the line")
        assert outcome.user in (tmp_path / "out").read_text(encoding="utf-8")
        assert not served.decisions()  # none of them in the service's own log


# The page.


def test_examples_of_the_page_do_what_they_say(served: Served, log: Path, tmp_path: Path) -> None:
    jq = Path(require_program("jq"))
    outcome = ask(served.address, check_request([], gateway="shadow"))
    decision = outcome.response.dynamic_metadata.fields["decision"].string_value
    _told(log, decision)
    (tmp_path / "decisions.jsonl").write_bytes(log.read_bytes())
    page = PAGE.read_text(encoding="utf-8")
    examples = page.split("```sh\n")[1].partition("```")[0]
    shown = json.loads(page.split("```json\n")[1].partition("```")[0])["id"]
    commands = [line for line in examples.splitlines() if line.startswith("jq")]
    assert len(commands) == 5
    found = [
        subprocess.run(
            ["/bin/sh", "-c", command.replace(shown, decision)],
            cwd=tmp_path, env={"PATH": f"{jq.parent}:/usr/bin:/bin"}, capture_output=True, text=True, check=True,
        ).stdout
        for command in commands
    ]  # fmt: skip
    assert "shadow\ttrusted_proxy_missing_header_x-forwarded-proto" in found[0]
    assert json.loads(found[1])["id"] == decision
    assert "did not arrive" in found[2]
    assert "trusted_proxy_missing_header_x-forwarded-proto" in found[3]
