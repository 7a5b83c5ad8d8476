"""What clients send to become someone else, through every real proxy; what the Gateway gets to see is what counts.

Each attack is a row of the table in docs/security.md and each proxy a column. Envoy is here as well, so that it can be
compared; the rest of its tests are in test_envoy_*.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from extauthz.probe.forgeries import FORMS
from support.attacks import note
from support.clients import Headers, Refused, Response, http1, http2, raw, websocket
from support.http_proxies import NAMES
from support.stand import (
    FORGED,
    FRONT,
    IDENTITY,
    PROTECTED,
    STAMPED,
    STRANGER,
    USER,
    USER_HEADER,
    WITHOUT_USER,
    Stand,
    outcome,
    running_stand,
)

COLUMNS: Final = {**NAMES, "envoy": "Envoy gRPC", "envoy-http": "Envoy HTTP"}
every_proxy = pytest.mark.parametrize("dialect", COLUMNS)
every_http_proxy = pytest.mark.parametrize("dialect", NAMES)

SAFE: Final = ("only extauthz's arrives", "refused by the proxy", "denied: ", "passes with")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The cast, with the proxies that were asked for."""
    with running_stand(tmp_path_factory.mktemp("stand")) as found:
        yield found


def saw(attack: str, dialect: str, *outcomes: str) -> None:
    """Note what became of an attack, made in several forms, once it is known to have done no harm in any."""
    assert [one for one in outcomes if not one.startswith(SAFE)] == []
    shown = {re.sub(r"denied: (.*)", r"denied: `\1`", one) for one in outcomes}
    note(attack, COLUMNS[dialect], " / ".join(sorted(shown)))


@every_proxy
@pytest.mark.parametrize("form", FORMS)
def test_no_copy_of_a_stamped_header_arrives(stand: Stand, dialect: str, form: str) -> None:
    proxy = stand.proxy(dialect)
    seen = [outcome(*stand.send(proxy, [*IDENTITY, *FORMS[form](name, FORGED)])) for name in STAMPED]
    saw(f"stamped header, {form}", dialect, *seen)


@every_proxy
def test_no_copy_of_a_stamped_header_arrives_in_trailers(stand: Stand, dialect: str) -> None:
    proxy = stand.proxy(dialect)
    seen = []
    for name in PROTECTED:
        for announced in ([], [("trailer", name)]):
            sent = [*IDENTITY, ("te", "trailers"), *announced]
            seen.append(outcome(*stand.send(proxy, sent, method="POST", body=b"body", trailers=[(name, FORGED)])))
    saw("stamped or identity header, in trailers", dialect, *seen)


@every_proxy
@pytest.mark.parametrize("form", FORMS)
def test_a_second_identity_beside_the_one_of_the_proxy_in_front_is_not_taken(
    stand: Stand, dialect: str, form: str
) -> None:
    seen = [
        outcome(*stand.send(stand.proxy(dialect), sent))
        for copy in [FORMS[form](USER_HEADER, FORGED)]
        for sent in ([*IDENTITY, *copy], [*copy, *IDENTITY])
    ]
    saw(f"second identity beside the front's, {form}", dialect, *seen)


@every_proxy
@pytest.mark.parametrize("form", FORMS)
def test_an_identity_from_a_stranger_is_not_taken(stand: Stand, dialect: str, form: str) -> None:
    proxy = stand.proxy(dialect)
    copies = FORMS[form](USER_HEADER, USER)
    seen = [outcome(*stand.send(proxy, [*WITHOUT_USER, *copies], source=STRANGER))]
    saw(f"identity from a stranger, {form}", dialect, *seen)


@every_http_proxy
@pytest.mark.parametrize("form", FORMS)
def test_where_the_proxy_authenticates_no_client_names_a_user(stand: Stand, dialect: str, form: str) -> None:
    proxy = stand.proxy(dialect, "authenticated")
    sent = [*WITHOUT_USER, *FORMS[form](USER_HEADER, FORGED)]
    answer, arrived = stand.send(proxy, sent, source=STRANGER)
    saw(f"identity where the proxy authenticates, {form}", dialect, outcome(answer, arrived, "authenticated"))


@every_http_proxy
def test_where_the_proxy_authenticates_nobody_passes_unless_somebody_is_named(stand: Stand, dialect: str) -> None:
    proxy = stand.proxy(dialect, "authenticated")
    before = stand.authenticator.answer
    seen = []
    try:
        for answer in (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX-Forwarded-User:\r\nContent-Length: 0\r\n\r\n",
        ):
            stand.authenticator.answer = answer
            seen.append(outcome(*stand.send(proxy, IDENTITY, source=STRANGER)))
    finally:
        stand.authenticator.answer = before
    assert "only extauthz's arrives" not in seen
    saw("identity where the proxy authenticates, and has authenticated nobody", dialect, *seen)


