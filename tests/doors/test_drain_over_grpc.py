"""SIGTERM: what is under way is answered, what is new goes elsewhere, and the process ends as one that did its work."""

import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import SERVICE, SERVING, Served, channel, hold, serving, status_of
from support.ports import free_port
from support.process import wait_until

MESSAGE = check_request(PAIRS)
CALLS = 8


def _config(drain: int) -> dict[str, Any]:
    return {"server": {"drainSeconds": drain, "maxConcurrent": CALLS}, "gateways": {"g": gateway()}}


# The native engine knows of a call when its message is there, so that none can be held open by not sending it; its own
# tests are in test_native_engine.py.
holds_calls_open = pytest.mark.only_grpcio


def _stopping(served: Served) -> None:
    wait_until(lambda: any(line["event"] == "stopping" for line in served.logged()), "the service to stop")


@holds_calls_open
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_calls_under_way_are_answered_before_the_service_ends(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, _config(60)) as served, channel(served.address) as opened:
        calls = hold(opened, MESSAGE, CALLS, one_write=True)
        served.program.signal(number)
        _stopping(served)
        # New ones find nobody, so that the proxy takes another endpoint; until then there is no room for them.
        wait_until(
            lambda: status_of(served.address, MESSAGE) == grpc.StatusCode.UNAVAILABLE, "the port to take no new calls"
        )
        assert served.program.returncode is None
        for held in calls:
            held.release()
        assert [held.answer().told for held in calls] == ["allow:nick@example.com"] * CALLS
        assert served.program.wait_end() == 0


@holds_calls_open
def test_call_that_never_ends_does_not_keep_the_service(tmp_path: Path) -> None:
    with serving(tmp_path, _config(0)) as served, channel(served.address) as opened:
        calls = hold(opened, MESSAGE, CALLS)
        served.program.signal(signal.SIGTERM)
        assert served.program.wait_end() == 0
        for held in calls:
            assert held.status() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


@holds_calls_open
def test_second_signal_while_draining_harms_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, _config(60)) as served, channel(served.address) as opened:
        calls = hold(opened, MESSAGE, CALLS, one_write=True)
        served.program.signal(signal.SIGTERM)
        _stopping(served)
        served.program.signal(signal.SIGTERM)
        served.program.signal(signal.SIGINT)
        for held in calls:
            held.release()
        assert [held.answer().told for held in calls] == ["allow:nick@example.com"] * CALLS
        assert served.program.wait_end() == 0


def _watch(opened: grpc.Channel) -> Any:
    method: Any = opened.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return method(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)


def test_health_says_that_the_service_is_going(tmp_path: Path) -> None:
    with serving(tmp_path, _config(60)) as served, channel(served.address) as opened:
        states = _watch(opened)
        assert next(states).status == SERVING
        served.program.signal(signal.SIGTERM)
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        states.cancel()  # who watches may be waited for as long as the drain lasts
        assert served.program.wait_end() == 0


def test_unix_socket_is_gone_with_the_service_and_the_port_is_free(tmp_path: Path) -> None:
    port = free_port()
    socket = tmp_path / "grpc.sock"
    for _ in range(2):
        with serving(tmp_path, _config(1), listen=[f"127.0.0.1:{port}", f"unix:{socket}"]) as served:
            assert socket.is_socket()
            served.program.signal(signal.SIGTERM)
            assert served.program.wait_end() == 0
        assert not socket.exists()
