"""What Envoy's HTTP mode withstands by itself, whatever stands in the place of extauthz's door says."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from extauthz.proxies.envoy import STAMPED_HEADERS, Route
from proxies.test_forward_auth_outage import ANSWERS
from support.attacks import note
from support.clients import Refused, Response, http1, http2, websocket
from support.echo_gateway import Arrived, EchoGateway, echo_gateway
from support.front import Front, running_front
from support.rogue_door import HANGS, RogueDoor, rogue_door

Send = Callable[..., Response]
both_clients = pytest.mark.parametrize("send", [http1, http2], ids=["http1", "http2"])
FORGED = [(name, "forged") for name in STAMPED_HEADERS]


def says(status: str, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")


GOOD = says("200 OK", *(f"{name}: ours" for name in STAMPED_HEADERS), "x-forwarded-user: ours")


@dataclass(frozen=True)
class Stage:
    door: RogueDoor
    front: Front
    gateway: EchoGateway

    def asked(self, answer: bytes | None, send: Send = http1) -> tuple[Response, list[Arrived]]:
        """What becomes of a request with forged stamps, the door giving this answer."""
        self.door.answer = answer
        self.gateway.clear()
        said = send(self.front.port, [*FORGED, ("x-forwarded-user", "someone"), ("x-other", "mine")])
        return said, self.gateway.arrived


@contextlib.contextmanager
def staged(directory: Path, timeout: float) -> Iterator[Stage]:
    with echo_gateway() as gateway, rogue_door() as door:
        door.answer = GOOD
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        # The first health check finds it well, and there is no second one: each answer is that to a question.
        settings: dict[str, Any] = {"ask_over": "http", "timeout": timeout, "health_interval": 60}
        with running_front(directory, routes=[route], extauthz=[door.address], **settings) as front:
            yield Stage(door, front, gateway)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stage"), timeout=10.0) as found:
        yield found


@both_clients
def test_an_allow_overwrites_every_copy(stage: Stage, send: Send) -> None:
    answer, (arrived,) = stage.asked(GOOD, send)
    assert answer.status == 200
    for name in (*STAMPED_HEADERS, "x-forwarded-user"):
        assert arrived.values(name) == ["ours"]


@both_clients
def test_an_allow_without_stamps_leaves_none_of_the_clients(stage: Stage, send: Send) -> None:
    _, (arrived,) = stage.asked(says("200 OK"), send)
    assert [arrived.values(name) for name in STAMPED_HEADERS] == [[]] * len(STAMPED_HEADERS)


@both_clients
def test_an_empty_header_of_an_allow_takes_the_place_of_the_clients(stage: Stage, send: Send) -> None:
    empty = says("200 OK", *(f"{name}:" for name in (*STAMPED_HEADERS, "x-forwarded-user")))
    _, (arrived,) = stage.asked(empty, send)
    assert {value for name in (*STAMPED_HEADERS, "x-forwarded-user") for value in arrived.values(name)} <= {""}


@both_clients
def test_an_allow_sets_nothing_but_our_names(stage: Stage, send: Send) -> None:
    more = ("x-other: theirs", "host: evil.example", "cookie: a=b", "x-envoy-original-path: /evil")
    names = (f"{name}: ours" for name in STAMPED_HEADERS)
    answer, (arrived,) = stage.asked(says("200 OK", *names, *more), send)
    assert answer.status == 200
    assert arrived.values("host") == ["gateway.example.com"]
    assert arrived.values("x-other") == ["mine"]
    assert arrived.values("cookie") == []
    assert not [name for name, _ in arrived.headers if name.lower().startswith("x-envoy")]


@both_clients
@pytest.mark.parametrize("named", ["x-other", "host", "x-forwarded-proto, x-other"])
def test_an_allow_that_bids_envoy_remove_other_headers_is_an_error(stage: Stage, send: Send, named: str) -> None:
    names = (f"{name}: ours" for name in STAMPED_HEADERS)
    answer, arrived = stage.asked(says("200 OK", *names, f"x-envoy-auth-headers-to-remove: {named}"), send)
    assert (answer.status, arrived) == (500, [])


@both_clients
@pytest.mark.parametrize("status", ["201 Created", "204 No Content", "206 Partial", "299 Odd"])
def test_what_is_not_exactly_200_is_no_allow(stage: Stage, send: Send, status: str) -> None:
    _, arrived = stage.asked(says(status, *(f"{name}: ours" for name in STAMPED_HEADERS)), send)
    assert arrived == []


@both_clients
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "400 Bad", "401 Who", "403 No", "404 Lost", "429 Slow"])
def test_a_denial_of_any_kind_is_one(stage: Stage, send: Send, status: str) -> None:
    answer, arrived = stage.asked(says(status, "x-authz-reason: because", "x-other: theirs", body="told"), send)
    assert (answer.status, answer.body, arrived) == (int(status[:3]), b"told", [])
    assert (answer.values("x-authz-reason"), answer.values("x-other")) == (["because"], [])


BROKEN = {
    "500": says("500 Oh"),
    "503": says("503 Busy"),
    "garbage": b"\x00\xff garbage \r\n\r\n",
    "grpc": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nothing": b"",
    "half": b"HTTP/1.1 200 OK\r\nx-authz-user: ours\r\n",
    "short-body": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
    "two-lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n",
    "control-character": b"HTTP/1.1 200 OK\r\nx-authz-user: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "too-many-headers": says("200 OK", *(f"x-{number}: 1" for number in range(200))),
}


@both_clients
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_is_none_is_a_denial(stage: Stage, send: Send, answer: bytes) -> None:
    is_denied(stage, send, answer)


@both_clients
def test_a_door_that_hangs_is_a_denial(tmp_path: Path, send: Send) -> None:
    with staged(tmp_path, timeout=0.4) as stage:
        is_denied(stage, send, HANGS)


def is_denied(stage: Stage, send: Send, answer: bytes | None) -> None:
    said, arrived = stage.asked(answer, send)
    assert (said.status, said.values("x-authz-reason"), arrived) == (503, [], [])
    with pytest.raises(Refused) as refused, websocket(stage.front.port, [("x-forwarded-user", "someone")]):
        pass
    assert refused.value.response.status == 503
    assert stage.gateway.arrived == []


@pytest.mark.parametrize("said", ANSWERS)
def test_what_is_no_answer_of_extauthz_is_no_pass(stage: Stage, said: str) -> None:
    for answer in ANSWERS[said]:
        refused, arrived = stage.asked(answer)
        assert (refused.status == 200, arrived) == (False, []), answer[:60]
    note(f"door {said}", "Envoy HTTP", "nothing arrives")


def test_a_pass_that_names_nobody_has_no_stamp_and_so_is_none_to_who_verifies(stage: Stage) -> None:
    _, (arrived,) = stage.asked(says("200 OK"))
    assert [name for name in STAMPED_HEADERS if arrived.values(name)] == []
    # It is what the proxy in front said, and what extauthz is asked about: Envoy cannot take it away before.
    assert arrived.values("x-forwarded-user") == ["someone"]
    note("door answers 200 and names nobody", "Envoy HTTP", "passes without a stamp, the front's identity header stays")


def test_a_success_other_than_200_is_none(stage: Stage) -> None:
    assert stage.asked(b"HTTP/1.1 204 No Content\r\n\r\n")[1] == []
    note("door answers 204 and names nobody", "Envoy HTTP", "nothing arrives")


@both_clients
def test_the_door_is_told_all_headers_once_and_the_peer_by_envoy_alone(stage: Stage, send: Send) -> None:
    stage.door.asked.clear()
    stage.asked(GOOD, send)
    (asked,) = stage.door.asked
    assert asked.startswith(b"GET /forward-auth/envoy/openclaw/ HTTP/1.1\r\n")
    assert asked.lower().count(b"\r\nx-extauthz-peer: 127.0.0.1\r\n") == asked.lower().count(b"x-extauthz-peer") == 1
    assert b"x-other: mine" in asked
    assert b"forged" not in asked


def test_the_question_about_an_upgrade_is_none(stage: Stage) -> None:
    stage.door.answer = GOOD
    stage.door.asked.clear()
    with websocket(stage.front.port, [("x-forwarded-user", "someone")]) as opened:
        assert opened.echo("hello") == "hello"
    (asked,) = stage.door.asked
    assert b"upgrade" not in asked.lower()
    assert b"sec-websocket-key" in asked.lower()


def test_a_path_that_no_route_names_asks_for_no_gateway(stage: Stage) -> None:
    # The filter's own prefix, for a route that somebody adds without naming a gateway.
    written = stage.front.envoy.program.log.with_name("envoy.yaml").read_text(encoding="utf-8")
    assert '                path_prefix: "/forward-auth/envoy/-"\n' in written
