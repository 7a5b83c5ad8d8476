"""Who may ask, over real connections: by address, by unix socket, and for each gateway apart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import Served, ask, serving
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.doors.grpc_shared import parse_peer
from support.ports import free_port

ALLOWED = "allow:nick@example.com"
REFUSED = "deny:caller_not_allowed"


@pytest.fixture(scope="module")
def served(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """IPv4, IPv6 and a unix socket, and gateways that each take callers from one of them."""
    del engine  # it is chosen
    directory = tmp_path_factory.mktemp("callers")
    gateways = {
        "four": gateway(callers={"addresses": ["127.0.0.1"]}),
        "six": gateway(callers={"addresses": ["::1"]}),
        "unix": gateway(callers={"addresses": ["unix"]}),
        "any": gateway(),
        "none": gateway(callers={"addresses": ["192.0.2.1"]}),
    }
    listen = [f"127.0.0.1:{free_port()}", f"[::1]:{free_port('::1')}", f"unix:{directory}/grpc.sock"]
    with serving(directory, {"gateways": gateways}, listen=listen) as running:
        yield running


@pytest.mark.parametrize(("position", "own"), [(0, "four"), (1, "six"), (2, "unix")], ids=["ipv4", "ipv6", "unix"])
def test_gateway_takes_its_own_callers_alone(served: Served, position: int, own: str) -> None:
    for name in ("four", "six", "unix", "any", "none"):
        outcome = ask(served.addresses[position], check_request(PAIRS, gateway=name))
        assert outcome.told == (ALLOWED if name in {own, "any"} else REFUSED)


def test_stranger_is_refused_and_learns_no_gateway(tmp_path: Path) -> None:
    listen = [f"127.0.0.1:{free_port()}", f"unix:{tmp_path}/grpc.sock"]
    config = {"callers": {"addresses": ["192.0.2.1", "unix"]}, "gateways": {"g": gateway()}}
    with serving(tmp_path, config, listen=listen) as served:
        for name in ("g", "unknown", None):
            outcome = ask(served.addresses[0], check_request(PAIRS, gateway=name))
            assert outcome.told == REFUSED
            assert outcome.response.dynamic_metadata.fields["gateway"].string_value == ""
        assert ask(served.addresses[0], b"\xff").told == REFUSED
        assert ask(served.addresses[1], check_request(PAIRS)).told == ALLOWED


def test_peer_caller_is_the_connections_own_address(tmp_path: Path) -> None:
    listen = [f"127.0.0.1:{free_port()}", f"[::1]:{free_port('::1')}"]
    config = {"gateways": {"g": gateway(peer="caller", trustedProxies=["127.0.0.1"])}}
    with serving(tmp_path, config, listen=listen) as served:
        assert ask(served.addresses[0], check_request(PAIRS, peer="203.0.113.9")).told == ALLOWED
        # What is reported as the source is not looked at, not even where it is the trusted address.
        outcome = ask(served.addresses[1], check_request(PAIRS, peer="127.0.0.1"))
        assert outcome.told == "deny:trusted_proxy_untrusted_source"


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("ipv4:10.0.0.7:4711", Caller(parse_address("10.0.0.7"))),
        ("ipv6:%5B::1%5D:4711", Caller(parse_address("::1"))),
        ("ipv6:[::1]:4711", Caller(parse_address("::1"))),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", Caller(parse_address("fe80::1%eth0"))),
        ("ipv6:%5B::ffff:10.0.0.7%5D:4711", Caller(parse_address("10.0.0.7"))),
        ("unix:", Caller(None, unix=True)),
        ("unix:/run/envoy.sock", Caller(None, unix=True)),
        ("", Caller(None)),
        ("vsock:3:5", Caller(None)),
        ("ipv4:nonsense", Caller(None)),
        ("ipv4:10.0.0.7.evil:80", Caller(None)),
    ],
)
def test_peer_is_read_as_the_library_writes_it(peer: str, caller: Caller) -> None:
    assert parse_peer(peer) == caller
