"""Several gateways behind one Envoy: whose rules are asked, by real Envoy's configuration or by the client's host."""

from pathlib import Path

import pytest

from extauthz.proxies.envoy import Route
from support.clients import http1, raw
from support.front import running_front
from support.service import running_service
from support.world import CONFIG, IDENTITY, STRANGER, TRUSTED, USER, Way, World, identity

EMAIL = [("x-email", USER), *identity(x_forwarded_user=None)]


def test_each_gateway_has_its_own_rules_and_its_own_upstream(way: Way) -> None:
    # The same request, allowed at one gateway and not at the other, both ways.
    assert way.send(IDENTITY).json()["gateway"] == "openclaw"
    assert way.send(IDENTITY, gateway="research").values("x-authz-reason") == ["trusted_proxy_user_missing"]
    assert way.send(EMAIL, gateway="research").json()["gateway"] == "research"
    assert way.send(EMAIL).values("x-authz-reason") == ["trusted_proxy_user_missing"]
    first, second = way.world.arrived()
    assert (first.values("x-authz-gateway"), first.values("x-forwarded-user")) == (["openclaw"], [USER])
    assert (second.values("x-authz-gateway"), second.values("x-email")) == (["research"], [USER])


def test_a_gateway_that_the_configuration_names_and_extauthz_does_not_know_is_refused(way: Way) -> None:
    # `hosts` of another gateway, or there being only one, are no way out.
    answer = way.send(EMAIL, gateway="nobody")
    assert (answer.status, answer.values("x-authz-reason")) == (403, ["gateway_unknown"])
    assert way.world.arrived() == []


@pytest.mark.parametrize("name", ["gateway", "x-authz-gateway", "x-gateway", "x-envoy-gateway", "x-forwarded-host"])
def test_no_header_of_the_client_names_the_gateway(way: Way, name: str) -> None:
    headers = [*(pair for pair in IDENTITY if pair[0] != name), (name, "research")]
    assert way.send(headers).status == 200
    (arrived,) = way.world.arrived()
    assert (arrived.gateway, arrived.values("x-authz-gateway")) == ("openclaw", ["openclaw"])


def test_an_absolute_target_takes_the_rules_of_where_it_goes(world: World) -> None:
    # The host in the target counts and Host does not (RFC 9112, section 3.2.2), for the route as for the rules.
    target = b"GET http://research.example.com/ HTTP/1.1\r\nHost: openclaw.example.com\r\n"
    fields = b"".join(f"{name}: {value}\r\n".encode() for name, value in IDENTITY)
    answer = raw(world.front().port, target + fields + b"\r\n", source=TRUSTED)
    assert answer.values("x-authz-reason") == ["trusted_proxy_user_missing"]
    assert answer.json()["gateway"] == "research"
    assert world.arrived() == []


@pytest.mark.parametrize("host", ["openclaw.example.com:8443", "OpenClaw.Example.COM", "OPENCLAW.example.com:1"])
def test_neither_the_port_nor_the_case_of_a_host_changes_the_gateway(way: Way, host: str) -> None:
    assert way.send(host=host).status == 200
    (arrived,) = way.world.arrived()
    assert arrived.values("x-authz-gateway") == ["openclaw"]
    assert arrived.values("host") == [host]


@pytest.mark.parametrize("host", ["other.example.com", "openclaw.example.com.", "openclaw.example.com.evil.example"])
def test_a_host_of_no_route_reaches_nobody(way: Way, host: str) -> None:
    assert way.send(host=host).status == 404
    assert way.world.arrived() == []


@pytest.mark.parametrize("encode_raw_headers", [True, False], ids=["raw", "joined"])
def test_where_envoy_names_none_the_host_selects(world: World, encode_raw_headers: bool) -> None:
    port = world.front_by_host(encode_raw_headers=encode_raw_headers).port
    for host in ("research.example.com", "Research.Example.com:8443"):
        assert http1(port, EMAIL, host=host, source=TRUSTED).status == 200
    assert [one.values("x-authz-gateway") for one in world.arrived()] == [["research"], ["research"]]
    # *.claw.example.com is a gateway with loopback off, and claw.example.com is no gateway at all.
    answer = http1(port, EMAIL, host="one.claw.example.com", source=TRUSTED)
    assert answer.values("x-authz-reason") == ["trusted_proxy_loopback_source"]
    for host in ("claw.example.com", "unknown.example.com", "research.example.com.evil.example", "[::1]"):
        answer = http1(port, EMAIL, host=host, source=TRUSTED)
        assert (answer.status, answer.values("x-authz-reason")) == (403, ["gateway_unknown"])
    assert len(world.arrived()) == 2


def test_where_envoy_names_none_a_stranger_gets_no_further_by_any_host(world: World) -> None:
    port = world.front_by_host().port
    for host in ("research.example.com", "one.claw.example.com", "unknown.example.com"):
        assert http1(port, [*EMAIL, *IDENTITY], host=host, source=STRANGER).status == 403
    assert world.arrived() == []


def test_an_envoy_that_is_no_caller_gets_nothing_allowed(world: World, tmp_path: Path) -> None:
    config = {**CONFIG, "callers": {"addresses": ["192.0.2.1"]}}
    route = Route(upstream=world.openclaw.address, gateway="openclaw", user_headers=("x-forwarded-user",))
    with (
        running_service(tmp_path / "service", config) as service,
        running_front(tmp_path, routes=[route], extauthz=[service.address]) as front,
    ):
        answer = http1(front.port, IDENTITY, source=TRUSTED)
    assert (answer.status, answer.values("x-authz-reason")) == (403, ["caller_not_allowed"])
    assert world.arrived() == []


def test_a_unix_socket_is_a_caller_of_its_own(world: World, tmp_path: Path) -> None:
    config = {**CONFIG, "callers": {"addresses": ["unix"]}}
    address = f"unix:{tmp_path}/grpc.sock"
    route = Route(upstream=world.openclaw.address, gateway="openclaw", user_headers=("x-forwarded-user",))
    with (
        running_service(tmp_path / "service", config, address=address),
        running_front(tmp_path, routes=[route], extauthz=[address]) as front,
    ):
        assert http1(front.port, IDENTITY, source=TRUSTED).status == 200
    (arrived,) = world.arrived()
    assert arrived.values("x-authz-user") == [USER]
