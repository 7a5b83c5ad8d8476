"""The benchmark runs from end to end, with tiny numbers. What it measures is no business of a test."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench import page, plots, tables
from bench.__main__ import main as command
from bench.floors import ANSWER_BYTES, constant
from bench.inprocess import CALLER, authorizer
from bench.measuring import Figure, in_turn, percentile, ratio
from bench.messages import configuration, message
from bench.openloop import moments
from bench.programs import ENV, engines
from bench.results import Compared, Line, Report, Section, Target
from bench.words import number, quantity, spread, targets
from extauthz.wire.pb.check_pb2 import CheckResponse
from support.process import require_program

PARTS = ("inprocess", "doors", "http", "envoy", "growth", "processes")
"""All but the start-up, which installs the package into an environment of its own."""

REPORT = Report(
    {"processor": "a processor"},
    {"load average before": "0.01"},
    "tiny",
    1.0,
    (
        Section(
            "doors",
            "The gRPC doors",
            "How.",
            (
                Line("native: floor", "/s", Figure(1000.0, 900.0, 1100.0)),
                Line(
                    "native: all",
                    "/s",
                    Figure(699.9, 600.0, 800.0),
                    compared=(Compared("its floor", Figure(0.6999, 0.6, 0.8), target=Target(at_least=0.7)),),
                ),
            ),
            ("a note",),
        ),
    ),
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, str]:
    for program in ("h2load", "wrk", "envoy"):
        require_program(program)
    folder = tmp_path_factory.mktemp("bench")
    argv = [sys.executable, "-m", "bench", "--tiny", "--only", ",".join(PARTS), "--output", str(folder)]
    done = subprocess.run(argv, env={**os.environ, **ENV}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = Report.from_data(json.loads((folder / "figures.json").read_text(encoding="utf-8")))
    return folder, report, done.stdout


def test_every_part_is_measured_and_printed(ran: tuple[Path, Report, str]) -> None:
    _, report, printed = ran
    assert [section.key for section in report.sections] == list(PARTS)
    for section in report.sections:
        assert section.lines
        assert section.title in printed
        for line in section.lines:
            assert 0 < line.figure.least <= line.figure.median <= line.figure.most, line


def test_floor_answers_as_many_bytes_as_extauthz(tmp_path: Path) -> None:
    answer = authorizer(configuration(), tmp_path).check(message(raw=True), CALLER)
    assert len(answer) == len(constant(ANSWER_BYTES)) == ANSWER_BYTES
    assert CheckResponse.FromString(constant(ANSWER_BYTES)).HasField("ok_response")


def test_each_engine_stands_beside_its_floor_and_beside_the_other(ran: tuple[Path, Report, str]) -> None:
    doors = ran[1].section("doors")
    assert doors is not None
    found = {line.name: [one.to for one in line.compared] for line in doors.lines}
    assert "native" in engines()
    assert found["grpcio: everything on, stamp reused"] == ["its floor"]
    assert found["native: everything on, stamp reused"] == ["its floor", "the same on grpcio"]


def test_the_plots_are_drawn_and_small(ran: tuple[Path, Report, str], tmp_path: Path) -> None:
    if os.environ.get("CI", "").lower() != "true":
        pytest.importorskip("matplotlib")
    drawn = plots.draw(ran[1], tmp_path)
    assert [file.stem for file in drawn] == list(plots.PLOTS)
    for file in drawn:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size <= page.MOST_PLOT_BYTES


def test_the_page_has_a_place_for_every_part_and_can_be_written_again_and_again(
    ran: tuple[Path, Report, str], tmp_path: Path
) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert set(page.parts(text)) == {*PARTS, "plain", "startup", "machine", "summary"}
    copy = tmp_path / "performance.md"
    copy.write_text(text, encoding="utf-8")
    page.write(ran[1], ran[0], copy)
    once = copy.read_text(encoding="utf-8")
    page.write(ran[1], ran[0], copy)
    assert copy.read_text(encoding="utf-8") == once
    for section in ran[1].sections:
        assert section.lines[0].name in once


def test_the_commands_of_the_page_are_ones_that_the_program_takes() -> None:
    shown = re.findall(r"^make bench BENCH='(.*?)'", page.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) == 3
    for options in shown:
        command.make_context("bench", shlex.split(options))


def test_a_part_that_was_not_measured_says_so_on_the_page() -> None:
    text = "<!-- bench: doors -->\nold\n<!-- /bench -->\n<!-- bench: envoy -->\nold\n<!-- /bench -->\n"
    found = page.parts(page.written(text, REPORT))
    assert "native: floor" in found["doors"]
    assert "a note." in found["doors"]
    assert "Not measured" in found["envoy"]
    assert "old" not in "".join(found.values())


def test_a_report_is_the_same_after_json() -> None:
    assert Report.from_data(json.loads(json.dumps(REPORT.to_data()))) == REPORT


def test_a_target_that_is_missed_by_a_hair_is_missed_and_not_rounded_to_met() -> None:
    line = REPORT.sections[0].lines[1]
    assert targets(line) == [("at least 70 %", False)]
    assert list(tables.held(REPORT.sections[0])) == [
        ("The gRPC doors, native: all: at least 70 %", "69.9 % of its floor", False)
    ]
    assert "| 69.9 % of its floor | **missed** |" in tables.summary(REPORT)


@pytest.mark.parametrize(
    ("value", "upwards", "worded"),
    [
        (12345.0, True, "12,400"),
        (12345.0, False, "12,300"),
        (0.12345, True, "0.124"),
        (3.0, True, "3.00"),
        (0.0, True, "0"),
        (-0.1234, True, "-0.123"),
        (0.29, False, "0.290"),
    ],
)
def test_numbers_are_rounded_to_the_side_that_is_asked_for(value: float, upwards: bool, worded: str) -> None:
    assert number(value, upwards=upwards) == worded


def test_what_is_better_small_is_rounded_up_and_what_is_better_large_down() -> None:
    assert quantity(1.2345, "ms") == "1.24 ms"
    assert quantity(12345, "/s") == "12,300 /s"
    assert spread(Figure(1.5, 1.2345, 1.8765), "ms") == "1.23 to 1.88 ms"


def test_candidates_take_turns_and_a_ratio_is_formed_within_each_round() -> None:
    asked: list[str] = []

    def measure(name: str) -> float:
        # Each round finds the machine twice as slow; the ratio does not.
        slowness = 1 << len(asked) // 2
        asked.append(name)
        return slowness * (2.0 if name == "b" else 1.0)

    found = in_turn({"a": "a", "b": "b"}, measure, 3)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert ratio(found["b"], found["a"]) == Figure(2.0, 2.0, 2.0)


def test_a_percentile_is_a_value_that_was_seen_and_not_less_than_the_share() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile([1.0, 9.0], 0.99) == 9.0


def test_requests_are_due_at_the_same_moments_for_every_candidate() -> None:
    found = moments(1000, 1.0, "random")
    assert found == moments(1000, 1.0, "random") == sorted(found)
    assert 800 < len(found) < 1200
    assert found[-1] < 1.0


def test_requests_at_an_even_pace_are_as_many_as_the_rate_says_and_as_far_apart() -> None:
    assert moments(500, 1.0, "even") == [number / 500 for number in range(500)]
    assert moments(50, 0.1, "even") == [0.0, 0.02, 0.04, 0.06, 0.08]
