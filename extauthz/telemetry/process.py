"""What the process takes of the machine, by the names that Prometheus' client libraries have agreed on (proc(5))."""

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from extauthz.telemetry.metric import Metric, Point, Reading

CPU: Final = Metric(
    name="process_cpu_seconds_total", kind="counter", help="Total user and system CPU time spent in seconds."
)
VIRTUAL: Final = Metric(name="process_virtual_memory_bytes", kind="gauge", help="Virtual memory size in bytes.")
RESIDENT: Final = Metric(name="process_resident_memory_bytes", kind="gauge", help="Resident memory size in bytes.")
STARTED: Final = Metric(
    name="process_start_time_seconds",
    kind="gauge",
    help="Start time of the process since unix epoch in seconds.",
)
OPEN_FILES: Final = Metric(name="process_open_fds", kind="gauge", help="Number of open file descriptors.")
MOST_FILES: Final = Metric(name="process_max_fds", kind="gauge", help="Maximum number of open file descriptors.")
PYTHON: Final = Metric(
    name="python_info",
    kind="gauge",
    help="Python platform information",
    labels=("implementation", "major", "minor", "patchlevel", "version"),
)

_PROC: Final = Path("/proc")
# Positions in /proc/self/stat behind the name, which may hold anything.
_USER_TICKS, _SYSTEM_TICKS, _START_TICKS, _VIRTUAL_BYTES, _RESIDENT_PAGES = 11, 12, 19, 20, 21


def measure_process() -> Iterator[Reading]:
    """Read them, each once; where there is no /proc, those that need none."""
    with suppress(OSError):
        yield from _measure_proc()
    yield _one(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    version = platform.python_version()
    labels = (platform.python_implementation(), *platform.python_version_tuple(), version)
    yield Reading(PYTHON, [Point(labels, 1.0)])


def _measure_proc() -> Iterator[Reading]:
    found = (_PROC / "self/stat").read_bytes().rpartition(b")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    yield _one(CPU, (int(found[_USER_TICKS]) + int(found[_SYSTEM_TICKS])) / ticks)
    yield _one(VIRTUAL, int(found[_VIRTUAL_BYTES]))
    yield _one(RESIDENT, int(found[_RESIDENT_PAGES]) * resource.getpagesize())
    yield _one(STARTED, _booted() + int(found[_START_TICKS]) / ticks)
    yield _one(OPEN_FILES, len(os.listdir(_PROC / "self/fd")))  # noqa: PTH208 - names only


def _booted() -> int:
    """Return when the machine was started, in Unix seconds."""
    lines = (_PROC / "stat").read_bytes().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(b"btime ")), 0)


def _one(metric: Metric, value: float) -> Reading:
    return Reading(metric, [Point((), float(value))])
