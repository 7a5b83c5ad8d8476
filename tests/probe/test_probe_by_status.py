"""A Gateway that tells nothing of what arrived: what its status shows, and that the rest is said to be unknown."""

import json
import socket
from collections.abc import Callable

import pytest

from probe.cast import USER, Probed, probe
from probe.rogue_server import Script, says, serving
from support.sign_in_hop import SESSION

IDENTITY = (b"x-forwarded-user", b"x_forwarded_user", b"remote-user")


def fields(head: bytes) -> dict[bytes, bytes]:
    lines = head.split(b"\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def gateway(believes: Callable[[dict[bytes, bytes]], bool], page: bytes = b"hello") -> Script:
    """A deployment that lets in who is signed in, and whom else it believes."""

    def answer(connection: socket.socket, head: bytes) -> None:
        sent = fields(head)
        signed_in = SESSION.encode() in sent.get(b"cookie", b"")
        connection.sendall(says("200 OK", page) if signed_in or believes(sent) else says("401 Unauthorized"))

    return answer


def probed(script: Script, *arguments: str) -> Probed:
    with serving(script) as port:
        return probe(f"http://127.0.0.1:{port}/", *arguments)


def test_of_a_gateway_that_tells_nothing_what_cannot_be_told_is_not_tested() -> None:
    found = probed(gateway(lambda _: False))
    assert (found.status, found.holes, found.said["gateway_reports"]) == (0, set(), False)
    assert {"no_identity", "forged_sign_in", "refusal_status"} <= found.ids("passed")
    unknown = {"identity_arrives", "forged_user", "forged_stamp", "forged_alias", "forged_forwarded"}
    assert unknown <= found.ids("not_tested")
    for check in unknown:
        assert "the Gateway does not report what arrived" in found.seen(check)


@pytest.mark.parametrize("name", IDENTITY)
def test_a_forged_identity_that_opens_the_door_is_a_hole(name: bytes) -> None:
    found = probed(gateway(lambda sent: name in sent))
    assert (found.status, found.holes) == (1, {"forged_sign_in"})


def test_a_list_of_users_hides_the_hole_from_marks_and_not_from_an_allowed_user() -> None:
    careless = gateway(lambda sent: sent.get(b"x-forwarded-user") == USER.encode())
    assert probed(careless).holes == set()
    found = probed(careless, "--allowed-user", USER)
    assert (found.status, found.holes) == (1, {"forged_sign_in"})
    assert "an allowed user" in found.seen("forged_sign_in")


def test_a_gateway_open_to_all_is_a_hole() -> None:
    found = probed(gateway(lambda _: True))
    assert "no_identity" in found.holes
    assert "forged_sign_in" in found.ids("not_tested")


def test_a_mark_in_the_page_of_any_gateway_proves_that_it_passed() -> None:
    def echo(connection: socket.socket, head: bytes) -> None:
        connection.sendall(says("200 OK", b"<pre>" + head + b"</pre>"))

    found = probed(echo)
    assert {"forged_user", "forged_stamp", "forged_alias", "forged_forwarded"} <= found.holes


def test_a_page_that_looks_like_a_report_and_knows_not_the_word_is_none() -> None:
    page = json.dumps({"arrived": {"probe": "probe0000000000000000", "headers": [["x-authz-user", "a"]]}}).encode()
    found = probed(gateway(lambda _: False, page))
    assert found.said["gateway_reports"] is False


@pytest.mark.parametrize(
    "page",
    [
        b'{"arrived": ' * 20_000,
        b'{"arrived": {"probe": null, "headers": 1}}',
        b'{"arrived": 7}',
        b"{" + b"\xff" * 100,
        b'{"arrived": {"headers": [["a"]]}}',
    ],
)
def test_a_page_that_is_made_to_break_the_reading_of_reports_is_only_a_page(page: bytes) -> None:
    found = probed(gateway(lambda _: False, page))
    assert (found.status, found.said["gateway_reports"]) == (0, False)


def test_a_refusal_by_5xx_is_a_hole() -> None:
    def fail(connection: socket.socket, head: bytes) -> None:
        signed_in = SESSION.encode() in fields(head).get(b"cookie", b"")
        connection.sendall(says("200 OK") if signed_in else says("500 Oh"))

    found = probed(fail)
    assert (found.status, found.holes) == (1, {"refusal_status"})


def test_a_gateway_that_is_down_behind_an_open_proxy_is_not_taken_for_a_refusal() -> None:
    found = probed(lambda connection, _: connection.sendall(says("502 Bad Gateway")))
    assert found.ids("passed") == set()
    assert {"no_identity", "no_identity_websocket", "forged_sign_in"} <= found.ids("not_tested")


def test_a_401_that_becomes_a_403_with_a_forged_user_is_warned_of_where_reasons_are_hidden() -> None:
    def weigh(connection: socket.socket, head: bytes) -> None:
        connection.sendall(says("403 Forbidden" if b"x-forwarded-user" in fields(head) else "401 Unauthorized"))

    found = probed(weigh)
    assert found.ids("warning") == {"forged_sign_in"}


def test_a_sign_in_that_does_not_work_is_said() -> None:
    found = probed(lambda connection, _: connection.sendall(says("403 Forbidden", b"", "x-authz-reason: some_reason")))
    assert found.seen("identity_arrives") == "answered 403 some_reason; is the sign-in good?"


def test_the_sign_in_goes_to_the_address_given_and_nowhere_else() -> None:
    heads: list[bytes] = []

    def direct(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(says("401 Unauthorized"))

    with serving(direct) as port:
        found = probed(gateway(lambda _: False), "--gateway-address", f"127.0.0.1:{port}")
    assert heads
    assert not [head for head in heads if SESSION.encode() in head]
    assert (found.holes, "gateway_forged" in found.ids("passed")) == ({"gateway_port"}, True)