# What says where a request comes from, or what it is.
FORGERIES: Final[dict[str, Headers]] = {
    "X-Forwarded-Uri, -Method": [("X-Forwarded-Uri", "/forged"), ("X-Forwarded-Method", "DELETE")],
    "X-Forwarded-Host": [("X-Forwarded-Host", "forged.example.com")],
    "X-Forwarded-Proto": [("X-Forwarded-Proto", "forged")],
    "X-Original-URI, -Method": [("X-Original-URI", "/forged"), ("X-Original-Method", "FORGED")],
    "X-Real-IP": [("X-Real-IP", FRONT)],
    "Forwarded": [("Forwarded", f"for={FRONT};host=forged.example.com")],
    "X-Forwarded-For": [("X-Forwarded-For", FRONT), ("X-Forwarded-For", f"1.2.3.4, {FRONT}")],
    "all of them": [
        ("X-Forwarded-Uri", "/forged"),
        ("X-Forwarded-Method", "FORGED"),
        ("X-Forwarded-Host", "forged.example.com"),
        ("X-Original-URI", "/forged"),
        ("X-Original-Method", "FORGED"),
        ("X-Forwarded-For", FRONT),
        ("X-Real-IP", FRONT),
        ("X-Extauthz-Peer", FRONT),
        ("Forwarded", f"for={FRONT}"),
    ],
}


@every_proxy
@pytest.mark.parametrize("forged", FORGERIES)
def test_no_header_makes_a_stranger_the_proxy_in_front(stand: Stand, dialect: str, forged: str) -> None:
    answer, arrived = stand.send(stand.proxy(dialect), [*IDENTITY, *FORGERIES[forged]], source=STRANGER)
    saw(f"forged {forged}, from a stranger", dialect, outcome(answer, arrived))


# X-Forwarded-Proto is the front's to say.
@every_http_proxy
@pytest.mark.parametrize("forged", [one for one in FORGERIES if one != "X-Forwarded-Proto"])
def test_no_header_changes_what_is_stamped(stand: Stand, dialect: str, forged: str) -> None:
    answer, arrived = stand.send(stand.proxy(dialect), [*IDENTITY, *FORGERIES[forged]])
    saw(f"forged {forged}, passed on by the front", dialect, outcome(answer, arrived))
    for one in arrived:
        # The last entry is the proxy's own peer, whatever came before it.
        assert one.values("x-forwarded-for")[-1].rpartition(",")[2].strip() == FRONT
        assert not one.values("x-real-ip")


TARGETS: Final = {
    "absolute-form": ["http://other.example.com/x?y=1", "http://gateway.example.com/x"],
    "dot segments": ["/a/../b", "/a/./b//c", "/../../x", "/%2e%2e/x"],
    "an encoded slash": ["/a%2fb", "/a/..%2f..%2fb", "/a%5cb"],
    "other encodings": ["/%61%62", "/a%20b?c=%2f", "/a;b=c", "/%C3%A9", "/a?b?c", "/a%00b", "/a%25b"],
    "the door's own path": [
        "/forward-auth/nginx/shadow",
        "/.extauthz/ask",
        "/%2eextauthz/ask",
        "/.extauthz/authenticate",
    ],
}


@every_proxy
@pytest.mark.parametrize("form", TARGETS)
def test_the_path_that_is_stamped_is_the_one_that_arrives(stand: Stand, dialect: str, form: str) -> None:
    proxy = stand.proxy(dialect)
    seen = []
    for target in TARGETS[form]:
        seen.append(outcome(*stand.send(proxy, IDENTITY, target=target)))
        stranger = outcome(*stand.send(proxy, IDENTITY, target=target, source=STRANGER))
        assert stranger in {"denied: trusted_proxy_untrusted_source", "refused by the proxy"}
    saw(f"path: {form}", dialect, *seen)


HOSTS: Final = {
    "none": [b""],
    "empty": [b"Host:\r\n"],
    "two": [b"Host: gateway.example.com\r\nHost: forged.example.com\r\n"],
    "no host": [b"Host: %s\r\n" % value for value in (b"a b", b"a/b", b"user@gateway.example.com", b"a,b")],
    "in other forms": [b"Host: %s\r\n" % value for value in (b"GATEWAY.Example.COM:8443", b"192.0.2.1:80", b"[::1]")],
}


@every_proxy
@pytest.mark.parametrize("form", HOSTS)
def test_the_host_that_is_stamped_is_the_one_that_arrives(stand: Stand, dialect: str, form: str) -> None:
    port = stand.proxy(dialect).port
    fields = b"".join(f"{name}: {value}\r\n".encode() for name, value in IDENTITY)
    seen = []
    for host in HOSTS[form]:
        stand.gateway.clear()
        answer = raw(port, b"GET / HTTP/1.1\r\n" + host + fields + b"\r\n", source=FRONT)
        seen.append(outcome(answer, stand.gateway.arrived))
    saw(f"host: {form}", dialect, *seen)


