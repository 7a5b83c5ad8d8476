"""What the written configuration alone withstands, whatever the authorizer says or fails to say. On real Envoy."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extauthz.proxies.envoy import STAMPED_HEADERS, Route, render
from extauthz.wire.pb import check_pb2
from support import clients
from support.check_server import CheckServer, allow, check_server, deny
from support.clients import Refused, Response, http1, http2, proxy_protocol, raw, websocket
from support.echo_gateway import EchoGateway, echo_gateway
from support.envoy import running_envoy
from support.front import Front, running_front
from support.ports import free_port
from support.process import ProgramError, wait_until

STAMPS = {**dict.fromkeys(STAMPED_HEADERS, "ours"), "x-forwarded-user": "nick@example.com"}
Send = Callable[..., Response]
BOTH = pytest.mark.parametrize("send", [http1, http2], ids=["http1", "http2"])
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: gateway.example.com\r\nUpgrade: websocket\r\nConnection: %s\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"x-forwarded-user: someone\r\nx-authz-user: forged\r\n\r\n"
)


def pass_all(_: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
    """The answer of an authorizer that allows everything, and stamps it."""
    return allow(STAMPS)


class Stage:
    """Envoy, a scripted authorizer and a Gateway."""

    def __init__(self, front: Front, authorizer: CheckServer, gateway: EchoGateway) -> None:
        self.front, self.authorizer, self.gateway = front, authorizer, gateway
        self.port = front.port

    @contextlib.contextmanager
    def saying(self, answer: Callable[[check_pb2.CheckRequest], check_pb2.CheckResponse]) -> Iterator[None]:
        """Let the authorizer say this while the block runs."""
        self.authorizer.answer = answer
        try:
            yield
        finally:
            self.authorizer.answer = pass_all

    def not_reached(self) -> bool:
        """Whether no request has come to the Gateway since it was last asked."""
        arrived = self.gateway.arrived
        self.gateway.clear()
        return not arrived


@contextlib.contextmanager
def staged(directory: Path, **settings: object) -> Iterator[Stage]:
    with echo_gateway() as gateway, check_server(pass_all) as authorizer:
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        with running_front(directory, routes=[route], extauthz=[authorizer.address], **settings) as front:
            yield Stage(front, authorizer, gateway)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("front")) as found:
        yield found


@pytest.fixture(autouse=True)
def _forget(stage: Stage) -> None:
    stage.gateway.clear()


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


@BOTH
def test_an_authorizer_that_hangs_is_a_denial(stage: Stage, send: Send) -> None:
    end = threading.Event()

    def hung(_: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
        end.wait(20)
        return pass_all(_)

    with stage.saying(hung):
        try:
            assert send(stage.port).status == 503
        finally:
            end.set()
    assert stage.not_reached()


def test_a_process_that_hangs_or_dies_costs_no_refusal_while_there_is_another(tmp_path: Path) -> None:
    end = threading.Event()

    def hung(_: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
        end.wait(20)
        return pass_all(_)

    with echo_gateway() as gateway, check_server(pass_all) as one, contextlib.ExitStack() as mortal:
        other = mortal.enter_context(check_server(pass_all))
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        # Enough time for the first try to be given up, and more.
        settings = {"timeout": 4.0, "health_interval": 60}
        with running_front(tmp_path, routes=[route], extauthz=[one.address, other.address], **settings) as front:
            assert {http1(front.port).status for _ in range(8)} == {200}
            assert len(one.asked) == len(other.asked) == 4
            other.answer = hung
            try:
                assert {http1(front.port).status for _ in range(2)} == {200}
            finally:
                end.set()
            mortal.close()
            # The health check has not noticed yet: its interval is a minute.
            assert {http1(front.port).status for _ in range(8)} == {200}


@BOTH
def test_a_header_named_in_connection_cannot_take_a_stamp_away(stage: Stage, send: Send) -> None:
    headers = [("connection", "keep-alive, x-authz-user, x-forwarded-user"), ("x-authz-user", "forged")]
    answer = send(stage.port, headers)
    if send is http2:
        assert answer.status == 0  # HTTP/2 has no such header
        return
    (arrived,) = stage.gateway.arrived
    assert arrived.values("connection") == []
    assert arrived.values("x-authz-user") == ["ours"]


@pytest.mark.parametrize("line", [b"Upgrade, x-authz-user, x-forwarded-user", b"keep-alive, x-authz-stamp, Upgrade"])
def test_a_header_named_in_connection_of_an_upgrade_is_not_named_to_the_gateway(stage: Stage, line: bytes) -> None:
    assert raw(stage.port, UPGRADE % line).status == 101
    (arrived,) = stage.gateway.arrived
    assert arrived.values("connection") == ["Upgrade"]
    assert arrived.values("x-authz-user") == arrived.values("x-authz-stamp") == ["ours"]


def test_the_identity_header_named_in_connection_is_gone_before_the_decision(stage: Stage) -> None:
    assert http1(stage.port, [("connection", "x-forwarded-user"), ("x-forwarded-user", "nick")]).status == 200
    asked = stage.authorizer.asked[-1].attributes.request.http.header_map.headers
    assert "x-forwarded-user" not in {header.key for header in asked}


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host", ":path"])
def test_connection_cannot_name_what_proxies_rely_on(stage: Stage, name: str) -> None:
    assert http1(stage.port, [("connection", f"keep-alive, {name}")]).status == 400
    assert stage.not_reached()


def test_a_body_whose_length_is_named_in_connection_still_ends_where_it_ends(stage: Stage) -> None:
    assert http1(stage.port, [("connection", "content-length")], method="POST", body=b"all of it").status == 200
    (arrived,) = stage.gateway.arrived
    assert arrived.body == "all of it"


@BOTH
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.7"])
def test_envoys_own_headers_are_nobodys_to_send(stage: Stage, send: Send, source: str) -> None:
    names = ["x-envoy-original-path", "x-envoy-upstream-rq-timeout-ms", "x-envoy-internal", "X-Envoy-Anything"]
    fields = [(name.lower() if send is http2 else name, "1") for name in names]
    assert send(stage.port, fields, source=source).status == 200
    (arrived,) = stage.gateway.arrived
    assert [name for name, _ in arrived.headers if name.startswith("x-envoy")] == []


@BOTH
def test_stamped_headers_in_trailers_are_dropped(stage: Stage, send: Send) -> None:
    trailers = [(name, "forged") for name in STAMPED_HEADERS]
    assert send(stage.port, body=b"body", trailers=trailers).status == 200
    (arrived,) = stage.gateway.arrived
    assert arrived.body == "body"
    assert arrived.trailers == ()
    assert arrived.values("x-authz-user") == ["ours"]


@BOTH
@pytest.mark.parametrize("host", ["", "gateway.example.com,evil.example", "user@gateway.example.com", "a b", "a/b"])
def test_a_host_that_is_none_reaches_nobody(stage: Stage, send: Send, host: str) -> None:
    asked = len(stage.authorizer.asked)
    assert send(stage.port, host=host).status in {0, 400, 404}
    assert stage.not_reached()
    assert len(stage.authorizer.asked) == asked


def test_two_hosts_reach_nobody(stage: Stage) -> None:
    assert http1(stage.port, [("host", "evil.example")]).status == 404
    assert stage.not_reached()


@BOTH
@pytest.mark.parametrize("target", ["/a%2Fb", "/a/..%2F..%2Fb", "/a%5C..%5Cb", "/a%2fb"])
def test_an_escaped_slash_is_refused(stage: Stage, send: Send, target: str) -> None:
    assert send(stage.port, target=target).status == 400
    assert stage.not_reached()


@BOTH
@pytest.mark.parametrize(("sent", "seen"), [("/a/../b//c?x=%2F", "/b/c?x=%2F"), ("/a/./%2e%2e/b", "/b"), ("//b", "/b")])
def test_the_path_decided_on_is_the_path_that_arrives(stage: Stage, send: Send, sent: str, seen: str) -> None:
    assert send(stage.port, target=sent).status == 200
    assert stage.authorizer.asked[-1].attributes.request.http.path == seen
    assert stage.gateway.arrived[0].target == seen


@BOTH
def test_an_underscore_in_a_name_is_refused_before_anyone_is_asked(stage: Stage, send: Send) -> None:
    asked = len(stage.authorizer.asked)
    assert send(stage.port, [("x_authz_user", "forged")]).status in {0, 400}
    assert stage.not_reached()
    assert len(stage.authorizer.asked) == asked


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Authz-User : forged\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX-Authz-User: a\x00b\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=["two-lengths", "space-before-colon", "nul", "http-1.0", "connect", "other-upgrade"],
)
def test_a_request_that_programs_read_differently_is_refused(stage: Stage, request_bytes: bytes) -> None:
    assert 400 <= raw(stage.port, request_bytes).status < 500
    assert stage.not_reached()


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
    with staged(tmp_path, proxy_protocol_from=("127.0.0.7/32", "::1")) as stage:
        said = proxy_protocol("10.0.0.1")
        assert send(stage.port, source="127.0.0.7", preface=said).status == 200
        assert stage.authorizer.asked[-1].attributes.source.address.socket_address.address == "10.0.0.1"
        assert send(stage.port, source="127.0.0.7", preface=proxy_protocol("2001:db8::9")).status == 200
        assert stage.authorizer.asked[-1].attributes.source.address.socket_address.address == "2001:db8::9"
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
