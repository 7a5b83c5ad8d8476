"""The path itself, in one process without a server: the decision, bytes to bytes, the signature, the verifier."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measuring import Call, difference, figure, microseconds
from bench.messages import ASKED_BY_TRAEFIK, configuration, gateway, message
from bench.plan import PLANS, Plan
from bench.programs import PLAIN, SOURCES, environment, is_compiled
from bench.results import Compared, Line, Section, Target, section_of
from extauthz.assembly import decision_log_settings, make_snapshot, open_keys
from extauthz.authorizer import Authorizer
from extauthz.config.load import Loaded, loads
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.decision import Allow
from extauthz.core.request import Caller
from extauthz.core.rulesets import RULESETS
from extauthz.gateway import StampVerifier
from extauthz.gateway.verifier import MAX_VERIFIED_STAMPS
from extauthz.telemetry.decision_log import DecisionLog, open_settings
from extauthz.telemetry.recent import Recent
from extauthz.telemetry.telemetry import Telemetry
from extauthz.wire import envoy_question
from extauthz.wire.forward_auth import HttpMessage
from extauthz.wire.pb import check_pb2 as pb
from extauthz.wire.shape import Shapes

CALLER: Final = Caller(parse_address("127.0.0.1"))
DECISIONS_LOGGED: Final = 500
"""Decisions in one round with the log on: less than may wait to be written, so that none is dropped."""
WRITE_SECONDS: Final = 30.0
USERS_IN_TURN: Final = 3_000
"""More than are kept (recall.MOST_KEPT, in two generations), so that nobody's allow is recalled."""

PARSE, ES256 = "parse the CheckRequest (protobuf alone)", "one ES256 signature (cryptography alone)"
ES256_VERIFY = "one ES256 verification (cryptography alone)"


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (*_decisions(folder, plan), *_bytes_to_bytes(folder, plan))
        for form in ("raw", "joined"):
            lines = (*lines, *_with_telemetry(folder, plan, form))
        lines = (*lines, *_signatures(folder, plan))
    yield Section(
        "inprocess",
        "In process",
        "One thread calls the function again and again; no server and no network. The request has 16 headers. "
        f"Not asked before: {USERS_IN_TURN:,} users in turn, more than are kept.",
        lines,
    )
    if is_compiled():
        yield _plain(plan)


def _plain(plan: Plan) -> Section:
    """Measure the same with the sources, in a process of their own."""
    argv = [sys.executable, "-m", "bench.inprocess", plan.name]
    done = subprocess.run(argv, env={**os.environ, **environment(SOURCES)}, capture_output=True, text=True, check=True)
    found = section_of(json.loads(done.stdout))
    # The targets are held against the build that is measured.
    lines = (replace(line, target=None, compared=tuple(_untargeted(line.compared))) for line in found.lines)
    return replace(found, key="plain", title=f"In process, {PLAIN}", lines=tuple(lines))


def _untargeted(compared: Iterable[Compared]) -> Iterator[Compared]:
    for one in compared:
        yield replace(one, target=None)


def load(config: dict[str, Any], folder: Path) -> Loaded:
    """Read a configuration as the service does."""
    return loads(yaml.dump(config, Dumper=yaml.CSafeDumper), folder=folder)


def authorizer(config: dict[str, Any], folder: Path, telemetry: Telemetry | None = None) -> Authorizer:
    """Make what answers, of a configuration that is known to be good."""
    loaded = load(config, folder)
    return Authorizer(make_snapshot(loaded, open_keys(loaded)), telemetry)


def allowed(found: Authorizer, sent: bytes) -> Call:
    """Return the call that is measured, once it is seen to allow.

    Raises:
        RuntimeError: it is denied, and so nothing that is to be measured.
    """
    if not pb.CheckResponse.FromString(found.check(sent, CALLER)).HasField("ok_response"):
        raise RuntimeError("the request that is measured is denied")
    return lambda: found.check(sent, CALLER)


