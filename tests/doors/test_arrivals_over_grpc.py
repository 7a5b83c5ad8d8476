"""Checks at grpcio without a thread each: what that promises, and that a library that is not known is served too."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import CHECK, SECONDS, call, channel, hold, serving, status_of
from extauthz.authorizer import CheckFunction
from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors import grpc_arrivals
from extauthz.doors.envoy_grpc import GrpcDoor
from extauthz.doors.grpc_shared import GrpcDoorSettings
from support.build import same_build

pytestmark = pytest.mark.only_grpcio  # the native engine has its own threads

MESSAGE = check_request(PAIRS)
ALLOWED = "allow:nick@example.com"
CALLS = 64
TRIED = "1.85.1"


def test_the_library_is_known_in_the_version_that_was_tried() -> None:
    # Where it is not, everything works, at little more than half the speed, and nobody would notice.
    assert grpc_arrivals.is_known() or grpc.__version__ != TRIED


def test_callers_that_open_calls_and_send_nothing_take_no_threads(tmp_path: Path) -> None:
    with serving(tmp_path, {"gateways": {"g": gateway()}}) as served, channel(served.address) as opened:
        process = psutil.Process(served.program.pid)
        hold(opened, MESSAGE, 1)
        before = process.num_threads()
        held = hold(opened, MESSAGE, CALLS)
        assert process.num_threads() < before + CALLS // 4  # the library's own come and go
        for one in held:
            one.release()
        assert [one.answer().told for one in held] == [ALLOWED] * CALLS


def test_callers_that_go_without_having_sent_anything_leave_their_places(tmp_path: Path) -> None:
    config = {"server": {"maxConcurrent": CALLS}, "gateways": {"g": gateway()}}
    with serving(tmp_path, config) as served:
        for _ in range(3):
            with channel(served.address) as opened:
                hold(opened, MESSAGE, CALLS)
            # As many again: those that are gone are forgotten, however they ended.
        with channel(served.address) as opened:
            for one in (held := hold(opened, MESSAGE, CALLS)):
                one.release()
            assert [one.answer().told for one in held] == [ALLOWED] * CALLS


def _door(check: CheckFunction) -> GrpcDoor:
    settings = GrpcDoorSettings(
        endpoints=(Endpoint.parse("127.0.0.1:0"),),
        certificates=None,
        read_principals=False,
        most_calls=CALLS,
        most_message_bytes=4096,
    )
    return GrpcDoor(check, lambda _caller: True, settings)


@pytest.fixture(params=["known", "changed"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A door whose handler fails for some messages; at the library as it is, and at one that is another."""
    if request.param == "changed":
        monkeypatch.setattr(grpc_arrivals, "KNOWN", frozenset())
    assert grpc_arrivals.is_known() is (request.param == "known")

    def check(message: bytes, caller: Caller) -> bytes:
        if message == b"fail":
            raise ValueError("the handler fails")
        return message + str(caller.address).encode()

    door = _door(check)
    door.start()
    try:
        yield str(door.endpoints[0])
    finally:
        monkeypatch.undo()
        door.drain(0)


def test_what_ends_a_thread_ends_its_own_call_and_not_the_thread_that_answers_all_of_them() -> None:
    def check(message: bytes, _caller: Caller) -> bytes:
        if message == b"end":
            raise SystemExit
        return message

    door = _door(check)
    door.start()
    try:
        address = str(door.endpoints[0])
        for _ in range(3):
            assert status_of(address, b"end") is grpc.StatusCode.INTERNAL
            with channel(address) as opened:
                assert call(opened, b"fine") == b"fine"
            assert door.is_alive()
    finally:
        door.drain(0)


def test_what_is_no_call_is_run_by_a_thread() -> None:
    with ThreadPoolExecutor(1) as threads:
        arrivals = grpc_arrivals.Arrivals(threads)
        assert arrivals.submit(lambda what, *with_: what(*with_), pow, 2, 5).result(SECONDS) == 32


# The library serves with one thread. It ends here as it would for a fault of the library.
_ENDED = """
import os
import grpc
from grpc import _server as library
from doors.door import CHECK, channel
from doors.test_arrivals_over_grpc import _door
from support.process import wait_until

def broken(*_):
    raise RuntimeError("a fault of the library")

door = _door(lambda message, _caller: message)
door.start()
alive = [door.is_alive()]
library._process_event_and_continue = broken
try:
    with channel(str(door.endpoints[0])) as opened:
        opened.unary_unary(CHECK)(b"", timeout=1)
except grpc.RpcError:
    # The client may hear of the end before the thread is through with telling of it.
    wait_until(lambda: not door.is_alive(), "the thread's end")
    alive.append(door.is_alive())
    door.drain(0)
    print(*alive, flush=True)
    os._exit(0)
"""


def test_a_door_whose_library_does_not_serve_any_more_says_so_and_can_be_closed() -> None:
    argv = [sys.executable, "-c", _ENDED]
    done = subprocess.run(argv, env={**os.environ, **same_build()}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_every_call_is_answered_by_its_own_message_whatever_form_the_library_has(address: str) -> None:
    with channel(address) as opened:
        method: Any = opened.unary_unary(CHECK)
        futures = [method.future(b"%d " % number, timeout=SECONDS) for number in range(CALLS // 2)]
        assert [future.result() for future in futures] == [b"%d 127.0.0.1" % number for number in range(CALLS // 2)]


def test_a_handler_that_fails_ends_its_own_call_alone(address: str) -> None:
    for _ in range(3):
        assert status_of(address, b"fail") is grpc.StatusCode.UNKNOWN
        with channel(address) as opened:
            assert call(opened, b"fine ") == b"fine 127.0.0.1"


def test_a_call_that_ends_without_a_message_is_refused(address: str) -> None:
    with channel(address) as opened:
        method: Any = opened.stream_unary(CHECK)
        with pytest.raises(grpc.RpcError) as refused:
            method(iter(()), timeout=SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert call(opened, b"fine ") == b"fine 127.0.0.1"
