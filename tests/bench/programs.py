"""The servers that are measured: floors and extauthz, each started on its core, and seen to answer as it should."""

import contextlib
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

import extauthz as extauthz_package
from bench.machine import on
from bench.messages import message
from extauthz.doors.envoy_native import is_installed
from extauthz.wire.pb import check_pb2 as pb
from support.ports import free_port
from support.process import Program, require_program, running
from support.service import Service, running_service

CHECK = "/envoy.service.auth.v3.Authorization/Check"
TESTS = Path(__file__).parents[1]
SOURCES, MEASURED = TESTS.parent, Path(extauthz_package.__file__).parents[1]
"""Where the sources are, and where the build that is measured is: elsewhere if it is the compiled one."""


def environment(build: Path = MEASURED) -> dict[str, str]:
    """Return the variables with which a program is of a build, given by where it is, and may be one of this package."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (build, TESTS))), "PYTHONSAFEPATH": "1"}


ENV = environment()
"""For programs of this package."""
PLAIN = "plain Python"
"""What is measured with the sources, beside the compiled build."""
CALL_SECONDS = 5.0


class UnavailableError(Exception):
    """A part cannot be measured here; the text says what is missing and how to get it."""


def require(name: str, package: str) -> str:
    """Return the path of a program.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return require_program(name)
    except BaseException as error:  # pytest's own outcomes, which say it to tests and are no Exception
        if isinstance(error, Exception | KeyboardInterrupt | SystemExit):
            raise
        raise UnavailableError(f"{name} is not installed: install the package {package}") from None


def is_compiled() -> bool:
    """Tell whether the compiled build is measured, so that plain Python is measured beside it."""
    return MEASURED != SOURCES


def engines() -> tuple[str, ...]:
    """Return the gRPC engines that are installed."""
    return ("native", "grpcio") if is_installed() else ("grpcio",)


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    address: str
    """Where it answers what is measured, as `host:port`."""
    program: Program
    admin: str | None = None

    def processor_seconds(self) -> float:
        """How much processor time it has used."""
        times = psutil.Process(self.program.pid).cpu_times()
        return float(times.user + times.system)

    def told(self, metric: str) -> float:
        """The sum of one of its own metrics over all labels; 0 for a server that has none."""
        if self.admin is None:
            return 0.0
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=CALL_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{metric} ", f"{metric}{{")))


@contextlib.contextmanager
def floor(kind: str, directory: Path, core: frozenset[int]) -> Iterator[Server]:
    """Run a floor of floors.py while the block runs."""
    port = free_port()
    log = directory / f"floor-{kind}-{port}.log"
    argv = [sys.executable, "-m", "bench.floors", kind, str(port)]
    address = f"127.0.0.1:{port}"
    answers = http_answers if kind.startswith("http") else grpc_allows
    with contextlib.ExitStack() as stack:
        with on(core):
            program = stack.enter_context(running(argv, log=log, env=ENV, ready=lambda: answers(address)))
        yield Server(f"floor, {kind}", address, program)


@contextlib.contextmanager
def extauthz(
    name: str,
    directory: Path,
    core: frozenset[int],
    config: Mapping[str, Any],
    *,
    door: str = "grpc",
    build: Path = MEASURED,
) -> Iterator[Server]:
    """Run a build of extauthz while the block runs; its address is that of one of its doors."""
    with contextlib.ExitStack() as stack:
        with on(core):
            folder = directory / name.replace(",", "").replace(" ", "-")
            service: Service = stack.enter_context(running_service(folder, config, env=environment(build)))
        address = service.address if door == "grpc" else service.http
        yield Server(name, address, service.program, service.admin)


def grpc_allows(address: str) -> bool:
    """Tell whether a server allows the request that is measured: load generators see no more than HTTP's 200.

    Raises:
        OSError: nobody answers yet.
        RuntimeError: it is denied, and so nothing that is to be measured.
    """
    with grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        call: Any = channel.unary_unary(CHECK)
        try:
            answer = pb.CheckResponse.FromString(call(message(raw=True), timeout=CALL_SECONDS))
        except grpc.RpcError as error:
            raise ConnectionError(str(error)) from error
    if not answer.HasField("ok_response"):
        raise RuntimeError(f"the request that is measured is denied: {answer}")
    return True


def http_answers(address: str) -> bool:
    """Tell whether an HTTP server answers 200 at all; raises OSError while nobody does."""
    with urllib.request.urlopen(f"http://{address}/", timeout=CALL_SECONDS) as answer:
        return bool(answer.status == 200)
