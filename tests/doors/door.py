"""The real service with several listeners, and a client that asks it as Envoy does. Nothing here judges an answer."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from cases.build import text_of
from cases.messages import Outcome, read
from support.engine import with_engine
from support.files import json_lines
from support.ports import free_port
from support.process import Program, running, wait_until

SERVICE = "envoy.service.auth.v3.Authorization"
CHECK = f"/{SERVICE}/Check"
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = health_pb2.HealthCheckResponse.SERVING
SECONDS = 20.0
_UNKNOWN, _FULL = grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED

# The name in the certificates that tests issue: what listens on 127.0.0.1 is asked for under it.
TLS_NAME = "extauthz.test"


def channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """Open a channel of its own: grpcio shares connections between channels to one address otherwise."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", TLS_NAME))
    if credentials is None:
        return grpc.insecure_channel(address, options[:1])
    return grpc.secure_channel(address, credentials, options)


def call(open_channel: grpc.Channel, message: bytes) -> bytes:
    """Send the bytes of one CheckRequest and return those of the answer."""
    method: Any = open_channel.unary_unary(CHECK)
    answer: bytes = method(message, timeout=SECONDS)
    return answer


def ask(address: str, message: bytes, credentials: grpc.ChannelCredentials | None = None) -> Outcome:
    """Ask once, on a connection of its own."""
    with channel(address, credentials) as opened:
        return read(call(opened, message))


def status_of(address: str, message: bytes, credentials: grpc.ChannelCredentials | None = None) -> grpc.StatusCode:
    """Ask once, and return how the call ended."""
    try:
        ask(address, message, credentials)
    except grpc.RpcError as error:
        status: grpc.StatusCode = error.code()
        return status
    return grpc.StatusCode.OK


class HeldCall:
    """A call that is open at the server and waits for its message until `release`."""

    def __init__(self, opened: grpc.Channel, message: bytes, *, one_write: bool = False) -> None:
        self._released = threading.Event()
        self._answered = threading.Event()
        self._one_write = one_write
        method: Any = opened.stream_unary(CHECK)
        self._call = method.future(self._messages(message), timeout=60)
        self._call.add_done_callback(lambda _: self._answered.set())

    def _messages(self, message: bytes) -> Iterator[bytes]:
        self._released.wait()
        yield message
        if self._one_write:
            self._answered.wait()

    def release(self) -> None:
        """Send the message."""
        self._released.set()

    def answer(self) -> Outcome:
        """Return the answer; raises as grpcio does where there is none."""
        return read(self._call.result(timeout=SECONDS))

    @property
    def is_over(self) -> bool:
        """Whether it ended: while it is held, it was refused."""
        return bool(self._call.done())

    def status(self) -> grpc.StatusCode:
        """Return how the call ended."""
        status: grpc.StatusCode = self._call.code()
        return status


def _arrived(opened: grpc.Channel) -> None:
    """Return when all that was sent on this connection before has arrived, and who was refused has heard of it.

    By a method that there is not: an answered call counts for a moment longer than its answer takes. As a future: the
    library tells of its end in its turn.
    """
    method: Any = opened.unary_unary(f"/{SERVICE}/None")
    if method.future(b"", timeout=SECONDS).code() not in {_UNKNOWN, _FULL}:
        raise AssertionError("a method that there is not was answered")


def hold(opened: grpc.Channel, message: bytes, count: int, *, one_write: bool = False) -> list[HeldCall]:
    """Return so many calls that are all open at the server.

    Args:
        opened: The connection.
        message: What each sends when it is released.
        count: How many.
        one_write: Nothing is written after the message, as proxies write its end with it: this library writes that
            apart, and where the server has answered and is gone by then, it drops the answers that it has not read.
            grpcio's server answers before the end, the native engine does not.

    Raises:
        TimeoutError: There was no room for all of them in time. Calls that end give their place back a moment later.
    """
    _arrived(opened)  # the connection is there, so that calls on it arrive in their order
    calls = [HeldCall(opened, message, one_write=one_write) for _ in range(count)]

    def are_held() -> bool:
        _arrived(opened)
        refused = [number for number, one in enumerate(calls) if one.is_over]
        for number in refused:
            calls[number] = HeldCall(opened, message, one_write=one_write)
        return not refused

    wait_until(are_held, "every call to be open")
    return calls


@dataclass(frozen=True)
class Served:
    """A running service and where it listens."""

    program: Program
    addresses: tuple[str, ...]
    credentials: grpc.ChannelCredentials | None

    @property
    def address(self) -> str:
        """The first address."""
        return self.addresses[0]

    def is_serving(self) -> bool:
        """Whether its health service says so."""
        with channel(self.address, self.credentials) as opened:
            method: Any = opened.unary_unary(HEALTH)
            try:
                answer = method(health_pb2.HealthCheckRequest(service=SERVICE).SerializeToString(), timeout=5)
            except grpc.RpcError:
                return False
        return bool(health_pb2.HealthCheckResponse.FromString(answer).status == SERVING)

    def logged(self) -> list[dict[str, Any]]:
        """Return what it wrote into its own log, one object a line."""
        return [line for line in self._lines() if "event" in line]

    def decisions(self) -> list[dict[str, Any]]:
        """Return the decisions that it wrote to standard output, which goes to the same file here."""
        return [line for line in self._lines() if "event" not in line]

    def _lines(self) -> list[dict[str, Any]]:
        return json_lines(self.program.log_text(), mixed=True)


@contextlib.contextmanager
def serving(
    directory: Path,
    config: Mapping[str, Any],
    *,
    listen: Sequence[str] = (),
    credentials: grpc.ChannelCredentials | None = None,
) -> Iterator[Served]:
    """Run the service while the block runs, from the moment it serves; without `listen`, on a free port."""
    addresses = tuple(listen) or (f"127.0.0.1:{free_port()}",)
    argv = command(directory, config, addresses)
    with running(argv, log=directory / "extauthz.log", cwd=directory) as program:
        served = Served(program, addresses, credentials)
        program.wait_ready(served.is_serving)
        yield served


def command(directory: Path, config: Mapping[str, Any], addresses: Sequence[str]) -> list[str]:
    """Write the configuration, and return the command that serves it."""
    path = directory / "extauthz.yaml"
    path.write_text(text_of(with_engine(config)), encoding="utf-8")
    argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(path)]
    for address in addresses:
        argv += ["--grpc", address]
    for door in ("http", "admin"):
        argv += [f"--{door}", f"127.0.0.1:{free_port()}"]
    return argv


def refused(directory: Path, config: Mapping[str, Any], addresses: Sequence[str] = ("127.0.0.1:0",)) -> str:
    """Run a service that must not start; return what it says, having seen that it ends as bad usage does."""
    argv = command(directory, config, addresses)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=directory)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 2, said
    assert "Traceback" not in said
    return said
