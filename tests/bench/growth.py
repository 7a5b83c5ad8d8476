"""Flat cost: the same decision among ten and among a hundred thousand users, ranges and gateways; and more headers."""

import gc
import ipaddress
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.inprocess import allowed, authorizer
from bench.measuring import Call, figure, microseconds, ratio
from bench.messages import configuration, gateway, message
from bench.plan import Plan
from bench.results import Compared, Line, Section, Target
from extauthz.authorizer import Authorizer
from extauthz.wire.pb import check_pb2 as pb

FLAT = Target(at_most=1.2)
MOST_HEADERS = 10_000
"""What `limits.headers` can be at most; its default is 200, and Envoy's own limit 100."""


@dataclass(frozen=True)
class Growing:
    """One thing that grows.

    Attributes:
        name: What it is.
        build: Makes the call that is measured, at one size.
        is_flat: Whether its size is to make no difference. Each header of a request has to be read.
        most: The largest size there can be.
    """

    name: str
    build: Callable[[int, Path], Call]
    is_flat: bool = True
    most: int = 100_000


def measure(plan: Plan) -> Iterator[Section]:
    """Measure, and yield this part of the report."""
    lines: list[Line] = []
    for growing in GROWING:
        sizes = [size for size in plan.sizes if size <= growing.most]
        lines += _lines(growing, sizes, plan)
    _many.cache_clear()
    yield Section(
        "growth",
        "Growth",
        "Bytes to bytes in one process, stamp reused, at one size after the other, round by round. The user, the "
        "range or the gateway that is asked for is the last one of its list. A request with more headers is a longer "
        "message: there the figure stands beside protobuf's parser alone.",
        tuple(lines),
    )


def _lines(growing: Growing, sizes: list[int], plan: Plan) -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as name:
        calls = {f"{size}": growing.build(size, Path(name)) for size in sizes}
    if not growing.is_flat:
        calls |= {f"parse {size}": _parse(size) for size in sizes}
    # Policies with a hundred thousand entries are no business of the garbage collector's, as in the service.
    gc.collect()
    gc.freeze()
    try:
        found = microseconds(calls, plan.call_rounds)
    finally:
        gc.unfreeze()
    for size in sizes:
        values = found[str(size)]
        if not growing.is_flat:
            compared: tuple[Compared, ...] = (
                Compared("protobuf's parser alone", ratio(values, found[f"parse {size}"])),
            )
        elif size == sizes[0]:
            compared = ()
        else:
            compared = (Compared(f"that with {sizes[0]}", ratio(values, found[str(sizes[0])]), target=FLAT),)
        tags: dict[str, str | float] = {"thing": growing.name, "size": size}
        yield Line(f"{growing.name}: {size:,}", "µs", figure(values), compared=compared, tags=tags)


def _users(size: int, folder: Path) -> Call:
    users = [f"user-{number}@example.com" for number in range(size)]
    found = authorizer(configuration({"openclaw": gateway(allowUsers=users)}), folder)
    return allowed(found, message(raw=True, user=users[-1]))


def _ranges(size: int, folder: Path) -> Call:
    base = int(ipaddress.IPv4Address("10.0.0.0"))
    # Every other /28, so that none can be merged with its neighbour.
    ranges = [f"{ipaddress.IPv4Address(base + number * 32)}/28" for number in range(size)]
    peer = str(ipaddress.IPv4Address(base + (size - 1) * 32 + 3))
    found = authorizer(configuration({"openclaw": gateway(trustedProxies=ranges)}), folder)
    return allowed(found, message(raw=True, peer=peer))


@cache
def _many(size: int) -> Authorizer:
    """Return one of many gateways with a host each; a hundred thousand take more than a minute to be read."""
    with tempfile.TemporaryDirectory() as name:
        gateways = {f"gateway-{number}": gateway(hosts=[f"g{number}.example.com"]) for number in range(size - 1)}
        gateways["wanted"] = gateway(hosts=["gateway.example.com"])
        return authorizer(configuration(gateways), Path(name))


def _gateways(size: int, _folder: Path) -> Call:
    return allowed(_many(size), message(raw=True, gateway="wanted"))


def _hosts(size: int, _folder: Path) -> Call:
    check = pb.CheckRequest.FromString(message(raw=True))
    del check.attributes.context_extensions["gateway"]
    return allowed(_many(size), check.SerializeToString())


def _headers(size: int, folder: Path) -> Call:
    config = {**configuration(), "limits": {"headers": max(200, size)}}
    return allowed(authorizer(config, folder), message(raw=True, headers=size))


def _parse(size: int) -> Call:
    sent = message(raw=True, headers=size)
    return lambda: pb.CheckRequest.FromString(sent)


GROWING = (
    Growing("users in allowUsers", _users),
    Growing("ranges in trustedProxies", _ranges),
    Growing("gateways, named by the proxy", _gateways),
    Growing("gateways, found by host", _hosts),
    Growing("headers of the request", _headers, is_flat=False, most=MOST_HEADERS),
)