@every_http_proxy
def test_the_proxy_hands_on_who_the_client_of_the_front_is(stand: Stand, dialect: str) -> None:
    # Under this ruleset a client that cannot be named is refused: X-Forwarded-For must get through as a chain.
    proxy = stand.proxy(dialect, "claw")
    answer, arrived = stand.send(proxy, IDENTITY)
    assert outcome(answer, arrived, "claw") == "only extauthz's arrives"
    assert arrived[0].values("x-forwarded-for") == [f"203.0.113.10, {FRONT}"]
    assert outcome(*stand.send(proxy, IDENTITY[:2]), "claw") == "denied: proxy_attribution_required"


@every_proxy
def test_http2_without_tls_is_held_to_the_same(stand: Stand, dialect: str) -> None:
    proxy = stand.proxy(dialect)
    seen = []
    for name in STAMPED:
        for headers in ([(name, FORGED)], [(name, FORGED), (name, "")], [(name.replace("-", "_"), FORGED)]):
            stand.gateway.clear()
            answer = http2_or_nothing(proxy.port, [*IDENTITY, *headers])
            seen.append(outcome(answer, stand.gateway.arrived))
    saw("stamped header over HTTP/2 without TLS", dialect, *seen)


def http2_or_nothing(port: int, headers: Any) -> Response:
    try:
        return http2(port, headers, source=FRONT)
    except OSError:
        return Response(0)


@every_proxy
def test_in_shadow_mode_what_would_be_denied_passes_without_an_identity(stand: Stand, dialect: str) -> None:
    proxy = stand.proxy(dialect, "shadow")
    forged = [(name, FORGED) for name in PROTECTED]
    seen = [
        outcome(*stand.send(proxy, headers, source=source), "shadow")
        for headers, source in (([*WITHOUT_USER, *forged], STRANGER), ([*IDENTITY, *forged], FRONT), (forged, STRANGER))
    ]
    assert [one for one in seen if not one.startswith("passes with")] == []
    saw("shadow mode, what would be denied", dialect, *seen)


@pytest.mark.parametrize("dialect", [*NAMES, "envoy-http"])
def test_who_is_no_caller_gets_nothing_from_the_door(stand: Stand, dialect: str) -> None:
    port = int(stand.door.rpartition(":")[2])
    asked = [("x-forwarded-for", FRONT), ("x-original-method", "GET"), ("x-original-uri", "/"), (USER_HEADER, USER)]
    asked.append(("x-extauthz-peer", FRONT))
    door = f"/forward-auth/{dialect.removesuffix('-http')}/openclaw"
    answer = http1(port, asked, target=door, source=STRANGER)
    assert answer.values("x-authz-stamp") == answer.values("x-authz-user") == []
    saw("door asked directly by who is no caller", dialect, outcome(answer, []))


@dataclass
class Upgrade:
    """What became of an upgrade."""

    answer: Response = field(default_factory=lambda: Response(101))
    echoed: bool = False


def upgrade(stand: Stand, port: int, headers: Any, source: str) -> Upgrade:
    stand.gateway.clear()
    try:
        with websocket(port, headers, source=source) as opened:
            frames: list[str | bytes] = ["hello", b"\x00\xff", "x" * 100_000]
            return Upgrade(echoed=[opened.echo(frame) for frame in frames] == frames)
    except Refused as refused:
        return Upgrade(refused.response)


@every_proxy
def test_an_upgrade_is_decided_as_any_request(stand: Stand, dialect: str) -> None:
    port = stand.proxy(dialect).port
    opened = upgrade(stand, port, list(IDENTITY), FRONT)
    assert opened.echoed
    saw("WebSocket upgrade with an identity", dialect, outcome(opened.answer, stand.gateway.arrived))
    for attack, headers, source in (
        ("without an identity", list(WITHOUT_USER), FRONT),
        ("of a stranger", list(IDENTITY), STRANGER),
    ):
        refused = upgrade(stand, port, headers, source)
        assert not refused.echoed
        saw(f"WebSocket upgrade {attack}", dialect, outcome(refused.answer, stand.gateway.arrived))


@every_proxy
def test_an_upgrade_brings_no_stamps_of_its_own(stand: Stand, dialect: str) -> None:
    port = stand.proxy(dialect).port
    forged = [(name, FORGED) for name in STAMPED] + [(name.upper(), f"second-{FORGED}") for name in STAMPED]
    seen = upgrade(stand, port, [*IDENTITY, *forged], FRONT)
    assert seen.echoed
    saw("WebSocket upgrade with stamped headers", dialect, outcome(seen.answer, stand.gateway.arrived))


@every_proxy
def test_an_upgrade_cannot_have_the_stamps_taken_away(stand: Stand, dialect: str) -> None:
    proxy = stand.proxy(dialect)
    headers = [
        *IDENTITY,
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade, x-authz-user, x-authz-stamp"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    answer, arrived = stand.send(proxy, headers)
    assert answer.status == 101
    saw("WebSocket upgrade with stamped headers named in Connection", dialect, outcome(answer, arrived))
