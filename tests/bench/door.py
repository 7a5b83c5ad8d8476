"""The gRPC door under h2load, against a floor: the same server around a handler that parses and answers a constant."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from bench.measuring import Figure, figure
from bench.messages import configuration, message
from extauthz.wire.pb import check_pb2 as pb
from support.ports import free_port

METHOD = "/envoy.service.auth.v3.Authorization/Check"
SERVER_CORE, LOAD_CORE = 0, 1
READY_SECONDS = 20


class Door(NamedTuple):
    """One candidate: requests a second, and the same as a share of the floor, round by round."""

    name: str
    rate: Figure
    share: Figure | None
    megabytes: float


def rows(rounds: int, requests: int) -> Iterator[Door]:
    """Measure, and yield a line per candidate; nothing if h2load is missing."""
    load = shutil.which("h2load")
    if load is None:
        return
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        folder = Path(directory)
        sent = folder / "check.bin"
        body = message(raw=True)
        sent.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
        servers = {
            "floor: parse, answer a constant": _floor(folder),
            "extauthz, no stamp": _serve(folder, "plain", stamp=False),
            "extauthz, stamp reused": _serve(folder, "reused", stamp=True),
            "extauthz, each signed": _serve(folder, "signed", stamp=True, reuse="0s"),
        }
        started = {name: stack.enter_context(_running(argv, port)) for name, (argv, port) in servers.items()}
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(rounds):
            for server, (_, port) in servers.items():
                rates[server].append(_rate(load, port, sent, requests))
        floor = rates["floor: parse, answer a constant"]
        for server, values in rates.items():
            shares = [mine / base for mine, base in zip(values, floor, strict=True)]
            share = None if values is floor else figure(shares, lower_is_better=False)
            yield Door(server, figure(values, lower_is_better=False), share, _megabytes(started[server]))


def _serve(folder: Path, name: str, *, stamp: bool, reuse: str = "5s") -> tuple[list[str], int]:
    file = folder / f"{name}.yaml"
    port = free_port()
    others = f"listen: {{http: '127.0.0.1:{free_port()}', admin: '127.0.0.1:{free_port()}'}}\n"
    quiet = "decisionLog: {output: none}\n"
    file.write_text(quiet + others + configuration(stamp=stamp, reuse=reuse), encoding="utf-8")
    serve = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(file), "--grpc", f"127.0.0.1:{port}"]
    return serve, port


def _floor(folder: Path) -> tuple[list[str], int]:
    del folder
    port = free_port()
    return [sys.executable, str(Path(__file__).parent / "floor.py"), str(port)], port


@contextlib.contextmanager
def _running(argv: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, {SERVER_CORE})
        _wait_and_check(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_and_check(port: int) -> None:
    """Wait until the server answers, and see that it allows: h2load counts HTTP statuses only."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)) as channel:
            call: Any = channel.unary_unary(METHOD)
            try:
                answer = pb.CheckResponse.FromString(call(message(raw=True), timeout=2))
            except grpc.RpcError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
        if not answer.HasField("ok_response"):
            raise RuntimeError("the request that is measured is denied")
        return


def _rate(load: str, port: int, sent: Path, requests: int) -> float:
    argv = ["taskset", "-c", str(LOAD_CORE), load, "-n", str(requests), "-c", "4", "-m", "16", "-d", str(sent)]
    argv += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"http://127.0.0.1:{port}{METHOD}"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = re.search(r"finished in .*?, ([0-9.]+) req/s", output)
    succeeded = re.search(r"(\d+) succeeded", output)
    if found is None or succeeded is None or int(succeeded[1]) != requests:
        raise RuntimeError(f"h2load did not succeed:\n{output}")
    return float(found[1])


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found is not None else 0.0
