"""The path itself, in one process: the decision, bytes to bytes, the signature, the Gateway's verifier."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measuring import Figure, microseconds
from bench.messages import configuration, message
from extauthz.authorizer import Authorizer
from extauthz.config.load import loads
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.decision import Allow
from extauthz.core.request import Caller
from extauthz.gateway import StampVerifier
from extauthz.gateway.verifier import MAX_VERIFIED_STAMPS
from extauthz.assembly import make_snapshot, open_keys
from extauthz.wire import envoy
from extauthz.wire.pb import check_pb2 as pb

CALLER = Caller(parse_address("127.0.0.1"))


class Row(NamedTuple):
    """One line of the table."""

    name: str
    figure: Figure
    budget: float | None = None


def _authorizer(*, ruleset: str = "standard", stamp: bool = False, reuse: str = "5s", folder: Path) -> Authorizer:
    loaded = loads(configuration(ruleset=ruleset, stamp=stamp, reuse=reuse), folder=folder)
    return Authorizer(make_snapshot(loaded, open_keys(loaded)))


def _allows(response: bytes) -> None:
    if not pb.CheckResponse.FromString(response).HasField("ok_response"):
        raise RuntimeError("the request that is measured is denied")


def rows() -> Iterator[Row]:
    """Measure, and yield the lines of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _decision(folder)
        yield from _bytes_to_bytes(folder)


def _decision(folder: Path) -> Iterator[Row]:
    request = envoy.decode(message(raw=False), CALLER)
    calls = {}
    for ruleset in ("standard", "openclaw-2026.2", "openclaw-2026.9"):
        policy = _authorizer(ruleset=ruleset, folder=folder).snapshot.policy
        if not isinstance(decide(policy, request), Allow):
            raise RuntimeError("the request that is measured is denied")  # noqa: TRY004 - no type is at fault
        calls[ruleset] = lambda policy=policy: decide(policy, request)
    for ruleset, found in microseconds(calls).items():
        yield Row(f"decision, {ruleset}", found, 5)


def _bytes_to_bytes(folder: Path) -> Iterator[Row]:
    joined, raw = message(raw=False), message(raw=True)
    plain = _authorizer(folder=folder)
    reused = _authorizer(stamp=True, reuse="5s", folder=folder)
    signing = _authorizer(stamp=True, reuse="0s", folder=folder)
    for authorizer in (plain, reused, signing):
        for sent in (joined, raw):
            _allows(authorizer.check(sent, CALLER))
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())
    public, signature = key.public_key(), key.sign(joined, algorithm)
    stamp = _stamp(signing, joined)
    verifier, forgetful = _verifier(folder), _verifier(folder, cache_size=0)
    found = microseconds(
        {
            "parse the CheckRequest (protobuf alone)": lambda: pb.CheckRequest.FromString(joined),
            "bytes to bytes, headers joined, no stamp": lambda: plain.check(joined, CALLER),
            "bytes to bytes, headers raw, no stamp": lambda: plain.check(raw, CALLER),
            "bytes to bytes, headers joined, stamp reused": lambda: reused.check(joined, CALLER),
            "bytes to bytes, headers raw, stamp reused": lambda: reused.check(raw, CALLER),
            "bytes to bytes, headers joined, each signed": lambda: signing.check(joined, CALLER),
            "ES256 signature (cryptography alone)": lambda: key.sign(joined, algorithm),
            "ES256 verification (cryptography alone)": lambda: public.verify(signature, joined, algorithm),
            "Gateway: verify a stamp, each signature": lambda: forgetful.verify(
                stamp, method="GET", host="gateway.example.com"
            ),
            "Gateway: verify a stamp seen before": lambda: verifier.verify(
                stamp, method="GET", host="gateway.example.com"
            ),
        }
    )
    for name, one in found.items():
        yield Row(name, one, 25 if name.endswith("stamp reused") else None)


def _stamp(authorizer: Authorizer, sent: bytes) -> str:
    response = pb.CheckResponse.FromString(authorizer.check(sent, CALLER))
    return next(
        option.header.value.decode()
        for option in response.ok_response.headers
        if option.header.key == authorizer.snapshot.answers.names["stamp"]
    )


def _verifier(folder: Path, cache_size: int = MAX_VERIFIED_STAMPS) -> StampVerifier:
    loaded = loads(configuration(stamp=True), folder=folder)
    keys = open_keys(loaded)
    if keys is None:
        raise RuntimeError("no keys")
    return StampVerifier(json.loads(keys.jwks().body), audience="openclaw", cache_size=cache_size)
