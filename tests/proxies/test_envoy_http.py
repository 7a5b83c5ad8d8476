"""Envoy asking over HTTP: what is different from gRPC there, and that nothing else is. Real Envoy, the real service.

The requests that both are held to alike are in the other tests of this folder, as the ways `http…`.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from extauthz.proxies.envoy import ClientTls, Route, Settings, render
from support.attacks import note
from support.clients import Headers, Refused, Response, http1, http2, proxy_protocol, websocket
from support.echo_gateway import Arrived
from support.envoy import running_envoy
from support.front import PATIENT, running_front
from support.ports import free_port
from support.process import wait_until
from support.service import running_service
from support.world import CONFIG, IDENTITY, STRANGER, TRUSTED, USER, Way, World, identity

PEER = "x-extauthz-peer"
each_client = pytest.mark.parametrize("version", [1, 2], ids=["http1", "http2"])
ROUTE = Route(upstream="127.0.0.1:18789", gateway="openclaw", user_headers=("x-forwarded-user",))


@dataclass(frozen=True)
class Both:
    """The same request, asked about over gRPC and over HTTP: the answers, and what arrived."""

    answers: tuple[Response, Response]
    arrived: tuple[list[Arrived], list[Arrived]]


def over_http(world: World, version: int) -> Way:
    return Way(world, raw=True, version=version, ask_over="http")


def both(world: World, version: int, headers: Headers, **request: Any) -> Both:
    answers, arrived = [], []
    for ask_over in ("grpc", "http"):
        world.clear()
        answers.append(Way(world, raw=True, version=version, ask_over=ask_over).send(headers, **request))
        arrived.append(world.arrived())
    return Both((answers[0], answers[1]), (arrived[0], arrived[1]))


def shown(pairs: tuple[tuple[str, str], ...], *, without: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Headers as they were sent, but for the values that are new each time."""
    own = {"x-authz-decision", "x-authz-stamp", "x-request-id", "date"}
    lowered = [(name.lower(), value) for name, value in pairs]
    return sorted((name, "" if name in own else value) for name, value in lowered if name not in without)


@each_client
@pytest.mark.parametrize(
    ("headers", "request_changed"),
    [
        (IDENTITY, {}),
        ([*IDENTITY, ("x-authz-user", "forged"), ("x-other", "1"), ("x-other", "2"), ("cookie", "a=b")], {}),
        (IDENTITY, {"method": "POST", "body": b"hello", "target": "/a/../b//c?x=%2F&y"}),
        ([*IDENTITY, ("content-type", "text/plain")], {"method": "PUT", "body": b"x" * 16_000}),
        (IDENTITY, {"method": "OPTIONS", "host": "OpenClaw.Example.com:8443"}),
    ],
    ids=["plain", "with-copies", "post", "body", "options"],
)
def test_the_gateway_gets_the_same_as_over_grpc(
    world: World, version: int, headers: Headers, request_changed: dict[str, Any]
) -> None:
    found = both(world, version, headers, **request_changed)
    assert [answer.status for answer in found.answers] == [200, 200]
    ((grpc,), (http,)) = found.arrived
    assert shown(http.headers) == shown(grpc.headers)
    assert (http.method, http.target, http.body) == (grpc.method, grpc.target, grpc.body)
    assert world.verified(http).user == USER


@each_client
@pytest.mark.parametrize(
    ("headers", "request_changed"),
    [
        (identity(x_forwarded_user=None), {}),
        (identity(x_forwarded_user="eve@example.com"), {"method": "POST", "body": b"hello"}),
        (IDENTITY, {"peer": STRANGER}),
        (IDENTITY, {"gateway": "nobody"}),
        (IDENTITY, {"gateway": "elsewhere"}),
        ([*IDENTITY, ("x.authz.user", "root")], {}),
        (identity(x_forwarded_user=None), {"method": "HEAD"}),
    ],
    ids=["nobody", "other-user", "stranger", "unknown", "caller", "alias", "head"],
)
def test_the_client_is_told_the_same_as_over_grpc(
    world: World, version: int, headers: Headers, request_changed: dict[str, Any]
) -> None:
    grpc, http = both(world, version, headers, **request_changed).answers
    assert http.status == grpc.status
    # What the body would be that HEAD does not get, Envoy tells only where it was told over gRPC.
    framing = ("content-length", "content-type", "transfer-encoding")
    without = framing if request_changed.get("method") == "HEAD" else ()
    assert shown(http.headers, without=without) == shown(grpc.headers, without=without)
    assert len(http.body) == len(grpc.body)
    if http.body:
        assert http.json() == {**grpc.json(), "decision": http.json()["decision"]}
    assert world.arrived() == []


