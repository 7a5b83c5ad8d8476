"""A question that is written oddly, or carries what is read seldom, gets the answer that it gets alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cases.build import LOOPBACK, PAIRS, FailingStamper, gateway, load_gateways
from cases.messages import FORMS, Form, check_request, read
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.wire.pb import check_pb2 as pb
from recall.both import Both
from support.logs import captured_logs
from telemetry.looking import Onlooker

# Asked so often that it is known in every way in which something can be known.
OFTEN = 4


def asked_often(both: Both, good: bytes, other: bytes) -> None:
    """Ask one until it is known, then the other, and both again, always comparing with who recalls nothing."""
    for _ in range(OFTEN):
        both.compare_check(good, LOOPBACK)
    for _ in range(OFTEN):
        both.compare_check(other, LOOPBACK)
        both.compare_check(good, LOOPBACK)


def changed(message: bytes, change: Callable[[pb.CheckRequest], object]) -> bytes:
    """Return a message with a change."""
    found = pb.CheckRequest.FromString(message)
    change(found)
    return found.SerializeToString()


def in_capitals(message: pb.CheckRequest) -> None:
    """Write the user header's name as Envoy would not."""
    for entry in message.attributes.request.http.header_map.headers:
        if entry.key == "x-forwarded-user":
            entry.key = "X-Forwarded-User"


def test_name_in_capitals_is_no_way_to_be_taken_for_who_asked_before() -> None:
    good, other = (
        changed(check_request([("x-forwarded-user", user), *PAIRS[1:]]), in_capitals)
        for user in ("nick@example.com", "eve@example.com")
    )
    asked_often(Both(), good, other)


def test_host_that_only_a_header_tells_is_not_that_of_who_asked_before() -> None:
    first, second = (check_request([*PAIRS, ("host", host)], host="") for host in ("a.example", "b.example"))
    asked_often(Both(), first, second)


def test_address_that_only_real_ip_tells_is_not_that_of_who_asked_before() -> None:
    first, second = (
        check_request([*PAIRS[:2], ("x-real-ip", address)], gateway="nine") for address in ("203.0.113.9", "127.0.0.1")
    )
    asked_often(Both(), first, second)


def test_origin_is_not_that_of_who_asked_before() -> None:
    first, second = (
        check_request([*PAIRS, ("origin", origin)], gateway="origins")
        for origin in ("https://gateway.example.com", "https://evil.example")
    )
    asked_often(Both(), first, second)


def test_peer_that_is_told_twice_is_the_one_that_a_parser_takes() -> None:
    good = check_request(PAIRS)
    message = pb.UnreadCheckRequest.FromString(good)
    untrusted = pb.UnreadCheckRequest.FromString(check_request(PAIRS, peer="192.0.2.7")).attributes.source[0]
    message.attributes.source.append(untrusted)
    asked_often(Both(), good, message.SerializeToString())


def test_header_over_the_limit_is_malformed_however_well_the_others_are_known() -> None:
    limits = {"headerBytes": 300}
    served = Authorizer(make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False}, limits=limits)))
    for _ in range(OFTEN):
        short = check_request([*PAIRS, ("cookie", "c")])
        assert read(served.check(short, LOOPBACK)).told == "allow:nick@example.com"
    for _ in range(OFTEN):
        long = check_request([*PAIRS, ("cookie", "c" * 900)])
        assert read(served.check(long, LOOPBACK)).told == "deny:request_malformed"


def test_who_is_denied_teaches_nothing() -> None:
    served = Authorizer(make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False})))
    for number in range(50):
        pairs = [("x-forwarded-user", "eve@example.com"), *PAIRS[1:], (f"x-{number}", "")]
        for _ in range(OFTEN):
            assert not read(served.check(check_request(pairs), LOOPBACK)).passes
    assert served.snapshot.recall.shapes.named.usual is None


@pytest.mark.parametrize("form", FORMS)
def test_failure_to_answer_what_is_recalled_is_told_of_who_asks_and_not_of_who_asked_before(form: Form) -> None:
    snapshot = make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False}))
    onlooker = Onlooker()
    served = Authorizer(replace(snapshot, stamper=FailingStamper(RuntimeError("no key"))), onlooker)
    with captured_logs() as logs:
        for name, path in ((None, "/first"), ("g", "/second")):
            message = check_request(PAIRS, form=form, gateway=name, path=path)
            assert read(served.check(message, LOOPBACK)).told == "deny:internal_error"
    told = [(record.decided.request.gateway, record.path, record.decided.request.path) for record in onlooker.records]
    assert told == [(None, "/first", "/first"), ("g", "/second", "/second")]
    assert len(logs) == 2
