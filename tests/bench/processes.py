"""One process and two: what a second process of the service adds, on its own core and by processor time."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.loading import LoadError, framed, grpc_command, read_h2load
from bench.machine import cores
from bench.measuring import figure, ratio
from bench.messages import configuration, message
from bench.plan import Plan
from bench.programs import Server, engines, extauthz
from bench.results import Compared, Line, Section

ONE, TWO = "one process", "two processes"


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report.

    Raises:
        UnavailableError: h2load is missing.
        LoadError: what was measured did not answer as it should.
    """
    where = cores()
    first, second = where.server, where.second if where.are_three else where.load
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sent = framed(message(raw=True), folder / "check.bin")
        for engine in engines():
            config = configuration(engine=engine)
            with contextlib.ExitStack() as stack:
                pair = [
                    stack.enter_context(extauthz(f"{engine} {number}", folder, core, config))
                    for number, core in enumerate((first, second), start=1)
                ]
                lines += _lines(engine, pair, sent, plan)
    placed = "the load on a third" if where.are_three else "and the load on both, for there is no third core"
    yield Section(
        "processes",
        "One process and two",
        f"Two processes of the service on a core each, {placed}: one h2load for each process, at the same time. "
        "Requests for each second of the service's own processor time tell what a process can answer that need not "
        "share its core with the load.",
        tuple(lines),
    )


def _lines(engine: str, pair: Sequence[Server], sent: Path, plan: Plan) -> Iterator[Line]:
    rates: dict[str, list[float]] = {ONE: [], TWO: []}
    by_time: dict[str, list[float]] = {ONE: [], TWO: []}
    for number in range(plan.load_rounds):
        for name in (ONE, TWO) if number % 2 == 0 else (TWO, ONE):
            servers = pair[:1] if name == ONE else pair
            before = sum(server.processor_seconds() for server in servers)
            rates[name].append(_together(servers, sent, plan.requests))
            used = sum(server.processor_seconds() for server in servers) - before
            # A tick of the system's accounting, 10 ms, is the least that can have been used.
            by_time[name].append(plan.requests * len(servers) / max(used, 0.01))
    for what, found in (("requests a second", rates), ("requests for a second of processor time", by_time)):
        for name in (ONE, TWO):
            compared = () if name == ONE else (Compared(ONE, ratio(found[TWO], found[ONE])),)
            tags: dict[str, str | float] = {"engine": engine, "what": what, "processes": 1 if name == ONE else 2}
            yield Line(f"{engine}, {name}: {what}", "/s", figure(found[name]), compared=compared, tags=tags)


def _together(servers: Sequence[Server], sent: Path, requests: int) -> float:
    """Ask all of them at once; requests a second, all together."""
    started = [
        subprocess.Popen(
            grpc_command(server.address, sent, requests), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for server in servers
    ]
    outputs = [one.communicate()[0] for one in started]
    if any(one.returncode for one in started):
        raise LoadError("\n".join(outputs))
    return sum(read_h2load(output, requests) for output in outputs)
