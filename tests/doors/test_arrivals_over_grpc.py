"""Checks at grpcio without a thread each: what that promises, and that a library that is not known is served too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc import _server as library

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import CHECK, SECONDS, call, channel, hold, serving, status_of
from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors import grpc_arrivals
from extauthz.doors.envoy_grpc import GrpcDoor
from extauthz.doors.grpc_shared import GrpcDoorSettings
from support.process import wait_until

pytestmark = pytest.mark.only_grpcio  # the native engine has its own threads

MESSAGE = check_request(PAIRS)
ALLOWED = "allow:nick@example.com"
CALLS = 64


def test_the_library_is_the_one_that_is_known() -> None:
    # Where it is not, everything works, at little more than half the speed, and nobody would notice.
    assert grpc_arrivals.is_known()


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
                hold(opened, MESSAGE, CALLS - 1)
            # As many again: those that are gone are forgotten, however they ended.
        wait_until(lambda: status_of(served.address, MESSAGE) is grpc.StatusCode.OK, "the places to be free again")
        with channel(served.address) as opened:
            assert len(hold(opened, MESSAGE, CALLS - 1)) == CALLS - 1


@pytest.fixture(params=["known", "changed"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A door whose handler fails for one message; at the library as it is, and at one of another form."""
    if request.param == "changed":
        real = library._abort

        def abort(state: Any, call: Any, code: Any, details: bytes, more: Any = None) -> None:
            del more
            real(state, call, code, details)

        monkeypatch.setattr(library, "_abort", abort)
    assert grpc_arrivals.is_known() is (request.param == "known")

    def check(message: bytes, caller: Caller) -> bytes:
        if message == b"fail":
            raise ValueError("the handler fails")
        return message + str(caller.address).encode()

    settings = GrpcDoorSettings(
        endpoints=(Endpoint.parse("127.0.0.1:0"),),
        certificates=None,
        read_principals=False,
        most_calls=CALLS,
        most_message_bytes=4096,
    )
    door = GrpcDoor(check, lambda _caller: True, settings)
    door.start()
    try:
        yield str(door.endpoints[0])
    finally:
        monkeypatch.undo()
        door.drain(0)


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
