"""Two builds of the same sources, asked the same: every answer and every line of the log is the same, byte for byte."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS
from cases.corpus import cases
from cases.generated import bounded
from cases.messages import FORMS, Form, check_request
from extauthz.wire.forward_auth import HttpMessage
from recall.both import CALLERS
from recall.test_recall import ABOUT, PAIRS_AND_MORE
from recall.test_recall_over_http import messages
from support.build import ROOT, environment, require_compiled

Question = dict[str, Any]


class Build:
    """A program of one build that answers."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        assert program.stdin is not None
        assert program.stdout is not None
        self._to, self._from = program.stdin, program.stdout
        self.name = json.loads(self._from.readline())

    def ask(self, questions: list[Question]) -> list[tuple[str, str]]:
        """Return what is answered, and the line of the log, to each question."""
        said = []
        for question in questions:
            self._to.write(json.dumps(question) + "\n")
            self._to.flush()
            answer, line = json.loads(self._from.readline())
            said.append((answer, line))
        return said


@contextmanager
def _started(directory: Path) -> Iterator[Build]:
    # One seed, so that sets are walked through alike.
    env = environment(directory, ROOT / "tests") | {"PYTHONHASHSEED": "0"}
    argv = [sys.executable, "-X", "faulthandler", "-m", "compiled.answering"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as program:
        try:
            yield Build(program)
        finally:
            program.terminate()


@pytest.fixture(scope="module")
def builds() -> Iterator[list[Build]]:
    with ExitStack() as stack:
        started = [stack.enter_context(_started(directory)) for directory in (ROOT, require_compiled())]
        assert [build.name for build in started] == ["pure", "compiled"]
        yield started


def _compare(builds: list[Build], questions: list[Question]) -> list[tuple[str, str]]:
    pure, compiled = (build.ask(questions) for build in builds)
    assert compiled == pure
    return compiled


TIMES = st.sampled_from([1_795_367_154.25, 1_795_367_156.5, 1_795_367_199.75, 1_795_363_554.0])


def _grpc(message: bytes, caller: int = 0, time: float = 1_795_367_154.25, form: Form = "raw") -> Question:
    return {"message": message.hex(), "caller": caller, "time": time, "map": form == "map"}


def _http(message: HttpMessage, caller: int, time: float) -> Question:
    headers = [(name.hex(), value.hex()) for name, value in message.headers]
    asked = {"method": message.method, "target": message.target.hex(), "headers": headers}
    return {**asked, "caller": caller, "time": time}


CALLER = st.integers(0, len(CALLERS) - 1)


@given(asked=st.lists(st.tuples(PAIRS_AND_MORE, ABOUT, st.sampled_from(FORMS), CALLER, TIMES), min_size=2))
@bounded
def test_check_requests(builds: list[Build], asked: list[tuple[Any, Any, Any, int, float]]) -> None:
    questions = [
        _grpc(check_request(pairs, form=form, **about), caller, time, form)
        for pairs, about, form, caller, time in asked
    ]
    _compare(builds, [*questions, *questions])


@given(asked=st.lists(st.tuples(messages(), CALLER, TIMES), min_size=2))
@bounded
def test_http_requests(builds: list[Build], asked: list[tuple[HttpMessage, int, float]]) -> None:
    questions = [_http(message, caller, time) for message, caller, time in asked]
    _compare(builds, [*questions, *questions])


@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3), st.integers(0, 3))))
@bounded
def test_bytes_changed_on_the_way(builds: list[Build], changes: list[tuple[float, bytes, int]]) -> None:
    message = check_request([*PAIRS, ("accept", "*/*"), ("cookie", "c" * 200)])
    questions = [_grpc(message)]
    for place, added, removed in changes:
        at = int(place * len(message))
        message = message[:at] + added + message[at + removed :]
        questions.append(_grpc(message))
    _compare(builds, questions)


@given(message=st.binary(max_size=200))
@bounded
def test_bytes_that_were_never_a_message(builds: list[Build], message: bytes) -> None:
    _compare(builds, [_grpc(message)])


def test_corpus(builds: list[Build]) -> None:
    found = [(case, form) for case in cases() for form in FORMS]
    said = _compare(
        builds,
        [
            _grpc(check_request(case.pairs, form=form, gateway=case.gateway_id, peer=case.peer, host=""), form=form)
            for case, form in found
        ],
    )
    for (case, form), (_, line) in zip(found, said, strict=True):
        assert json.loads(line)["reason"] == (case.exact if form == "raw" else case.joined).reason
