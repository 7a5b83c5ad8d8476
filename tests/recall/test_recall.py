"""What is kept of an allow is given again only for a question that no rule tells from the first.

The invariant: an authorizer that recalls answers and tells every request as one that decides each anew.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, UNIX, CountingStamper, gateway, load_gateways, policy_of
from cases.generated import bounded
from cases.messages import FORMS, Form, check_request, read, set_headers
from extauthz import recall
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer, Snapshot
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.wire import shape
from extauthz.wire.pb import check_pb2 as pb
from recall.both import CALLERS, GATEWAYS, Both
from telemetry.looking import Onlooker

NAMES = st.sampled_from(
    [
        *("x-forwarded-user", "X-Forwarded-User", "x_forwarded_user", "x-forwarded-proto", "x-forwarded-for", "origin"),
        *("x-real-ip", "forwarded", "cookie", "accept", "host", "x-authz-user", "x.authz.user", ":path", ":weird"),
        *("tailscale-user-login", "\u212a-header", "x-request-id"),
    ]
)
VALUES = st.sampled_from(
    [
        *(
            b"nick@example.com",
            b"eve@example.com",
            b"a,b",
            b" nick@example.com ",
            b"",
            b" ",
            b",",
            b"https",
            b"\xff\xfe",
        ),
        *(b"203.0.113.9", b"10.0.0.7", b"127.0.0.1", b"https://gateway.example.com", b"https://evil.example", b"a\nb"),
        *("ü".encode(), b"x" * 300),
    ]
)
PAIRS_AND_MORE = st.one_of(
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    # Most are near one that is allowed, so that there is something to recall.
    st.lists(st.tuples(NAMES, VALUES), max_size=2).map(lambda more: [*_allowed(), *more]),
    st.permutations([*PAIRS, ("accept", "*/*")]).map(lambda pairs: [(n, v.encode()) for n, v in pairs]),
)


def _allowed() -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in PAIRS]


ABOUT = st.fixed_dictionaries(
    {
        "gateway": st.sampled_from([*GATEWAYS, *GATEWAYS, "unknown", None]),
        "peer": st.sampled_from(["10.0.0.7", "10.0.0.7", "10.0.0.7", "10.0.1.9", "10.0.0.8", "127.0.0.1", None, "x"]),
        "method": st.sampled_from(["GET", "GET", "POST", ""]),
        "host": st.sampled_from(
            ["gateway.example.com", "gateway.example.com", "evil.example", "GATEWAY.example.com", ""]
        ),
        "path": st.sampled_from(["/", "/a?token=secret", "/b", "/ü\u2028", "/" + "p" * 1100]),
        "principal": st.sampled_from([b"", b"spiffe://cluster/proxy", b"spiffe://cluster/other", b"\xff"]),
    }
)


@given(asked=st.lists(st.tuples(PAIRS_AND_MORE, ABOUT, st.sampled_from(FORMS), st.sampled_from(CALLERS)), min_size=2))
@bounded
def test_recalled_or_not_every_answer_and_line_is_the_same(asked: list[tuple[Any, Any, Any, Caller]]) -> None:
    both = Both()
    for pairs, about, form, caller in [*asked, *asked[::-1]]:
        both.compare_check(check_request(pairs, form=form, **about), caller)
    # And once more what was allowed: the second time it is certainly recalled, where it may be.
    for pairs, about, form, caller in asked:
        message = check_request(pairs, form=form, **about)
        both.compare_check(message, caller)
        both.compare_check(message, caller)


OTHERWISE: dict[str, Any] = {
    "gateway": "g",
    "peer": "10.0.0.8",
    "method": "POST",
    "host": "evil.example",
    "path": "/b",
    "principal": b"spiffe://cluster/other",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["certified", "nine", "host"])
def test_one_thing_told_otherwise_is_another_question(name: str, form: Any) -> None:
    both = Both()
    usual: dict[str, Any] = {"gateway": name, "principal": b"spiffe://cluster/proxy"}
    good = check_request(PAIRS, form=form, **usual)
    others = [check_request(PAIRS, form=form, **usual | {key: value}) for key, value in OTHERWISE.items()]
    for place, (header, _) in enumerate(PAIRS):
        for value in ("", "other", b"\xff"):
            pairs: list[tuple[str, Any]] = [*PAIRS[:place], (header, value), *PAIRS[place + 1 :]]
            others.append(check_request(pairs, form=form, **usual))
    for other in others:
        for message in (good, other, good, other):
            both.compare_check(message, LOOPBACK)
    for caller in CALLERS:
        both.compare_check(good, caller)


# A HeaderValue that is written otherwise than Envoy writes one; some of them mean another header to a parser.
ODD_ENTRIES: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\n",
    "a key alone": b"\n\x06accept",
    "a key that ends early": b"\n\x07accept",
    "a value that ends early": b"\n\x06accept\x1a\x04*/*",
    "a value that ends late": b"\n\x06accept\x1a\x02*/*",
    "a second key": b"\n\x06accept\x1a\x03*/*\n\x10x-forwarded-user",
    "a second value": b"\n\x06accept\x1a\x03*/*\x1a\x03a/b",
    "the value before the key": b"\x1a\x03*/*\n\x06accept",
    "a value in the other field": b"\n\x06accept\x12\x03*/*",
    "values in both fields": b"\n\x06accept\x12\x03a/b\x1a\x03*/*",
    "a length of more bytes than it needs": b"\n\x06accept\x1a\x83\x00*/*",
    "a key's length of more bytes than it needs": b"\n\x86\x00accept\x1a\x03*/*",
    "a length that is 128 more": b"\n\x06accept\x1a\x83*/*",
    "a key that is no text": b"\n\x06acc\xff\xfet\x1a\x03*/*",
    "an unknown field": b"\n\x06accept\x1a\x03*/*\x22\x01x",
    "a key of another type": b"\x08\x06accept\x1a\x03*/*",
    "a long value": b"\n\x06accept\x1a\x80\x01" + b"a" * 128,
    "a longer value": b"\n\x06accept\x1a\xb1\x12" + b"a" * 2353,
    "a long value cut off": b"\n\x06accept\x1a\x80\x01" + b"a" * 127,
    "a long name": b"\n\x90\x01" + b"n" * 144 + b"\x1a\x03*/*",
    "an alias": b"\n\x10x_forwarded_user\x1a\x03eve",
    "the user header again": b"\n\x10x-forwarded-user\x1a\x03eve",
}


def _with_entry(entry: bytes, form: Form) -> bytes:
    message = pb.UnreadCheckRequest.FromString(check_request(PAIRS, form=form))
    http = message.attributes.request.http
    if form == "raw":
        http.header_map.headers.append(entry)
        return message.SerializeToString()
    # An entry of a map has its value in another field; what is no such entry, or none at all, only bytes can say.
    whole = http.SerializeToString() + b"\x1a" + _length(len(entry)) + entry.replace(b"\x1a", b"\x12", 1)
    request = b"\x12" + _length(len(whole)) + whole
    message.attributes.ClearField("request")
    attributes = message.attributes.SerializeToString() + b"\x22" + _length(len(request)) + request
    return b"\n" + _length(len(attributes)) + attributes


# What stands behind an entry of context_extensions: protobuf drops a whole entry that holds what it does not know, and
# then no gateway is named.
ODD_ENDS: dict[str, bytes] = {
    "nothing": b"",
    "a number": b"\x18\x01",
    "a length": b"\x1a\x01x",
    "four bytes": b"\x1dabcd",
    "a group": b"\x1b\x1c",
    "a key that is a number": b"\x08\x01",
    "another value": b"\x12\x04nine",
    "another key": b"\n\x01x",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ODD_ENDS)
def test_gateway_that_is_named_oddly_gets_nobody_into_the_one_that_is_named(end: str, form: Any) -> None:
    # The gateway by host lets everybody in, the one that is named does not.
    pairs = [(name, "eve@example.com" if name == "x-forwarded-user" else value) for name, value in PAIRS]
    plain = check_request(pairs, form=form, gateway="listed", host="gateway.example.com")
    message = pb.UnreadCheckRequest.FromString(plain)
    message.attributes.context_extensions[0] += ODD_ENDS[end]
    odd = message.SerializeToString()
    for order in ((odd, odd, plain, plain), (plain, odd, plain, odd)):
        both = Both()
        for asked in order:
            both.compare_check(asked, LOOPBACK)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", range(94, 102))
@pytest.mark.parametrize("part", ["source", "destination", "context_extensions"])
def test_what_is_too_deep_for_a_parser_is_recalled_for_nobody(part: str, depth: int, form: Any) -> None:
    both = Both()
    plain = check_request(PAIRS, form=form, gateway="g")
    groups = b"\x7b" * depth + b"\x7c" * depth
    message = pb.UnreadCheckRequest.FromString(plain)
    if part == "destination":
        wrapped = pb.UnreadCheckRequest.FromString(plain).attributes.SerializeToString()
        inner = b"\x12" + _length(len(groups)) + groups
        deep = b"\n" + _length(len(wrapped + inner)) + wrapped + inner
    else:
        getattr(message.attributes, part)[0] += groups
        deep = message.SerializeToString()
    for asked in (plain, deep, deep, plain, deep):
        both.compare_check(asked, LOOPBACK)


def _length(number: int) -> bytes:
    """Return a length as a varint of one byte or two."""
    return bytes((number,)) if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("second", ODD_ENTRIES)
@pytest.mark.parametrize("first", ["a value that ends late", "a key alone", "a long value", "a second key"])
def test_header_that_is_written_otherwise_means_what_a_parser_says(first: str, second: str, form: Form) -> None:
    both = Both()
    plain = _with_entry(b"\n\x06accept\x1a\x03*/*", form)
    odd, other = _with_entry(ODD_ENTRIES[first], form), _with_entry(ODD_ENTRIES[second], form)
    for message in (plain, plain, odd, other, plain):
        both.compare_check(message, LOOPBACK)
        both.compare_check(message, LOOPBACK)


@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=2), st.integers(0, 2))),
    form=st.sampled_from(FORMS),
)
@bounded
def test_bytes_changed_on_the_way_mean_what_a_parser_says(changes: list[tuple[float, bytes, int]], form: Form) -> None:
    both = Both()
    good = check_request([*PAIRS, ("accept", "*/*"), ("cookie", "c" * 200)], form=form)
    for _ in range(2):
        both.compare_check(good, LOOPBACK)
    for place, added, removed in changes:
        at = int(place * len(good))
        both.compare_check(good[:at] + added + good[at + removed :], LOOPBACK)


@pytest.mark.parametrize("form", FORMS)
def test_same_question_is_recalled_whatever_else_the_request_carries(form: Any) -> None:
    both = Both()
    recalled = []
    for number in range(3):
        more = [("x-request-id", f"id-{number}"), ("cookie", "c" * number * 100), ("x-empty", "")]
        message = check_request([*PAIRS, *more], form=form, path=f"/{number}")
        recalled.append(both.compare_check(message, LOOPBACK))
    assert recalled[-1]  # an empty value is not written, so that the first is of another shape


class _Change(NamedTuple):
    pairs: Sequence[tuple[str, str | bytes]] = PAIRS
    about: dict[str, Any] = {}  # noqa: RUF012 - never changed
    caller: Caller = LOOPBACK


ATTACKS: dict[str, _Change] = {
    "another user": _Change([("x-forwarded-user", "eve@example.com"), *PAIRS[1:]]),
    "no user": _Change(PAIRS[1:]),
    "a second user": _Change([*PAIRS, ("x-forwarded-user", "eve@example.com")]),
    "an alias of the user header": _Change([*PAIRS, ("x_forwarded_user", "eve@example.com")]),
    "an alias of a stamped header": _Change([*PAIRS, ("x.authz.user", "eve@example.com")]),
    "another peer": _Change(about={"peer": "10.0.0.8"}),
    "no peer": _Change(about={"peer": None}),
    "another caller": _Change(caller=Caller(parse_address("192.0.2.1"))),
    "a caller on a unix socket": _Change(caller=UNIX),
    "a required header less": _Change([PAIRS[0], PAIRS[2]]),
    "a required header left blank": _Change([PAIRS[0], ("x-forwarded-proto", " "), PAIRS[2]]),
    "another gateway": _Change(about={"gateway": "h"}),
    "a user of other bytes": _Change([("x-forwarded-user", b"nick@example.com\xff"), *PAIRS[1:]]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_allow_before_is_no_way_in_for(attack: str, form: Any) -> None:
    callers = {"addresses": ["127.0.0.1"]}
    gateways = {"g": gateway(callers=callers), "h": gateway({"allowUsers": ["someone.else@example.com"]})}
    served = Authorizer(make_snapshot(load_gateways(gateways, stamp={"enabled": False})))
    good = check_request(PAIRS, form=form)
    for _ in range(3):
        assert read(served.check(good, LOOPBACK)).told == "allow:nick@example.com"
    changed = ATTACKS[attack]
    message = check_request(changed.pairs, form=form, **changed.about)
    for _ in range(2):
        assert not read(served.check(message, changed.caller)).passes
    assert read(served.check(good, LOOPBACK)).passes


@pytest.mark.parametrize("blank", [b"", b"other"])
def test_a_value_in_the_other_field_is_not_taken_for_the_one_that_was_allowed(blank: bytes) -> None:
    # In the raw form a value may stand in `value` too, and counts where `raw_value` is empty.
    served = Authorizer(make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False})))

    def message(user: bytes, raw: bytes) -> bytes:
        found = pb.CheckRequest.FromString(check_request(PAIRS[1:]))
        found.attributes.request.http.header_map.headers.add(key="x-forwarded-user", value=user, raw_value=raw)
        return found.SerializeToString()

    good = message(b"nick@example.com", b"")
    for _ in range(3):
        assert read(served.check(good, LOOPBACK)).told == "allow:nick@example.com"
    assert not read(served.check(message(b"eve@example.com", b""), LOOPBACK)).passes
    assert not read(served.check(message(b"nick@example.com", b"eve@example.com"), LOOPBACK)).passes
    assert not read(served.check(message(blank, b" "), LOOPBACK)).passes


def test_nothing_is_recalled_under_another_policy() -> None:
    served = Authorizer(make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False})))
    message = check_request(PAIRS)
    assert read(served.check(message, LOOPBACK)).passes
    # As the addresses of a peer's name change: another policy in the same snapshot.
    served.snapshot = replace(served.snapshot, policy=policy_of({"g": gateway(trustedProxies=["10.0.0.9"])}))
    assert read(served.check(message, LOOPBACK)).told == "deny:trusted_proxy_untrusted_source"


def test_a_stamp_of_its_own_is_in_each_answer() -> None:
    stamper = CountingStamper()
    snapshot = replace(make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False})), stamper=stamper)
    served = Authorizer(snapshot)
    stamps = []
    for path in ("/a", "/b", "/b"):
        answer = pb.CheckResponse.FromString(served.check(check_request(PAIRS, path=path), LOOPBACK))
        stamps.append(set_headers(answer)["x-authz-stamp"])
    assert stamps == ["stamp.1", "stamp.2", "stamp.3"]
    assert [claims["path"] for claims in stamper.signed] == ["/a", "/b", "/b"]


def test_of_the_headers_that_no_rule_reads_nothing_is_kept() -> None:
    onlooker = Onlooker()
    served = Authorizer(make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False})), onlooker)
    for cookie in ("session=first", "session=second"):
        served.check(check_request([*PAIRS, ("cookie", cookie)]), LOOPBACK)
    headers = onlooker.records[-1].request.headers
    assert onlooker.records[-1].decided.kept
    assert headers is not None
    assert "cookie" in headers.names
    assert headers.read("cookie") is None


def _recall_of(served: Authorizer) -> tuple[int, int]:
    found = served.snapshot.recall
    return len(found._fresh) + len(found._older), len(found.shapes._known)


def test_flood_of_different_questions_and_shapes_is_bounded() -> None:
    gateways = {"g": gateway({"allowUsers": []})}
    served = Authorizer(make_snapshot(load_gateways(gateways, stamp={"enabled": False})))
    for number in range(3 * recall.MOST_KEPT):
        pairs = [("x-forwarded-user", f"user-{number}"), *PAIRS[1:], (f"x-{number % 2000}", "")]
        served.check(check_request(pairs), LOOPBACK)
    kept, shapes = _recall_of(served)
    assert recall.MOST_KEPT <= kept <= 2 * recall.MOST_KEPT
    assert shapes <= shape.MOST_SHAPES


LONG: dict[str, _Change] = {
    "user": _Change([("x-forwarded-user", "u" * (recall.LONGEST_USER_CHARACTERS + 1)), *PAIRS[1:]]),
    "chain": _Change([*PAIRS[:2], ("x-forwarded-for", "203.0.113.9," * 400)]),
    "method": _Change(about={"method": "M" * 3000}),
    "host": _Change(about={"host": "h" * 3000}),
    "path": _Change(about={"path": "/" * (shape.LONGEST_PATH_CHARACTERS + 1)}),
    "names": _Change([*PAIRS, *((f"x-{number:060}", "") for number in range(80))]),
    "message": _Change([*PAIRS, ("cookie", "c" * 15_000), ("x-more", "m" * 5000)]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", LONG)
def test_what_is_long_is_decided_anew_and_not_kept(part: str, form: Any) -> None:
    gateways = {"g": gateway({"allowUsers": []})}
    served = Authorizer(make_snapshot(load_gateways(gateways, stamp={"enabled": False})))
    message = check_request(LONG[part].pairs, form=form, **LONG[part].about)
    for _ in range(3):
        assert read(served.check(message, LOOPBACK)).passes
    assert _recall_of(served)[0] == 0


def test_snapshot_never_shares_what_is_kept() -> None:
    first = make_snapshot(load_gateways({"g": gateway()}, stamp={"enabled": False}))
    second: Snapshot = replace(first, version="other")
    assert first.recall is not second.recall
