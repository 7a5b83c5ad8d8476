"""What the native engine leaves to us: the limit of calls, deadlines, health, the end, and that it is there at all."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import CHECK, SECONDS, SERVICE, SERVING, ask, call, channel, command, hold, serving
from doors.h2_by_hand import Wire, grpc_frame, request_fields
from extauthz.authorizer import Trace
from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors.envoy_native import NativeDoor
from extauthz.doors.grpc_shared import GrpcDoorSettings
from extauthz.doors.native_health import CHECK_PATH, MOST_WATCHERS, WATCH_PATH
from extauthz.doors.native_memory import MemoryGuard
from support.process import READY_SECONDS, wait_until

MESSAGE = check_request(PAIRS)
ALLOWED = "allow:nick@example.com"
CONFIG: dict[str, Any] = {"gateways": {"g": gateway()}}
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


@pytest.mark.only_native
def test_of_a_burst_beyond_the_limit_each_call_is_answered_or_refused(tmp_path: Path) -> None:
    config = {**CONFIG, "server": {"maxConcurrent": 4}}
    with serving(tmp_path, config) as served, Wire(served.address) as wire:
        wire.open()
        assert wire.ask(1, MESSAGE).status == 0
        streams = range(3, 203, 2)
        # All of them wait when it goes on, so that they are there at once.
        served.program.freeze()
        for stream in streams:
            wire.write(wire.headers(stream), wire.data(stream, grpc_frame(MESSAGE)))
        served.program.signal(signal.SIGCONT)
        statuses = Counter(wire.ending(stream).status for stream in streams)
        assert set(statuses) == {0, FULL}
        assert statuses.total() == len(streams)
        # And there is room again.
        assert ask(served.address, MESSAGE).told == ALLOWED


@pytest.mark.only_native
@pytest.mark.parametrize("traced", [False, True])
def test_calls_that_nobody_waits_for_any_more_take_nobodys_place(*, traced: bool) -> None:
    most, begun, released = 4, threading.Event(), threading.Event()

    def check(message: bytes, _caller: Caller, _trace: Trace | None) -> bytes:
        if message == b"slow":
            begun.set()
            released.wait(READY_SECONDS)
        return message

    endpoint = Endpoint.parse("127.0.0.1:0")
    settings = GrpcDoorSettings(
        endpoints=(endpoint,), certificates=None, read_principals=False, most_calls=most, most_message_bytes=1_000
    )
    door = NativeDoor(check, settings, traced=traced)
    door.start()
    try:
        with channel(str(door.endpoints[0])) as opened:
            ask_for: Any = opened.unary_unary(CHECK)
            slow = ask_for.future(b"slow", timeout=READY_SECONDS)
            assert begun.wait(READY_SECONDS)
            late = [ask_for.future(b"late", timeout=0.2) for _ in range(most + 2)]
            assert {one.code() for one in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            live = ask_for.future(b"live", timeout=READY_SECONDS)
            time.sleep(0.3)  # it arrives, behind those that are over; later it would meet none of them
            released.set()
            assert (slow.result(), live.result()) == (b"slow", b"live")
    finally:
        released.set()
        door.drain(READY_SECONDS)


@pytest.mark.only_native
def test_silent_calls_are_cut_at_the_end_and_keep_nobody(tmp_path: Path) -> None:
    config = {**CONFIG, "server": {"drainSeconds": 60}}
    with serving(tmp_path, config) as served, channel(served.address) as opened:
        silent = hold(opened, MESSAGE, 8)
        served.program.signal(signal.SIGTERM)
        # Well before the drain's time is up, or this waits in vain.
        assert served.program.wait_end() == 0
        wait_until(lambda: all(held.status() for held in silent), "the calls to end")
        assert {held.status() for held in silent} == {grpc.StatusCode.UNAVAILABLE}


def _ask_until_refused(address: str, answers: "Counter[str]", lock: threading.Lock) -> None:
    with channel(address) as opened:
        while True:
            try:
                call(opened, MESSAGE)
                status = "OK"
            except grpc.RpcError as error:
                status = error.code().name
            with lock:
                answers[status] += 1
            if status != "OK":
                return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_decided_under_load_reaches_who_asked_before_the_service_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    answers: Counter[str] = Counter()
    lock = threading.Lock()
    with serving(tmp_path, {**CONFIG, "server": {"drainSeconds": 2}}) as served:
        arguments = (served.address, answers, lock)
        clients = [threading.Thread(target=_ask_until_refused, args=arguments) for _ in range(8)]
        for client in clients:
            client.start()
        wait_until(lambda: answers["OK"] > 200, "the load to be there")
        served.program.signal(number)
        for client in clients:
            client.join()
        assert served.program.wait_end() == 0
        assert answers.keys() <= {"OK", "UNAVAILABLE", "CANCELLED"}
        assert len(served.decisions()) == answers["OK"]


def test_who_watches_an_unknown_service_hears_nothing_of_ours(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as served, channel(served.address) as opened:
        watch: Any = opened.unary_stream(
            WATCH_PATH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        unknown, ours = (watch(health_pb2.HealthCheckRequest(service=name), timeout=60) for name in ("x", SERVICE))
        assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert next(ours).status == SERVING
        served.program.signal(signal.SIGTERM)
        assert next(ours).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError):
            next(unknown)


@pytest.mark.only_native
def test_watchers_beyond_their_limit_are_refused_and_those_that_go_make_room(tmp_path: Path) -> None:
    fields = request_fields(path=WATCH_PATH)

    def watch(wire: Wire, stream: int) -> None:
        wire.write(wire.headers(stream, fields), wire.data(stream, grpc_frame(b"")))

    with serving(tmp_path, CONFIG) as served:
        with Wire(served.address) as wire:
            wire.open()
            for number in range(MOST_WATCHERS + 1):
                watch(wire, 2 * number + 1)
            # Which of them is the one too many is the engine's affair.
            assert wire.read_until(lambda: any(ending.is_over for ending in wire.streams.values()))
            assert wire.read_until(lambda: len(wire.streams) == MOST_WATCHERS + 1)
            assert [ending.status for ending in wire.streams.values() if ending.is_over] == [FULL]
            assert ask(served.address, MESSAGE).told == ALLOWED

        def has_room() -> bool:
            with Wire(served.address) as wire:
                watch(wire.open(), 1)
                return wire.read_until(lambda: 1 in wire.streams and bool(wire.streams[1].body), 2)

        wait_until(has_room, "those who went to be forgotten")


def test_health_that_is_asked_for_wrongly_is_an_error_and_there_is_no_list(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as served, channel(served.address) as opened:
        for path in (CHECK_PATH, "/grpc.health.v1.Health/List"):
            method: Any = opened.unary_unary(path)
            with pytest.raises(grpc.RpcError):
                method(b"\xff" * 10, timeout=SECONDS)


@pytest.mark.only_native
def test_there_is_no_reflection_at_the_native_engine(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as served, channel(served.address) as opened:
        method: Any = opened.unary_unary("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as refused:
            method(b"", timeout=SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.only_native
def test_engine_that_is_not_installed_is_named_with_its_cure(tmp_path: Path) -> None:
    config = {**CONFIG, "server": {"engine": "native"}}
    _, _, _, *serve = command(tmp_path, config, ["127.0.0.1:0"])
    check = ["check", "--config", str(tmp_path / "extauthz.yaml")]
    without = "import sys; sys.modules['pygrpc_native'] = None; from extauthz.cli import main; sys.exit(main())"
    served, checked = (
        subprocess.run(
            [sys.executable, "-c", without, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
        )
        for arguments in (serve, check)
    )
    assert (served.returncode, checked.returncode) == (2, 1)
    for said in (served.stdout + served.stderr, checked.stdout + checked.stderr):
        assert "pip install 'extauthz[native]'" in said
        assert "Traceback" not in said


def test_grpcio_does_not_load_the_other_engine(tmp_path: Path, engine: str) -> None:
    with serving(tmp_path, CONFIG) as served:
        loaded = Path(f"/proc/{served.program.pid}/maps").read_text(encoding="utf-8")
        assert ("pygrpc_native" in loaded) == (engine == "native")


def test_growth_counts_from_the_least_that_was_held_and_what_stays_is_taken_for_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = 1000
    now = 0.0
    # Its own clock alone: by the one of the process, the loops of other threads know how long to sleep.
    monkeypatch.setattr("extauthz.doors.native_memory.time", SimpleNamespace(monotonic=lambda: now))
    guard = MemoryGuard(lambda: held, most=100)

    def exceeded(more: int) -> bool:
        nonlocal held, now
        held += more
        now += 1
        return guard.is_exceeded()

    assert not exceeded(100)
    assert exceeded(1)
    guard.settle()
    assert not exceeded(100)
    assert not exceeded(-500)
    assert exceeded(101)