@each_client
@pytest.mark.parametrize("value", [TRUSTED, "", "127.0.0.7, 127.0.0.7", "127.0.0.8,127.0.0.7", "unix:", "::1"])
def test_what_a_client_says_about_its_address_is_replaced(world: World, version: int, value: str) -> None:
    way = over_http(world, version)
    for claims in ([(PEER, value)], [(PEER, value), (PEER, TRUSTED)], [(PEER, TRUSTED), (PEER, value)]):
        answer = way.send([*claims, *IDENTITY, *claims], peer=STRANGER)
        assert answer.values("x-authz-reason") == ["trusted_proxy_untrusted_source"]
        assert world.arrived() == []
        # And who is trusted stays so: it is replaced, not joined; the Gateway is not told of it either.
        assert way.send([*claims, *IDENTITY]).status == 200
        (arrived,) = world.arrived()
        assert world.verified(arrived).peer == TRUSTED
        assert arrived.values(PEER) == []
        world.clear()


def test_naming_that_header_in_connection_changes_nothing(world: World) -> None:
    headers = [("connection", f"keep-alive, {PEER}"), (PEER, TRUSTED), *IDENTITY]
    way = over_http(world, 1)
    assert way.send(headers, peer=STRANGER).values("x-authz-reason") == ["trusted_proxy_untrusted_source"]
    assert way.send(headers).status == 200


@each_client
@pytest.mark.parametrize("slashes", ["reject", "keep"])
@pytest.mark.parametrize(
    "target",
    [
        "/../research",
        "/../../envoy/research/",
        "/%2e%2e/research",
        "/..%2fresearch",
        "/..%5cresearch",
        "//research",
        "/x/../../../traefik/research",
        "/forward-auth/envoy/research",
        "/;/../research",
        "/research?/../research",
        "/%00",
    ],
)
def test_no_path_of_a_client_chooses_the_gateway(world: World, version: int, slashes: str, target: str) -> None:
    # `research` would be told the user in another header; by this one it knows nobody, and would say so.
    answer = over_http(world, version).send(target=target, front={"escaped_slashes": slashes})
    if answer.status == 200:
        (arrived,) = world.arrived()
        said = world.verified(arrived)
        assert (arrived.gateway, said.gateway) == ("openclaw", "openclaw")
    else:
        assert answer.status == 400  # Envoy's own, before anyone is asked
        assert answer.values("x-authz-reason") == []
        assert world.arrived() == []


def test_the_page_of_a_denial_arrives_whole(world: World, tmp_path: Path) -> None:
    config = {**CONFIG, "denial": {"body": "html"}}
    headers = [*identity(x_forwarded_user=None), ("accept", "text/html,*/*;q=0.8")]
    route = Route(upstream=world.openclaw.address, gateway="openclaw", user_headers=("x-forwarded-user",))
    seen = []
    with running_service(tmp_path / "service", config) as service:
        for ask_over, where in (("grpc", service.address), ("http", service.http)):
            with running_front(tmp_path / ask_over, routes=[route], extauthz=[where], ask_over=ask_over) as front:
                answer = http1(front.port, headers, source=TRUSTED)
                (decision,) = answer.values("x-authz-decision")
                assert answer.values("content-type") == ["text/html; charset=utf-8"]
                assert answer.values("content-security-policy")
                seen.append((answer.status, shown(answer.headers), answer.body.replace(decision.encode(), b"id")))
    assert seen[0] == seen[1]


def test_the_access_log_tells_what_was_decided(world: World) -> None:
    way = over_http(world, 1)
    denied = way.send(identity(x_forwarded_user="eve@example.com"), target="/http-denied")
    way.send(target="/http-allowed?token=hidden")
    (arrived,) = world.arrived()
    front = world.front(encode_raw_headers=True, ask_over="http")
    paths = {"/http-denied", "/http-allowed"}
    wait_until(lambda: paths <= {one["path"] for one in front.envoy.access_log()}, "both lines")
    lines: dict[Any, Any] = {one["path"]: one for one in front.envoy.access_log()}
    (decision,) = arrived.values("x-authz-decision")
    allowed = {"user": USER, "gateway": "openclaw", "decision": decision, "reason": None}
    assert lines["/http-allowed"]["authz"] == allowed
    reason, decision = "trusted_proxy_user_not_allowed", denied.json()["decision"]
    # Of whom it denies extauthz tells no client, and so not Envoy either.
    assert lines["/http-denied"]["authz"] == {"user": None, "gateway": None, "decision": decision, "reason": reason}
    assert lines["/http-denied"]["details"] == "ext_authz_denied"
    assert "hidden" not in front.envoy.program.log_text()


