"""Requests that two programs would read differently: real Envoy refuses them, or makes them one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from extauthz.proxies.envoy import STAMPED_HEADERS
from support.clients import Response, http1, http2, raw
from support.stage import Stage, running_stage

Send = Callable[..., Response]
BOTH = pytest.mark.parametrize("send", [http1, http2], ids=["http1", "http2"])
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: gateway.example.com\r\nUpgrade: websocket\r\nConnection: %s\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"x-forwarded-user: someone\r\nx-authz-user: forged\r\n\r\n"
)


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
def test_what_only_envoy_may_say_is_nobodys_to_send(stage: Stage, send: Send, source: str) -> None:
    names = ["x-envoy-original-path", "x-envoy-upstream-rq-timeout-ms", "x-envoy-internal", "X-Envoy-Anything"]
    names.append("x-forwarded-client-cert")
    fields = [(name.lower() if send is http2 else name, "1") for name in names]
    assert send(stage.port, fields, source=source).status == 200
    (arrived,) = stage.gateway.arrived
    assert not [name for name, _ in arrived.headers if name.startswith(("x-envoy", "x-forwarded-client"))]


@BOTH
def test_a_request_full_of_headers_cannot_crowd_out_the_stamps(stage: Stage, send: Send) -> None:
    # With four stamps more it would have more headers than Envoy lets through: an error, not a pass without them.
    seen = set()
    for count in range(80, 100):
        stage.gateway.clear()
        answer = send(stage.port, [(f"x-{number}", "1") for number in range(count)])
        seen.add(answer.status)
        assert [one.values("x-authz-stamp") for one in stage.gateway.arrived] == [["ours"]] * (answer.status == 200)
    assert {200, 500} <= seen <= {200, 500, 431, 0}


@BOTH
def test_a_request_full_of_bytes_cannot_crowd_out_the_stamps(stage: Stage, send: Send) -> None:
    seen = set()
    for missing in (2000, 800, 600, 400, 300, 200, 100):
        stage.gateway.clear()
        answer = send(stage.port, [("x-long", "a" * (60 * 1024 - missing))])
        seen.add(answer.status)
        assert [one.values("x-authz-stamp") for one in stage.gateway.arrived] == [["ours"]] * (answer.status == 200)
    assert {200, 500} <= seen <= {200, 500, 431, 0}


@pytest.mark.parametrize(("hops", "proto"), [(0, "http"), (1, "https")])
def test_x_forwarded_proto_is_kept_only_where_a_proxy_in_front_is_trusted_with_it(
    tmp_path: Path, hops: int, proto: str
) -> None:
    with running_stage(tmp_path, trusted_hops=hops) as stage:
        headers = [("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.10")]
        assert http1(stage.port, headers, source="127.0.0.7").status == 200
        assert http1(stage.port, source="127.0.0.7").status == 200
    with_it, without = stage.gateway.arrived
    assert with_it.values("x-forwarded-proto") == [proto]
    # The peer is appended, whoever it is, and Envoy names a scheme of its own where nobody does.
    assert with_it.values("x-forwarded-for") == ["203.0.113.10,127.0.0.7"]
    assert without.values("x-forwarded-for") == ["127.0.0.7"]
    assert without.values("x-forwarded-proto") == ["http"]


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
