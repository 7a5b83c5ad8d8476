"""Load at full speed: h2load for gRPC and HTTP/2, wrk for HTTP/1.1. Every answer must be 200, or there is no figure."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import on
from bench.measuring import percentile
from bench.programs import CHECK, require

CONNECTIONS, STREAMS = 4, 16
"""Of h2load: 64 requests are under way at any time."""
HTTP1_CONNECTIONS = 8
MAX_SECONDS = 300.0


class LoadError(Exception):
    """The load generator did not get the answers that are measured."""


@dataclass(frozen=True)
class Loaded:
    """One round of load.

    Attributes:
        rate: Requests answered a second.
        latencies_ms: Of each request, from when it was sent, in order of size; empty where they were not asked for.
    """

    rate: float
    latencies_ms: tuple[float, ...] = ()

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        return percentile(self.latencies_ms, share)


def framed(message: bytes, file: Path) -> Path:
    """Write a gRPC message with its prefix, as h2load sends it."""
    file.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    return file


def grpc_command(address: str, sent: Path, requests: int) -> list[str]:
    """Return the h2load command that asks a gRPC server for a Check again and again."""
    headers = ("content-type: application/grpc", "te: trailers")
    return [*_h2load(headers, requests), "-d", str(sent), f"http://{address}{CHECK}"]


def _h2load(headers: Sequence[str], requests: int) -> list[str]:
    argv = [require("h2load", "nghttp2-client"), "-n", str(requests), "-c", str(CONNECTIONS), "-m", str(STREAMS)]
    return argv + [part for header in headers for part in ("-H", header)]


def read_h2load(output: str, requests: int) -> float:
    """Return the rate that h2load tells.

    Raises:
        LoadError: not every request was answered with 200.
    """
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", output)
    succeeded = re.search(r"(\d+) succeeded", output)
    if rate is None or succeeded is None or int(succeeded[1]) != requests:
        raise LoadError(f"h2load did not get {requests} good answers:\n{output}")
    return float(rate[1])


def grpc_rate(address: str, sent: Path, requests: int, core: frozenset[int]) -> float:
    """Ask a gRPC server as fast as it answers; requests a second."""
    return read_h2load(_run(grpc_command(address, sent, requests), core), requests)


def http2_full(
    address: str, path: str, headers: Sequence[str], requests: int, *, core: frozenset[int], log: Path
) -> Loaded:
    """Ask an HTTP/2 server as fast as it answers, and keep how long each request took."""
    argv = [*_h2load(headers, requests), f"--log-file={log}", f"http://{address}{path}"]
    log.unlink(missing_ok=True)
    rate = read_h2load(_run(argv, core), requests)
    taken = [int(line.split("\t")[2]) / 1e3 for line in log.read_text(encoding="ascii").splitlines()]
    return Loaded(rate, tuple(sorted(taken)))


def http1_rate(address: str, path: str, headers: Sequence[str], seconds: float, core: frozenset[int]) -> float:
    """Ask an HTTP/1.1 server with wrk as fast as it answers; requests a second.

    Raises:
        LoadError: an answer was no 200, or none.
    """
    argv = [require("wrk", "wrk"), "-t1", f"-c{HTTP1_CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    argv += [part for header in headers for part in ("-H", header)]
    output = _run([*argv, f"http://{address}{path}"], core)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None or float(rate[1]) == 0 or "Non-2xx" in output or "Socket errors" in output:
        raise LoadError(output)
    return float(rate[1])


def _run(argv: Sequence[str], core: frozenset[int]) -> str:
    with on(core):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=MAX_SECONDS)
    if done.returncode:
        raise LoadError(f"{argv[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
