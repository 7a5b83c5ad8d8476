"""Attacks on the engines themselves, the same on both: the service lives, serves others, allows nothing by them.

What came of each stands in docs/engines.md, and is compared with it.
"""

import contextlib
import gzip
import resource
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from cases.build import gateway
from cases.messages import read
from doors.breaking import FLOODS, FORMS, MESSAGE, MIB, flood_outcome, outcome_of, outcomes
from doors.door import Served, ask, serving
from doors.h2_by_hand import ANSWER_SECONDS, Wire, grpc_frame, request_fields
from support.process import wait_until

ALLOWED = "allow:nick@example.com"
CONFIG: dict[str, Any] = {"decisionLog": {"output": "none"}, "gateways": {"g": gateway()}}
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]

BOUND = 400 * MIB
"""What the process may hold, whatever is sent to it."""
NATIVE_BOUND = 1000 * MIB
"""The same where the native engine is sent what it alone takes: it is cut at a growth of 256 MiB, and one more portion
of such messages may be on its way."""


@pytest.fixture(scope="module")
def served(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    del engine  # it is chosen
    with serving(tmp_path_factory.mktemp("service"), CONFIG) as running:
        yield running


def _held(served: Served) -> int:
    return int(psutil.Process(served.program.pid).memory_info().rss)


@contextlib.contextmanager
def _peak(served: Served, most: int = BOUND) -> Iterator[None]:
    """See that the process holds no more than `most` at any time while the block runs, and lives, and serves."""
    highest = [_held(served)]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.01) and served.program.returncode is None:
            highest[0] = max(highest[0], _held(served))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
        assert served.program.returncode is None, served.program.log_text()
        _serves(served)
    finally:
        ended.set()
        looking.join()
    assert highest[0] < most, f"{highest[0] // MIB} MiB"
    assert "Traceback" not in served.program.log_text()


def _serves(served: Served) -> None:
    """See that somebody else is answered; after a listener was cut, as soon as it is back."""

    def answered() -> bool:
        with contextlib.suppress(grpc.RpcError):
            return ask(served.address, MESSAGE).told == ALLOWED
        return False

    def denied() -> bool:
        # And not only who is allowed.
        with contextlib.suppress(grpc.RpcError):
            return ask(served.address, b"\xff").told == "deny:request_malformed"
        return False

    wait_until(answered, "somebody else to be answered")
    wait_until(denied, "somebody else to be denied")


@pytest.mark.parametrize("name", FORMS)
def test_a_call_of_a_wrong_form(served: Served, engine: str, name: str) -> None:
    form = FORMS[name]
    with _peak(served), Wire(served.address) as wire:
        wire.open()
        wire.write(wire.headers(1, form.fields), wire.data(1, form.body))
        ending = wire.ending(1)
        assert outcome_of(ending, wire) in outcomes()[name][engine].split(" or ")
        # Nothing is allowed but what a good message asks for.
        if ending.message and read(ending.message).told == ALLOWED:
            assert MESSAGE in form.body or name in {"gzip", "deflate"}


@pytest.mark.parametrize("name", FLOODS)
def test_a_connection_that_floods(served: Served, engine: str, name: str) -> None:
    with _peak(served), Wire(served.address) as wire:
        FLOODS[name](wire)
        expected = outcomes()[name][engine].split(" or ")
        wire.read_until(lambda: wire.gone_away is not None, ANSWER_SECONDS if expected == ["cut"] else 0.3)
        seen = ""

        def is_expected() -> bool:
            # The server may still be at what was sent to it.
            nonlocal seen
            wire.read_until(lambda: True)
            seen = flood_outcome(wire, served.address)
            return seen in expected

        with contextlib.suppress(TimeoutError):
            wait_until(is_expected, "the outcome that is told")
        assert seen in expected
        assert not any(ending.message for ending in wire.streams.values())


def test_a_thousand_connections_keep_nobody_out(served: Served) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    try:
        with contextlib.ExitStack() as stack, _peak(served):
            for number in range(1000):
                wire = stack.enter_context(Wire(served.address))
                if number % 2:
                    wire.open()
            _serves(served)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    process = psutil.Process(served.program.pid)
    wait_until(lambda: process.num_fds() < 100, "the connections to be let go")