@pytest.fixture
def alone(world: World, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """A service and an Envoy that a test may break."""
    route = Route(upstream=world.openclaw.address, gateway="openclaw", user_headers=("x-forwarded-user",))
    with (
        running_service(tmp_path / "service", CONFIG) as service,
        running_front(tmp_path, routes=[route], extauthz=[service.http], ask_over="http", health_interval=0.2) as front,
    ):
        yield service, front


def everyone_is_denied(port: int) -> None:
    for send in (http1, http2):
        answer = send(port, IDENTITY, source=TRUSTED)
        assert (answer.status, answer.values("x-authz-reason")) == (503, [])
    with pytest.raises(Refused) as refused, websocket(port, IDENTITY, source=TRUSTED):
        pass
    assert refused.value.response.status == 503


def test_killed_everything_is_denied_until_it_is_back(world: World, alone: tuple[Any, Any]) -> None:
    service, front = alone
    assert http1(front.port, IDENTITY, source=TRUSTED).status == 200
    with websocket(front.port, IDENTITY, source=TRUSTED) as opened:
        service.program.kill()
        world.clear()
        everyone_is_denied(front.port)
        assert world.arrived() == []
        assert opened.echo("still here") == "still here"
    note("door killed", "Envoy HTTP", "nothing arrives")
    service.restart()
    wait_until(lambda: http1(front.port, IDENTITY, source=TRUSTED).status == 200, "a request that is allowed")


def test_hung_everything_is_denied_until_it_goes_on(world: World, alone: tuple[Any, Any]) -> None:
    service, front = alone
    assert http1(front.port, IDENTITY, source=TRUSTED).status == 200
    service.program.freeze()
    try:
        world.clear()
        everyone_is_denied(front.port)
        assert world.arrived() == []
        note("door hung (SIGSTOP)", "Envoy HTTP", "nothing arrives")
    finally:
        service.program.signal(signal.SIGCONT)
    wait_until(lambda: http1(front.port, IDENTITY, source=TRUSTED).status == 200, "a request that is allowed")


@pytest.mark.parametrize(
    ("refused", "changed"),
    [
        ("proxy_protocol_from", {"proxy_protocol_from": ("10.0.9.0/24",)}),
        ("extauthz_tls", {"extauthz_tls": ClientTls(ca="/ca.pem", server_name="extauthz.internal")}),
        ("routes[0].gateway", {"routes": (Route(upstream="127.0.0.1:18789"),)}),
        ("ask_over", {"ask_over": "https"}),
    ],
)
def test_what_does_not_go_over_http_is_refused(refused: str, changed: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"routes": (ROUTE,), "extauthz": ("127.0.0.1:9192",), "ask_over": "http", **changed}
    with pytest.raises(ValueError, match=f"^{refused.replace('[', '.').replace(']', '.')}:"):
        Settings(**settings)


def test_a_balancers_line_is_not_taken_for_a_request(world: World) -> None:
    # Without the setting Envoy expects no such line, and closes the connection.
    port = world.front(encode_raw_headers=True, ask_over="http").port
    assert http1(port, IDENTITY, source=STRANGER, preface=proxy_protocol("10.0.0.7")).status in {0, 400}
    assert world.arrived() == []


@pytest.mark.parametrize("removed_too", [True, False], ids=["removed", "not-removed"])
def test_without_the_line_that_names_the_peer_nobody_is_trusted_or_whoever_says_so(
    world: World, tmp_path: Path, removed_too: bool
) -> None:
    # Why both lines are there, and are not to be left out of a configuration written by hand.
    route = Route(upstream=world.openclaw.address, gateway="openclaw", user_headers=("x-forwarded-user",))
    port, admin = free_port(), free_port()
    settings = Settings(
        routes=(route,),
        extauthz=(world.service.http,),
        listen=f"127.0.0.1:{port}",
        admin=f"127.0.0.1:{admin}",
        ask_over="http",
        **PATIENT,
    )
    kept = [line for line in render(settings).splitlines() if "%DOWNSTREAM_DIRECT" not in line or "key:" not in line]
    text = "\n".join(line for line in kept if removed_too or f'remove: "{PEER}"' not in line)
    assert text.count(PEER) == removed_too
    with running_envoy(text.replace("headers_to_add:", "headers_to_add: []"), admin_port=admin, directory=tmp_path):
        honest = http1(port, IDENTITY, source=TRUSTED)
        forged = http1(port, [*IDENTITY, (PEER, TRUSTED)], source=STRANGER)
    assert honest.values("x-authz-reason") == ["trusted_proxy_untrusted_source"]
    assert forged.status == (403 if removed_too else 200)
    assert len(world.arrived()) == (not removed_too)