def _decisions(folder: Path, plan: Plan) -> Iterator[Line]:
    """The decision alone, about a request as the service reads it."""
    sent = message(raw=True)
    calls: dict[str, Call] = {}
    for ruleset in RULESETS:
        config = configuration({"openclaw": gateway(ruleset=ruleset)}, stamp=False)
        policy = authorizer(config, folder).snapshot.policy
        asked = envoy_question.question(sent, CALLER, policy, Shapes())
        if asked is None:
            raise RuntimeError("the request that is measured is not one that may be recalled")
        request = envoy_question.read(sent, asked, CALLER)
        if not isinstance(decide(policy, request), Allow):
            raise RuntimeError("the request that is measured is denied")  # noqa: TRY004 - no type is at fault
        calls[f"the decision, ruleset {ruleset}"] = partial(decide, policy, request)
    for name, values in microseconds(calls, plan.call_rounds).items():
        yield Line(name, "µs", figure(values), Target(at_most=3))


def _bytes_to_bytes(folder: Path, plan: Plan) -> Iterator[Line]:
    joined, raw = message(raw=False), message(raw=True)
    plain = authorizer(configuration(stamp=False), folder)
    everyone = authorizer(configuration({"openclaw": gateway(allowUsers=[])}, stamp=False), folder)
    reused = authorizer(configuration(), folder)
    asked = HttpMessage.of(
        "GET",
        b"/forward-auth/traefik/openclaw",
        [(name.encode(), value.encode()) for name, _, value in (line.partition(": ") for line in ASKED_BY_TRAEFIK)],
    )
    # As for a request that was not asked before: one that was is recalled.
    anew = Authorizer(reused.snapshot, recalls=False)
    if reused.forward(asked, CALLER).status != 200:
        raise RuntimeError("the request that is measured is denied")
    calls: dict[str, Call] = {
        PARSE: lambda: pb.CheckRequest.FromString(raw),
        "bytes to bytes, headers raw, no stamp": allowed(plain, raw),
        "bytes to bytes, headers joined, no stamp": allowed(plain, joined),
        "bytes to bytes, headers raw, stamp reused": allowed(reused, raw),
        "bytes to bytes, headers joined, stamp reused": allowed(reused, joined),
        "bytes to bytes, headers raw, no stamp, not asked before": _not_asked_before(everyone, raw=True),
        "bytes to bytes, headers joined, no stamp, not asked before": _not_asked_before(everyone, raw=False),
        "bytes to bytes, headers raw, a denial": _denied(plain, raw=True),
        "bytes to bytes, headers joined, a denial": _denied(plain, raw=False),
        "HTTP door (Traefik), parsed request to answer, stamp reused, nothing recalled": lambda: anew.forward(
            asked, CALLER
        ),
        "HTTP door (Traefik), parsed request to answer, stamp reused": lambda: reused.forward(asked, CALLER),
    }
    for name, values in microseconds(calls, plan.call_rounds).items():
        yield Line(name, "µs", figure(values))


def _not_asked_before(found: Authorizer, *, raw: bool) -> Call:
    messages = [message(raw=raw, user=f"user-{number}@example.com") for number in range(USERS_IN_TURN)]
    allowed(found, messages[0])
    turn = itertools.cycle(messages)
    return lambda: found.check(next(turn), CALLER)


def _denied(found: Authorizer, *, raw: bool) -> Call:
    sent = message(raw=raw, user="eve@example.com")
    if pb.CheckResponse.FromString(found.check(sent, CALLER)).HasField("ok_response"):
        raise RuntimeError("the request that is measured is allowed")
    return lambda: found.check(sent, CALLER)


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[tuple[Authorizer, DecisionLog]]:
    """What the service runs, with its telemetry: the counts, the decision log in a file, the recent decisions."""
    loaded = load(configuration(), folder)
    log = DecisionLog(open_settings(decision_log_settings(loaded)))
    telemetry: Telemetry

    def counts() -> Any:
        return telemetry.tally.read()

    telemetry = Telemetry((log, Recent(counts, lambda: loaded.settings.decision_log.redact)))
    telemetry.start()
    try:
        yield Authorizer(make_snapshot(loaded, open_keys(loaded)), telemetry), log
    finally:
        telemetry.close()


