"""Flat cost: the same decision among ten and among a hundred thousand users, ranges, gateways, headers."""

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from bench.inprocess import CALLER
from bench.measuring import Call, Figure, microseconds
from bench.messages import message
from extauthz.authorizer import Authorizer
from extauthz.config.load import loads
from extauthz.assembly import make_snapshot
from extauthz.wire.pb import check_pb2 as pb


class Growth(NamedTuple):
    """How one thing grows: microseconds, bytes to bytes, at each size."""

    name: str
    figures: dict[int, Figure]


def rows(largest: int) -> Iterator[Growth]:
    """Measure, and yield a line for each thing that grows."""
    for name, build, sizes in (
        ("users in allowUsers", _users, (10, 1_000, 100_000)),
        ("ranges in trustedProxies", _ranges, (10, 1_000, 10_000, 100_000)),
        ("gateways, selected by id", _gateways, (10, 1_000, 10_000)),
        ("gateways, selected by host", _hosts, (10, 1_000, 10_000)),
        ("headers of the request", _headers, (16, 50, 180)),
    ):
        calls = {size: build(size) for size in sizes if size <= largest}
        found = microseconds({str(size): call for size, call in calls.items()}, rounds=15)
        yield Growth(name, {int(size): one for size, one in found.items()})


def _gateway(**changes: object) -> dict[str, object]:
    rules: dict[str, object] = {
        "userHeader": "x-forwarded-user",
        "requiredHeaders": ["x-forwarded-proto"],
        "allowUsers": [],
    }
    rules |= {key: value for key, value in changes.items() if key in rules}
    rest = {key: value for key, value in changes.items() if key not in rules}
    return {"trustedProxies": ["10.0.0.7"], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}, **rest}


def _call(gateways: dict[str, object], sent: bytes) -> Call:
    text = yaml.dump({"stamp": {"enabled": False}, "gateways": gateways}, Dumper=yaml.CSafeDumper)
    authorizer = Authorizer(make_snapshot(loads(text)))
    if not pb.CheckResponse.FromString(authorizer.check(sent, CALLER)).HasField("ok_response"):
        raise RuntimeError("the request that is measured is denied")
    return lambda: authorizer.check(sent, CALLER)


def _users(size: int) -> Call:
    users = [f"user-{number}@example.com" for number in range(size)]
    return _call({"openclaw": _gateway(allowUsers=users)}, message(raw=True, user=users[-1]))


def _ranges(size: int) -> Call:
    base = int(ipaddress.IPv4Address("10.0.0.0"))
    # Every other /28, so that none can be merged with its neighbour.
    ranges = [f"{ipaddress.IPv4Address(base + number * 32)}/28" for number in range(size)]
    peer = str(ipaddress.IPv4Address(base + (size - 1) * 32 + 3))
    return _call({"openclaw": _gateway(trustedProxies=ranges)}, message(raw=True, peer=peer))


def _gateways(size: int) -> Call:
    names = [f"gateway-{number}" for number in range(size)]
    return _call({name: _gateway() for name in names}, message(raw=True, gateway=names[-1]))


def _hosts(size: int) -> Call:
    gateways = {f"gateway-{number}": _gateway(hosts=[f"g{number}.example.com"]) for number in range(size)}
    gateways["wanted"] = _gateway(hosts=["gateway.example.com"])
    check = pb.CheckRequest.FromString(message(raw=True))
    del check.attributes.context_extensions["gateway"]
    return _call(dict(gateways), check.SerializeToString())


def _headers(size: int) -> Call:
    return _call({"openclaw": _gateway()}, message(raw=True, extra=size - 16))
