"""The gRPC doors at full load: each engine beside its floor, and one engine beside the other."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.loading import CONNECTIONS, STREAMS, framed, grpc_rate
from bench.machine import cores
from bench.measuring import figure, in_turn, ratio
from bench.messages import configuration, message
from bench.plan import Plan
from bench.programs import PLAIN, SOURCES, Server, engines, extauthz, floor, is_compiled
from bench.results import Compared, Line, Section, Target

EVERYTHING = "everything on, stamp reused"
FLOOR, EMPTY = "floor", "floor, an empty answer"
OF_FLOOR = {"native": Target(at_least=0.7), "grpcio": Target(at_least=0.9)}
OF_GRPCIO = Target(at_least=5)

UNSEEN = "extauthz_decisions_unseen_total"
DECISIONS = "extauthz_decisions_total"

_VARIANTS = {
    EVERYTHING: {},
    "everything on, each signed": {"reuse": "0s"},
    "stamp reused, no decision log": {"log": False},
    "no stamp, no decision log": {"stamp": False, "log": False},
}


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report.

    Raises:
        UnavailableError: h2load is missing.
        LoadError: what was measured did not answer as it should.
    """
    where = cores()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        sent = framed(message(raw=True), folder / "check.bin")
        servers: dict[tuple[str, str], Server] = {}
        for engine in engines():
            servers[engine, FLOOR] = stack.enter_context(floor(engine, folder, where.server))
            servers[engine, EMPTY] = stack.enter_context(floor(f"{engine}-empty", folder, where.server))
            for variant, changes in list(_VARIANTS.items())[: None if plan.variants else 1]:
                config = configuration(engine=engine, **changes)  # type: ignore[arg-type]  # of _VARIANTS
                started = extauthz(f"{engine} {variant}", folder, where.server, config)
                servers[engine, variant] = stack.enter_context(started)
            if is_compiled():
                config = configuration(engine=engine)
                started = extauthz(f"{engine} plain", folder, where.server, config, build=SOURCES)
                servers[engine, f"{EVERYTHING}, {PLAIN}"] = stack.enter_context(started)

        def rate(server: Server) -> float:
            return grpc_rate(server.address, sent, plan.requests, where.load)

        names = {_name(*key): server for key, server in servers.items()}
        in_turn(names, rate, plan.warm_up)
        found = in_turn(names, rate, plan.load_rounds)
        lines = tuple(_line(engine, variant, found) for engine, variant in servers)
        notes = tuple(_unseen(server) for server in servers.values() if server.told(UNSEEN))
    yield Section(
        "doors",
        "The gRPC doors",
        f"h2load with {CONNECTIONS} connections of {STREAMS} streams, as fast as answers come; the server on one core, "
        "h2load on another. The floor is the same engine around a handler that parses the question and answers a "
        "constant, as long as extauthz's answer; and, for how much of that is the answer's size, an empty one. The "
        "floor on grpcio is its server as the library makes it, with a thread for each call; our door answers without "
        "one (engines.md). Everything on is: signed stamps, a decision log with a line for each decision in a file, "
        "metrics. The decision log is written on the same core, in the same time.",
        lines,
        notes,
    )


def _name(engine: str, variant: str) -> str:
    return f"{engine}: {variant}"


def _line(engine: str, variant: str, found: dict[str, list[float]]) -> Line:
    values = found[_name(engine, variant)]
    compared: list[Compared] = []
    if variant != FLOOR:
        is_held = variant == EVERYTHING
        of_floor = ratio(values, found[_name(engine, FLOOR)])
        compared.append(Compared("its floor", of_floor, target=OF_FLOOR[engine] if is_held else None))
        if engine == "native" and is_held:
            compared.append(
                Compared("the same on grpcio", ratio(values, found[_name("grpcio", variant)]), target=OF_GRPCIO)
            )
    tags: dict[str, str | float] = {"engine": engine, "variant": variant}
    return Line(_name(engine, variant), "/s", figure(values), compared=tuple(compared), tags=tags)


def _unseen(server: Server) -> str:
    unseen, decisions = server.told(UNSEEN), server.told(DECISIONS)
    return (
        f"{server.name}: {unseen:,.0f} of {decisions:,.0f} decisions are not in the decision log: "
        "at this load more came than could be written"
    )
