"""What the written configuration withstands by itself, whatever the authorizer says or fails to say. On real Envoy."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extauthz.proxies.envoy import STAMPED_HEADERS, Route, render
from extauthz.wire.pb import check_pb2
from support import clients
from support.check_server import Answer, allow, check_server, deny
from support.clients import Refused, Response, http1, http2, proxy_protocol, websocket
from support.echo_gateway import echo_gateway
from support.envoy import running_envoy
from support.front import running_front
from support.ports import free_port
from support.process import ProgramError, wait_until
from support.stage import STAMPS, Stage, pass_all, running_stage

Send = Callable[..., Response]
BOTH = pytest.mark.parametrize("send", [http1, http2], ids=["http1", "http2"])


@BOTH
def test_an_empty_answer_which_envoy_takes_for_allow_lets_no_forged_stamp_through(stage: Stage, send: Send) -> None:
    with stage.saying(lambda _: check_pb2.CheckResponse()):
        answer = send(stage.port, [(name, "forged") for name in STAMPED_HEADERS])
    assert answer.status == 200
    (arrived,) = stage.gateway.arrived
    assert [arrived.values(name) for name in STAMPED_HEADERS] == [[]] * len(STAMPED_HEADERS)


@BOTH
@pytest.mark.parametrize(
    "name", ["x-other", "x.authz.user", "x-authz-user2", ":path", "host", "content-length", "cookie"]
)
def test_an_answer_that_sets_or_removes_any_other_header_is_an_error(stage: Stage, send: Send, name: str) -> None:
    for answer in (allow({**STAMPS, name: "1"}), allow(STAMPS, remove=[name])):
        with stage.saying(lambda _, said=answer: said):  # type: ignore[misc]
            assert send(stage.port).status == 500
    assert stage.not_reached()


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x01b", "a\x7fb"])
def test_an_answer_with_a_control_character_is_an_error(stage: Stage, value: str) -> None:
    with stage.saying(lambda _: allow({**STAMPS, "x-authz-user": value})):
        assert http1(stage.port).status == 500
    assert stage.not_reached()


@BOTH
def test_an_authorizer_that_breaks_is_a_denial(stage: Stage, send: Send) -> None:
    def broken(_: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
        raise RuntimeError

    with stage.saying(broken):
        assert send(stage.port).status == 503
        with pytest.raises(Refused) as refused, websocket(stage.port):
            pass
    assert refused.value.response.status == 503
    assert stage.not_reached()


@contextlib.contextmanager
def hanging() -> Iterator[Answer]:
    """An authorizer that does not answer before the block ends."""
    end = threading.Event()

    def hung(request: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
        end.wait(60)
        return pass_all(request)

    try:
        yield hung
    finally:
        end.set()


@BOTH
def test_an_authorizer_that_hangs_is_a_denial(tmp_path: Path, send: Send) -> None:
    with running_stage(tmp_path, timeout=0.2) as stage, hanging() as hung, stage.saying(hung):
        assert send(stage.port).status == 503
        assert stage.not_reached()


def test_a_process_that_hangs_or_dies_costs_no_refusal_while_there_is_another(tmp_path: Path) -> None:
    with echo_gateway() as gateway, check_server(pass_all) as one, contextlib.ExitStack() as mortal:
        other = mortal.enter_context(check_server(pass_all))
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        # The first try is given up after five seconds; the health checks do not notice anything for a minute.
        endpoints = [one.address, other.address]
        with running_front(tmp_path, routes=[route], extauthz=endpoints, health_interval=60) as front:
            assert {http1(front.port).status for _ in range(8)} == {200}
            assert len(one.asked) == len(other.asked) == 4
            with hanging() as other.answer:
                assert {http1(front.port).status for _ in range(2)} == {200}
            mortal.close()
            assert {http1(front.port).status for _ in range(8)} == {200}


def test_websockets_are_off_where_the_route_does_not_want_them(tmp_path: Path) -> None:
    with echo_gateway() as gateway, check_server(pass_all) as authorizer:
        routes = [
            Route(upstream=gateway.address, gateway="a", domains=("a.example",), user_headers=("x-forwarded-user",)),
            Route(upstream=gateway.address, gateway="b", domains=("b.example",), websocket=False),
        ]
        with running_front(tmp_path, routes=routes, extauthz=[authorizer.address]) as front:
            with websocket(front.port, host="a.example") as opened:
                assert opened.echo("hello") == "hello"
            with pytest.raises(Refused) as refused, websocket(front.port, host="b.example"):
                pass
    assert refused.value.response.status == 403
    assert len(gateway.arrived) == 1


@BOTH
def test_only_balancers_may_say_who_the_peer_is(tmp_path: Path, send: Send) -> None:
    with running_stage(tmp_path, proxy_protocol_from=("127.0.0.7/32", "::1")) as stage:
        said = proxy_protocol("10.0.0.1")
        assert send(stage.port, source="127.0.0.7", preface=said).status == 200
        assert stage.authorizer.asked[-1].attributes.source.address.socket_address.address == b"10.0.0.1"
        assert send(stage.port, source="127.0.0.7", preface=proxy_protocol("2001:db8::9")).status == 200
        assert stage.authorizer.asked[-1].attributes.source.address.socket_address.address == b"2001:db8::9"
        stage.gateway.clear()
        asked = len(stage.authorizer.asked)
        assert send(stage.port, source="127.0.0.8", preface=said).status == 0
        assert send(stage.port, source="127.0.0.8").status == 0
        assert send(stage.port, source="127.0.0.7").status == 0
        assert stage.not_reached()
        assert len(stage.authorizer.asked) == asked


def test_an_authorizer_on_a_unix_socket_is_asked(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/grpc.sock"
    with echo_gateway() as gateway, check_server(pass_all, address=address):
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        with running_front(tmp_path, routes=[route], extauthz=[address]) as front:
            assert http1(front.port).status == 200
    assert gateway.arrived[0].values("x-authz-user") == ["ours"]


def test_the_admin_interface_changes_nothing_and_betrays_no_configuration(stage: Stage) -> None:
    port = stage.front.envoy.admin_port
    for method, path, status in [
        ("GET", "/ready", 200),
        ("GET", "/stats/prometheus", 200),
        ("POST", "/quitquitquit", 403),
        ("POST", "/healthcheck/fail", 403),
        ("POST", "/runtime_modify?a=b", 403),
        ("POST", "/logging?level=trace", 403),
        ("GET", "/config_dump", 403),
        ("GET", "/certs", 403),
    ]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=clients.TIMEOUT_SECONDS)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            response.read()
            assert (path, response.status) == (path, status)
        finally:
            connection.close()


def test_a_second_envoy_cannot_take_a_share_of_the_port(stage: Stage, tmp_path: Path) -> None:
    admin = free_port()
    text = render(stage.front.settings).replace(f"port_value: {stage.front.envoy.admin_port}", f"port_value: {admin}")
    with (
        pytest.raises(ProgramError, match="Address already in use"),
        running_envoy(text, admin_port=admin, directory=tmp_path),
    ):
        pass


def test_the_access_log_has_the_decision_and_no_query(stage: Stage) -> None:
    def refuse(_: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
        refusal = deny(401, {"x-authz-reason": "because"})
        refusal.dynamic_metadata.update({"decision": "d-1", "gateway": "openclaw", "reason": "because", "user": ""})
        return refusal

    with stage.saying(refuse):
        assert http1(stage.port, target="/secret-path?token=hidden", source="127.0.0.7").status == 401
    log = stage.front.envoy.access_log
    wait_until(lambda: any(line["path"] == "/secret-path" for line in log()), "the line of the request")
    (line,) = [line for line in log() if line["path"] == "/secret-path"]
    assert line["authz"] == {"decision": "d-1", "gateway": "openclaw", "reason": "because", "user": ""}
    assert (line["status"], line["details"], line["peer"]) == (401, "ext_authz_denied", "127.0.0.7")
    assert "hidden" not in stage.front.envoy.program.log_text()