def _with_telemetry(folder: Path, plan: Plan, form: str) -> Iterator[Line]:
    """Everything on, twice: what the caller waits for, and all processor time until the line is in the file."""
    sent = message(raw=form == "raw")
    waited: list[float] = []
    spent: list[float] = []
    with _watched(folder) as (found, log):
        check = allowed(found, sent)
        asked = 1
        for _ in range(plan.call_rounds):
            _wait_written(log, asked)
            processor, began = time.process_time(), time.perf_counter()
            for _ in range(DECISIONS_LOGGED):
                check()
            waited.append((time.perf_counter() - began) / DECISIONS_LOGGED * 1e6)
            asked += DECISIONS_LOGGED
            _wait_written(log, asked)
            spent.append((time.process_time() - processor) / DECISIONS_LOGGED * 1e6)
    everything = f"bytes to bytes, headers {form}, stamp reused, decision log and metrics on"
    yield Line(f"{everything}: until the answer", "µs", figure(waited), Target(at_most=20))
    yield Line(
        f"{everything}: all processor time, until the line is in the file", "µs", figure(spent), Target(at_most=20)
    )


def _wait_written(log: DecisionLog, lines: int) -> None:
    end = time.monotonic() + WRITE_SECONDS
    while log.written < lines:
        if time.monotonic() > end:
            raise RuntimeError(f"{log.written} of {lines} decisions were written in {WRITE_SECONDS:g} s")
        time.sleep(0.01)


def _signatures(folder: Path, plan: Plan) -> Iterator[Line]:
    raw = message(raw=True)
    signing = authorizer(configuration(reuse="0s"), folder)
    stamper = signing.snapshot.stamper
    if stamper is None:
        raise RuntimeError("nothing signs")
    claims = ("openclaw", "nick@example.com", "10.0.0.7", "GET", "gateway.example.com", "/chat?session=main")
    stamp = stamper.issue(*claims).text
    signed = stamp.rpartition(".")[0].encode()
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    public, signature = key.public_key(), key.sign(signed, algorithm)
    verifier, forgetful = _verifier(folder), _verifier(folder, cache_size=0)
    verify = {"method": "GET", "host": "gateway.example.com"}
    each, anew = "a stamp, each signed", "Gateway: verify a stamp, each signature"
    check = allowed(signing, raw)
    found = microseconds(
        {
            ES256: lambda: key.sign(signed, algorithm),
            each: lambda: stamper.issue(*claims),
            "bytes to bytes, headers raw, each signed": check,
            ES256_VERIFY: lambda: public.verify(signature, signed, algorithm),
            anew: lambda: forgetful.verify(stamp, **verify),
            "Gateway: verify a stamp seen before": lambda: verifier.verify(stamp, **verify),
        },
        plan.call_rounds,
    )
    over = {each: (ES256, Target(at_most=10)), anew: (ES256_VERIFY, None)}
    for name, values in found.items():
        compared: tuple[Compared, ...] = ()
        if name in over:
            base, target = over[name]
            compared = (Compared(base, difference(values, found[base]), "µs", target),)
        yield Line(name, "µs", figure(values), compared=compared)


def _verifier(folder: Path, cache_size: int = MAX_VERIFIED_STAMPS) -> StampVerifier:
    keys = open_keys(load(configuration(), folder))
    if keys is None:
        raise RuntimeError("no keys")
    return StampVerifier(json.loads(keys.jwks().body), audience="openclaw", cache_size=cache_size)


if __name__ == "__main__":
    # For whoever measures another build.
    print(json.dumps(asdict(next(measure(PLANS[sys.argv[1]])))))  # noqa: T201
