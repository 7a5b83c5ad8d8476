"""One build, answering: reads questions, one line of JSON each, and writes what it says to each, in one line too.

Its clock shows what the question says and its dice are loaded, so that builds which do the same say the same, byte for
byte: ids, stamps and all. Run as `python -m compiled.answering`.
"""

import itertools
import json
import os
import sys
import time
from dataclasses import replace
from hashlib import shake_256
from typing import Any

CLOCK = [0.0]
_throws = itertools.count()


def _throw(size: int) -> bytes:
    return shake_256(b"%d" % next(_throws)).digest(size)


# Before anything of extauthz is loaded, which may keep them.
os.urandom = _throw
time.time = lambda: CLOCK[0]
time.time_ns = lambda: int(CLOCK[0] * 1e9)
time.perf_counter_ns = lambda: 0


def _authorizer() -> Any:
    """Return an authorizer with everything on that is on the way of a request, and who looks on."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    from cases.build import load_gateways  # noqa: PLC0415
    from cases.corpus import cases  # noqa: PLC0415
    from extauthz.assembly import make_snapshot  # noqa: PLC0415
    from extauthz.authorizer import Authorizer  # noqa: PLC0415
    from extauthz.stamp.keyset import KeySet, Schedule, SigningKey  # noqa: PLC0415
    from extauthz.stamp.signer import Stamper  # noqa: PLC0415
    from recall.both import GATEWAYS  # noqa: PLC0415
    from telemetry.looking import Onlooker  # noqa: PLC0415

    class Source:
        # Of Ed25519, whose signatures draw no lots.
        keys = KeySet((SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32), 0, 0),), Schedule())

    gateways = GATEWAYS | {case.gateway_id: case.gateway for case in cases()}
    snapshot = make_snapshot(load_gateways(gateways, denial={"body": "html"}))
    onlooker = Onlooker()
    return Authorizer(replace(snapshot, stamper=Stamper(Source(), clock=lambda: CLOCK[0])), onlooker), onlooker


def main() -> None:
    """Answer until there are no questions any more."""
    from extauthz.build import build  # noqa: PLC0415
    from extauthz.telemetry.lines import LineMaker  # noqa: PLC0415
    from extauthz.wire.forward_auth import HttpMessage  # noqa: PLC0415
    from extauthz.wire.pb import check_pb2 as pb  # noqa: PLC0415
    from recall.both import CALLERS  # noqa: PLC0415

    authorizer, onlooker = _authorizer()
    lines = LineMaker(["cookie"])
    sys.stdout.write(json.dumps(build()) + "\n")
    sys.stdout.flush()
    for text in sys.stdin:
        question = json.loads(text)
        CLOCK[0] = question["time"]
        caller = CALLERS[question["caller"]]
        if "message" in question:
            answer = pb.CheckResponse.FromString(authorizer.check(bytes.fromhex(question["message"]), caller))
            # A map has an order of its own in each process, as protobuf keeps it.
            said = answer.SerializeToString(deterministic=True).hex()
        else:
            headers = [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in question["headers"]]
            message = HttpMessage.of(question["method"], bytes.fromhex(question["target"]), headers)
            said = repr(authorizer.forward(message, caller))
        line = lines.written(onlooker.records.pop()).decode()
        if question.get("map"):
            line = json.dumps(json.loads(line), sort_keys=True)
        sys.stdout.write(json.dumps([said, line]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
