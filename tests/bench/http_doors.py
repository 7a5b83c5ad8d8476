"""The forward-auth doors at full load, beside an application on the same server that answers 200 with nothing."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.doors import DECISIONS, EVERYTHING, UNSEEN
from bench.loading import HTTP1_CONNECTIONS, http1_rate
from bench.machine import cores
from bench.measuring import figure, in_turn, ratio
from bench.messages import ASKED_BY_TRAEFIK, configuration
from bench.plan import Plan
from bench.programs import PLAIN, SOURCES, Server, extauthz, floor, is_compiled
from bench.results import Compared, Line, Section, Target

PATH = "/forward-auth/traefik/openclaw"
OF_FLOOR = Target(at_least=0.85)
FLOOR, LIMITED = "floor: an empty handler on uvicorn", "the doors' own server around nothing"


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report.

    Raises:
        UnavailableError: wrk is missing.
        LoadError: what was measured did not answer as it should.
    """
    where = cores()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        config = configuration
        started = {
            FLOOR: floor("http", folder, where.server),
            LIMITED: floor("http-limited", folder, where.server),
            EVERYTHING: extauthz("all", folder, where.server, config(), door="http"),
        }
        if plan.variants:
            changed = {
                f"{EVERYTHING}, on uvloop": config(loop="uvloop"),
                "everything on, each signed": config(reuse="0s"),
                "stamp reused, no decision log": config(log=False),
            }
            started |= {
                label: extauthz(label, folder, where.server, one, door="http") for label, one in changed.items()
            }
        if is_compiled():
            plain = extauthz("plain", folder, where.server, config(), door="http", build=SOURCES)
            started[f"{EVERYTHING}, {PLAIN}"] = plain
        servers = {label: stack.enter_context(one) for label, one in started.items()}

        def rate(server: Server) -> float:
            return http1_rate(server.address, PATH, ASKED_BY_TRAEFIK, plan.seconds, where.load)

        in_turn(servers, rate, plan.warm_up)
        found = in_turn(servers, rate, plan.load_rounds)
        unseen = {label: (server.told(UNSEEN), server.told(DECISIONS)) for label, server in servers.items()}
    lines = []
    for label, values in found.items():
        compared: tuple[Compared, ...] = ()
        if label != FLOOR:
            target = OF_FLOOR if label == EVERYTHING else None
            compared = (Compared("the empty handler", ratio(values, found[FLOOR]), target=target),)
        lines.append(Line(label, "/s", figure(values), compared=compared, tags={"variant": label}))
    yield Section(
        "http",
        "The HTTP doors",
        f"wrk with {HTTP1_CONNECTIONS} connections asks as Traefik does, as fast as answers come; the server on one "
        "core, wrk on another. The floor is uvicorn with httptools and uvloop around an application that answers 200 "
        "with nothing; the doors' own server is on httptools and asyncio, with its limits, and on uvloop where that is "
        "said.",
        tuple(lines),
        tuple(
            f"{label}: {missing:,.0f} of {all_:,.0f} decisions are not in the decision log: "
            "at this load more came than could be written"
            for label, (missing, all_) in unseen.items()
            if missing
        ),
    )
