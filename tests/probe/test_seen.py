"""What a request shows, judged from a report alone: passage, chains, empty copies, what was dropped on the way."""

import json

import pytest

from extauthz.probe.answers import Answer, Failure, Fault
from extauthz.probe.forgeries import FORMS, FORWARDED, Forged, forge
from extauthz.probe.seen import Seen, chained, differences, passages, see
from extauthz.probe.sign_in import parse_sign_in
from extauthz.probe.target import parse_gateway, parse_url

WORD = "probe0123456789abcdef"
MARK = "2001:db8:1111:2222:3333:4444:5555:6666"
PROTECTED = ("x-authz-user", "x-authz-stamp")


def reported(*headers: tuple[str, str], forged: Forged | None = None, status: int = 200) -> Seen:
    body = json.dumps({"arrived": {"probe": WORD, "headers": headers}}).encode()
    return see(Answer(status=status, body=body), WORD, forged or Forged((), {}))


GOOD = reported(("x-authz-user", "nick"), ("x-authz-stamp", "s"), ("connection", "close"))
CHAIN = Forged((("x-forwarded-for", MARK),), {MARK: "x-forwarded-for"})


@pytest.mark.parametrize(
    ("values", "arrives", "warned"),
    [
        ([f"{MARK}, 10.0.0.7"], False, True),
        ([MARK, "10.0.0.7"], False, True),
        ([MARK], True, False),
        ([f"10.0.0.7, {MARK}"], True, False),
        ([f"10.0.0.7, [{MARK}]:80"], True, False),
        (["10.0.0.7"], False, False),
    ],
)
def test_a_forged_address_is_a_hole_unless_a_proxys_own_entry_stands_right_of_it(
    values: list[str], arrives: bool, warned: bool
) -> None:
    seen = reported(*(("X-Forwarded-For", value) for value in values), forged=CHAIN)
    assert (bool(list(passages(seen))), chained(seen)) == (arrives, warned)


def test_a_forged_address_in_another_header_is_a_hole() -> None:
    seen = reported(("x-real-ip", MARK), ("x-forwarded-for", "10.0.0.7"), forged=CHAIN)
    assert list(passages(seen)) == ["x-forwarded-for arrives as x-real-ip"]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([("x-authz-user", "nick"), ("x-authz-stamp", "s")], []),
        ([("x-authz-user", "nick"), ("X-Authz-Stamp", "s")], []),
        (
            [("x-authz-user", "nick"), ("x-authz-user", ""), ("x-authz-stamp", "s")],
            ["x-authz-user arrives 2 times instead of 1"],
        ),
        ([("x-authz-user", "nick")], ["x-authz-stamp is dropped"]),
        (
            [("x-authz-user", "nick"), ("x-authz-stamp", "s"), ("x.authz.user", "")],
            ["x-authz-user arrives as x.authz.user"],
        ),
        (
            [("x-authz-user", "nick"), ("x-authz-stamp", "s"), ("connection", "keep-alive, X-Authz-Stamp")],
            ["Connection still names x-authz-stamp"],
        ),
    ],
)
def test_what_differs_from_the_request_without_a_forgery_is_named(
    headers: list[tuple[str, str]], found: list[str]
) -> None:
    assert list(differences(reported(*headers), GOOD, PROTECTED)) == found


def test_a_mark_in_a_refusal_by_the_proxy_is_no_passage() -> None:
    forged = forge(["x-authz-user"])
    (mark,) = forged.marks
    assert list(passages(see(Answer(status=403, body=mark.encode()), WORD, forged))) == []
    assert list(passages(see(Answer(status=200, body=mark.encode()), WORD, forged))) == ["x-authz-user arrives"]


def test_a_header_from_elsewhere_is_shown_without_its_control_characters() -> None:
    forged = forge(["x-authz-user"])
    (mark,) = forged.marks
    (told,) = passages(reported(("x\x1b[31m", mark), forged=forged))
    assert told == "x-authz-user arrives as x\\x1b[31m"


def test_no_answer_is_let_in_by_nobody() -> None:
    for fault in Fault:
        seen = see(Failure(fault), WORD)
        assert (seen.let_in, seen.reached, seen.status) == (False, False, 0)


def test_a_websocket_that_is_closed_at_once_has_reached_the_gateway_and_is_not_let_in() -> None:
    seen = see(Answer(status=101, close_code=1008), WORD)
    assert (seen.let_in, seen.reached, str(seen)) == (False, True, "101, closed with 1008")


def test_every_mark_is_fresh_and_stands_in_what_is_sent() -> None:
    for form in FORMS:
        one, other = forge(FORWARDED, form), forge(FORWARDED, form)
        assert not set(one.marks) & set(other.marks)
        assert len(one.marks) == len(FORWARDED)
    sent = forge(FORWARDED)
    assert all(any(mark in value for _, value in sent.headers) for mark in sent.marks)


def test_a_url_is_shown_without_its_query() -> None:
    target = parse_url("https://Gateway.example.com:8443/a?token=x")
    assert (str(target), target.path, target.authority) == (
        "https://gateway.example.com:8443/a",
        "/a?token=x",
        "gateway.example.com:8443",
    )
    assert parse_url("http://[::1]/").authority == "[::1]"
    assert parse_url("http://[::1]:80").is_loopback
    assert parse_gateway("[::1]:18789", target).authority == target.authority


def test_a_sign_in_keeps_its_bytes() -> None:
    assert parse_sign_in("Cookie:  a=b; c=d \r\n\nX-User: x") == (("Cookie", "a=b; c=d"), ("X-User", "x"))
    ((_, value),) = parse_sign_in("cookie: é")
    assert value.encode("latin-1") == "é".encode()
