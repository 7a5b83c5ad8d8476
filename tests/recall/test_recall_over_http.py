"""The same at the forward-auth doors: an allow is given again only for a question that no rule tells from the first."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, gateway, load_gateways
from cases.generated import bounded
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.wire.forward_auth import DIALECTS, HttpMessage
from recall.both import CALLERS, GATEWAYS, Both

Headers = list[tuple[bytes, bytes]]

# What a door is told of the original request, and the peer, which is trusted.
SAID: dict[str, Headers] = {
    "traefik": [
        (b"X-Forwarded-Method", b"GET"),
        (b"X-Forwarded-Uri", b"/"),
        (b"X-Forwarded-Host", b"gateway.example.com"),
    ],
    "nginx": [(b"X-Original-Method", b"GET"), (b"X-Original-Uri", b"/"), (b"Host", b"gateway.example.com")],
    "envoy": [(b"x-extauthz-peer", b"10.0.0.7"), (b"host", b"gateway.example.com")],
}
SAID["caddy"] = SAID["traefik"]
IDENTITY: Headers = [
    (b"x-forwarded-for", b"203.0.113.9, 10.0.0.7"),
    *((name.encode(), value.encode()) for name, value in PAIRS if name != "x-forwarded-for"),
]


def asked(dialect: str, headers: Headers, name: str = "g", rest: str = "", method: str = "GET") -> HttpMessage:
    """What a proxy asks at its door."""
    return HttpMessage.of(method, f"/forward-auth/{dialect}/{name}{rest}".encode(), headers)


NAMES = st.sampled_from([
    *(b"x-forwarded-user", b"X-Forwarded-User", b"x_forwarded_user", b"x-forwarded-proto", b"x-forwarded-for"),
    *(b"x-forwarded-host", b"x-forwarded-method", b"x-forwarded-uri", b"x-original-uri", b"x-original-method"),
    *(b"x-extauthz-peer", b"host", b"Host", b"origin", b"x-real-ip", b"cookie", b"x.authz.user", b"x-\xff", b""),
])  # fmt: skip
VALUES = st.sampled_from([
    *(b"nick@example.com", b"eve@example.com", b"a,b", b"", b",", b"https", b"\xff", b"10.0.0.7", b"203.0.113.9"),
    *(b"1.2.3.4,10.0.0.7", b"10.0.0.8", b"127.0.0.1", b"gateway.example.com", b"evil.example", b"/b?x", b"POST"),
    *(b"https://gateway.example.com", b"https://evil.example", "ü".encode()),
])  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> HttpMessage:
    """A request to a door: most are near one that is allowed, so that there is something to recall."""
    dialect = draw(st.sampled_from([*DIALECTS]))
    headers = [*SAID[dialect], *IDENTITY]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(headers)))
        one = (draw(NAMES), draw(VALUES))
        headers[place : place + draw(st.integers(0, 1))] = [one] if draw(st.booleans()) else []
    if draw(st.booleans()):
        headers = draw(st.permutations(headers))
    name = draw(st.sampled_from([*GATEWAYS, *GATEWAYS, "unknown"]))
    rest = draw(st.sampled_from(["", "", "/", "/a?token=secret", "?x=y"]))
    return asked(dialect, headers, name, rest, draw(st.sampled_from(["GET", "GET", "POST"])))


@given(all_asked=st.lists(st.tuples(messages(), st.sampled_from(CALLERS)), min_size=2))
@bounded
def test_recalled_or_not_every_answer_and_line_is_the_same(all_asked: list[tuple[HttpMessage, Caller]]) -> None:
    both = Both()
    for message, caller in [*all_asked, *all_asked[::-1]]:
        both.compare_forward(message, caller)
        # Envoy's door and the gRPC door have one memory.
        both.compare_forward(message, caller)


OTHER_VALUES = (b"", b"10.0.0.8", b"POST", b"/other", b"other.example", b"eve@example.com", b"\xff")


@pytest.mark.parametrize("name", ["g", "nine"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_thing_told_otherwise_is_another_question(dialect: str, name: str) -> None:
    both = Both()
    headers = [*SAID[dialect], *IDENTITY]
    good = asked(dialect, headers, name)
    others = [asked(dialect, headers, name, method="POST"), asked(dialect, headers, name, rest="/other")]
    for place, (header, _) in enumerate(headers):
        others += [
            asked(dialect, [*headers[:place], (header, value), *headers[place + 1 :]], name) for value in OTHER_VALUES
        ]
    for other in others:
        for message in (good, other, good, other):
            both.compare_forward(message, LOOPBACK)
    for caller in CALLERS:
        both.compare_forward(good, caller)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_same_question_is_recalled_whatever_else_the_request_carries(dialect: str) -> None:
    both = Both()
    recalled = []
    for number in range(3):
        more = [(b"x-request-id", b"id-%d" % number), (b"cookie", b"c" * number)]
        recalled.append(both.compare_forward(asked(dialect, [*SAID[dialect], *IDENTITY, *more]), LOOPBACK))
    assert recalled == [False, True, True]


def _but(*changed: tuple[bytes, bytes | None]) -> Headers:
    """The headers that are allowed, with another value for some; None removes one."""
    values: dict[bytes, bytes | None] = {**dict(IDENTITY), **dict(changed)}
    return [(name, value) for name, value in values.items() if value is not None]


ATTACKS: dict[str, dict[str, Any]] = {
    "another user": {"headers": _but((b"x-forwarded-user", b"eve@example.com"))},
    "no user": {"headers": _but((b"x-forwarded-user", None))},
    "a second user": {"headers": [*IDENTITY, (b"x-forwarded-user", b"eve@example.com")]},
    "a second user in capitals": {"headers": [*IDENTITY, (b"X-Forwarded-User", b"eve@example.com")]},
    "an alias of the user header": {"headers": [*IDENTITY, (b"x_forwarded_user", b"eve@example.com")]},
    "a required header less": {"headers": _but((b"x-forwarded-proto", None))},
    "a user of other bytes": {"headers": _but((b"x-forwarded-user", b"nick@example.com\xff"))},
    "another gateway": {"gateway": "h"},
    "another caller": {"caller": Caller(parse_address("192.0.2.1"))},
    "another peer": {
        "headers": _but((b"x-forwarded-for", b"203.0.113.9, 10.0.0.8")),
        "said": [(b"x-extauthz-peer", b"10.0.0.8"), (b"host", b"gateway.example.com")],
    },
    "no peer": {
        "headers": _but((b"x-forwarded-for", None)),
        "said": [(b"host", b"gateway.example.com")],
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_allow_before_is_no_way_in_for(attack: str, dialect: str) -> None:
    gateways = {"g": gateway(), "h": gateway({"allowUsers": ["someone.else@example.com"]})}
    served = Authorizer(make_snapshot(load_gateways(gateways, stamp={"enabled": False})))
    good = asked(dialect, [*SAID[dialect], *IDENTITY])
    for _ in range(3):
        answer = served.forward(good, LOOPBACK)
        assert (answer.status, dict(answer.headers)[b"x-authz-user"]) == (200, b"nick@example.com")
    changed = ATTACKS[attack]
    said = changed.get("said", SAID[dialect]) if dialect == "envoy" else SAID[dialect]
    message = asked(dialect, [*said, *changed.get("headers", IDENTITY)], changed.get("gateway", "g"))
    for _ in range(2):
        assert served.forward(message, changed.get("caller", LOOPBACK)).status in {401, 403}
    assert served.forward(good, LOOPBACK).status == 200
