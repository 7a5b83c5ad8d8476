"""Invariants of the doors, whatever comes: an answer always, 401 or 403 unless the trusted peer named the user."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.config.load import loads
from extauthz.core.address import Address
from extauthz.core.request import Caller
from extauthz.wire.forward_auth import DIALECTS, HttpMessage, decode, is_door
from extauthz.wire.http_names import REMEMBERED_NAME_SETS, remembered_names
from forward_auth.opening import USER, gateway

LOOPBACK = Caller(Address(4, 0x7F000001, "", loopback=True))
AUTHORIZER = Authorizer(make_snapshot(loads(json.dumps({"gateways": {"openclaw": gateway(), "other": gateway()}}))))

_names = st.sampled_from(
    [
        *(name.encode() for dialect in DIALECTS.values() for name in dialect.says if name),
        b"x-forwarded-user",
        b"x_forwarded_user",
        b"x-authz-user",
        b"accept",
    ]
) | st.binary(max_size=20)
_values = st.sampled_from([b"10.0.0.7", USER.encode(), b"", b"192.0.2.1, 10.0.0.7", b"10.0.0.7,"]) | st.binary(
    max_size=40
)
_headers = st.lists(st.tuples(_names, _values), max_size=8)
_targets = st.builds(
    b"".join,
    st.lists(
        st.sampled_from(
            [
                b"/",
                b"/forward-auth",
                b"/envoy",
                b"/traefik",
                b"/nginx",
                b"/openclaw",
                b"/other",
                b"..",
                b"%2e",
                b"?",
                b"#",
            ]
        )
        | st.binary(max_size=6),
        max_size=8,
    ),
)


@bounded
@given(target=_targets, headers=_headers, method=st.text(max_size=8))
@example(
    target=b"/forward-auth/envoy/openclaw",
    headers=[(b"x-extauthz-peer", b"10.0.0.7"), (b"x-forwarded-user", USER.encode())],
    method="GET",
)
def test_every_question_is_answered_and_only_the_trusted_peers_word_allows(
    target: bytes, headers: list[tuple[bytes, bytes]], method: str
) -> None:
    answer = AUTHORIZER.forward(HttpMessage.of(method, target, headers), LOOPBACK)
    status, sent = answer.status, answer.headers
    assert status in {200, 401, 403}
    assert (b"cache-control", b"no-store") in sent
    assert all(b"\n" not in value and b"\r" not in value and b"\0" not in value for _, value in sent)
    assert answer.fields.count(b"\n") == len(sent)
    if status == 200:
        assert is_door(target)
        assert (b"x-forwarded-user", USER.encode()) in headers
        assert any(b"10.0.0.7" in value for _, value in headers)
        names = [name for name, _ in sent]
        assert {b"x-forwarded-user", b"x-authz-user", b"x-authz-gateway", b"x-authz-decision", b"x-authz-stamp"} <= set(
            names
        )
        assert len(names) == len(set(names))


@bounded
@given(path=st.binary(max_size=60).map(lambda path: b"/" + path))
def test_no_client_path_changes_the_gateway_of_the_envoy_door(path: bytes) -> None:
    request = decode(HttpMessage.of("GET", b"/forward-auth/envoy/openclaw" + path, []), LOOPBACK)
    assert request.gateway == "openclaw"
    assert request.path.encode() == path or request.fault


@bounded
@given(query=st.binary(max_size=60))
def test_no_query_changes_the_gateway_of_a_door(query: bytes) -> None:
    for dialect in DIALECTS:
        request = decode(HttpMessage.of("GET", f"/forward-auth/{dialect}/openclaw?".encode() + query, []), LOOPBACK)
        assert request.gateway == "openclaw"


# Few names, so that the same ones come in another order, in another case, and another time more often.
_known_names = st.sampled_from(
    [b"x-a", b"X-A", b"x-b", b"X-Forwarded-User", b"x-forwarded-user", b"host", b"x-forwarded-for"]
)


@bounded
@given(headers=st.lists(st.tuples(_known_names, st.sampled_from([b"1", b"2", b"3", b""])), max_size=6))
def test_no_value_is_taken_for_another_names_whatever_was_asked_before(headers: list[tuple[bytes, bytes]]) -> None:
    expected: dict[str, list[bytes]] = {}
    for name, value in headers:
        expected.setdefault(name.decode().lower(), []).append(value)
    for dialect, target in (("caddy", b"/forward-auth/caddy/openclaw"), ("nginx", b"/forward-auth/nginx/openclaw")):
        request = decode(HttpMessage.of("GET", target, headers), LOOPBACK)
        assert request.headers is not None
        seen = {name: values for name, values in expected.items() if name not in DIALECTS[dialect].own}
        assert list(request.headers.names) == list(seen)
        assert {name: request.headers.read(name) for name in seen} == {
            name: b",".join(values) for name, values in seen.items()
        }
        assert set(request.headers.repeated) == {name for name, values in seen.items() if len(values) > 1}
        assert all(request.headers.read(name) is None for name in DIALECTS[dialect].own)


def test_names_that_a_client_makes_up_fill_no_memory() -> None:
    target = b"/forward-auth/traefik/openclaw"
    for number in range(2 * REMEMBERED_NAME_SETS):
        decode(HttpMessage.of("GET", target, [(b"x-%d" % number, b"1")]), LOOPBACK)
        decode(HttpMessage.of("GET", target, [(b"x-%d-" % number + b"a" * 10_000, b"1")]), LOOPBACK)
    kept = remembered_names()
    assert 0 < len(kept) <= REMEMBERED_NAME_SETS
    assert all(sum(map(len, names)) < 10_000 for _, names in kept)