def test_connections_beyond_the_file_limit_are_forgotten_when_they_go(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG) as served:
        process = psutil.Process(served.program.pid)
        limit = process.num_fds() + 20
        resource.prlimit(served.program.pid, resource.RLIMIT_NOFILE, (limit, limit))
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(Wire(served.address)).open()
            wait_until(lambda: process.num_fds() >= limit - 1, "every file to be open")
        _serves(served)


@pytest.mark.parametrize("size", [2 * MIB, 60 * MIB, 65 * MIB])
def test_a_message_far_beyond_the_limit_is_refused(served: Served, engine: str, size: int) -> None:
    most = NATIVE_BOUND if engine == "native" else BOUND
    with _peak(served, most), Wire(served.address) as wire:
        wire.open().write(wire.headers(1))
        wire.upload(1, grpc_frame(bytes(size)))
        assert wire.ending(1).status == FULL


def test_many_messages_of_60_mib_that_never_end(served: Served, engine: str) -> None:
    with _peak(served, NATIVE_BOUND if engine == "native" else BOUND), Wire(served.address) as wire:
        wire.open()
        for stream in range(1, 17, 2):
            wire.write(wire.headers(stream))
            if not wire.upload(stream, grpc_frame(bytes(50 * MIB), length=60 * MIB), end=False) and wire.closed:
                break
        # grpcio refuses each when its length has arrived; the native engine holds them, and is cut for it.
        assert wire.read_until(lambda: wire.closed, ANSWER_SECONDS if engine == "native" else 0) == (engine == "native")
    wait_until(lambda: _held(served) < BOUND, "what was held to be let go")


def test_many_gzip_bombs_of_60_mib(served: Served, engine: str) -> None:
    bomb = grpc_frame(gzip.compress(bytes(60 * MIB)), compressed=True)
    with _peak(served, NATIVE_BOUND if engine == "native" else BOUND), Wire(served.address) as wire:
        wire.open()
        streams = range(1, 25, 2)
        for stream in streams:
            wire.write(wire.headers(stream, request_fields(("grpc-encoding", "gzip"))))
            wire.upload(stream, bomb)
        endings = [wire.ending(stream) for stream in streams]
        assert {ending.status for ending in endings} <= {FULL, UNAVAILABLE, None}
        assert not any(ending.message for ending in endings)
    wait_until(lambda: _held(served) < BOUND, "what was held to be let go")


@pytest.mark.only_native
def test_a_listener_that_was_cut_is_back_with_its_socket_and_its_health(tmp_path: Path) -> None:
    socket = tmp_path / "grpc.sock"
    with serving(tmp_path, CONFIG, listen=[f"unix:{socket}"]) as served, Wire(served.address) as wire:
        wire.open()
        for stream in range(1, 17, 2):
            wire.write(wire.headers(stream))
            wire.upload(stream, grpc_frame(bytes(50 * MIB), length=60 * MIB), end=False)
        assert wire.wait_closed()
        wait_until(served.is_serving, "the listener to be back")
        assert stat.S_IMODE(socket.stat().st_mode) == 0o660
        assert "connections are cut" in served.program.log_text()
        _serves(served)
        served.program.signal(signal.SIGTERM)
        assert served.program.wait_end() == 0
        assert not socket.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_under_attack_and_load(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, {**CONFIG, "server": {"drainSeconds": 1}}) as served:
        ended = threading.Event()

        def attack() -> None:
            while not ended.is_set():
                for name in FLOODS:
                    with contextlib.suppress(OSError), Wire(served.address) as wire:
                        FLOODS[name](wire)

        attacker = threading.Thread(target=attack)
        attacker.start()
        try:
            # An engine may be busy, and end a call of somebody else's with an error; it may not answer it wrongly.
            for _ in range(10):
                _serves(served)
            served.program.signal(number)
            assert served.program.wait_end() == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        finally:
            ended.set()
            attacker.join()
        served.program.restart().wait_ready(served.is_serving)
        assert ask(served.address, MESSAGE).told == ALLOWED
