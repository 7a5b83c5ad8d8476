"""A CheckRequest that is taken apart says what the parser says of it, or it is left to the parser."""

import random

import pytest

from cases.build import LOOPBACK, PAIRS
from cases.messages import Form, check_request
from extauthz.wire import envoy_question
from extauthz.wire.shape import Shapes
from wire.forged import (
    CHANGES,
    HEADERS,
    HTTP,
    JOINED,
    LINE,
    NAMED,
    OTHER_PEER,
    PEER,
    WHOLE,
    agrees,
    ask,
    attributes,
    entry,
    field,
    length,
)

GOOD = check_request(PAIRS, form="raw", gateway="g", principal=b"spiffe://cluster/proxy")
GOOD_JOINED = check_request(PAIRS, form="map", gateway="g", principal=b"spiffe://cluster/proxy")


@pytest.mark.parametrize("form", ["raw", "map"])
def test_what_envoy_sends_is_taken_apart(form: Form) -> None:
    assert agrees(check_request(PAIRS, form=form, gateway="g", principal=b"spiffe://cluster/proxy"))
    long = check_request([*PAIRS, ("cookie", "c" * 9_000), ("empty", "")], form=form, gateway="g", path="/" + "p" * 300)
    assert agrees(long)


@pytest.mark.only_pure  # what is compiled cannot be changed
@pytest.mark.parametrize("form", ["raw", "map"])
def test_what_is_taken_apart_needs_no_parser(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    message = check_request(PAIRS, form=form, gateway="g", principal=b"spiffe://cluster/proxy")
    asked = ask(message, Shapes())
    assert asked is not None

    def parse(*_: object) -> None:
        raise AssertionError("it is parsed")

    monkeypatch.setattr(envoy_question, "decode", parse)
    headers = envoy_question.read(message, asked, LOOPBACK).headers
    assert headers is not None
    assert headers.read("x-forwarded-user") == b"nick@example.com"


def test_joined_headers_in_any_order_are_one_question() -> None:
    shapes = Shapes()
    questions = set()
    for at in range(len(JOINED)):
        message = attributes(WHOLE[0], field(4, field(2, LINE + b"".join((*JOINED[at:], *JOINED[:at])))), NAMED)
        assert agrees(message, shapes)
        asked = ask(message, shapes)
        assert asked is not None
        questions.add(asked.question)
    assert len(questions) == 1


def _http(*fields: bytes) -> bytes:
    return attributes(WHOLE[0], field(4, field(2, b"".join(fields))), NAMED)


def _joined(name: bytes, value: bytes) -> bytes:
    return field(3, field(1, name) + field(2, value))


# Each means something else to a parser, or nothing at all, than it seems to.
FORGED = {
    "a second source, merged with the first": attributes(*WHOLE, field(1, OTHER_PEER)),
    "a second request": attributes(*WHOLE, field(4, field(2, field(5, b"evil.example")))),
    "a second HttpRequest": attributes(WHOLE[0], field(4, field(2, HTTP) + field(2, field(4, b"/b"))), NAMED),
    "a second method": _http(HTTP, field(2, b"POST")),
    "a second host": _http(HTTP, field(5, b"evil.example")),
    "a second path": _http(HTTP, field(4, b"/admin")),
    "a second list of headers": _http(HTTP, field(13, field(1, field(1, b"x-forwarded-user") + field(3, b"eve")))),
    "joined headers beside the raw ones": _http(HTTP, field(3, field(1, b"x-a") + field(2, b"b"))),
    "raw headers beside the joined ones": _http(LINE, *JOINED, field(13, HEADERS)),
    "an empty list of raw headers beside the joined ones": _http(LINE, *JOINED, field(13, b"")),
    "a joined header twice, of which the last counts": _http(LINE, *JOINED, _joined(b"x-forwarded-user", b"eve")),
    "a joined header twice, first and last": _http(LINE, _joined(b"x-forwarded-user", b"eve"), *JOINED),
    "a joined header without a value": _http(LINE, *JOINED, field(3, field(1, b"x-a"))),
    "a joined header without a name": _http(LINE, *JOINED, field(3, field(2, b"x-a"))),
    "a joined header of nothing": _http(LINE, *JOINED, field(3, b"")),
    "a joined header of nothing, at the end": attributes(NAMED, field(4, field(2, LINE + field(3, b"")))),
    "a joined header whose value comes first": _http(LINE, *JOINED, field(3, field(2, b"b") + field(1, b"x-a"))),
    "a joined header with two values": _http(LINE, field(3, field(1, b"x-a") + field(2, b"b") + field(2, b"c"))),
    "a joined header with two names": _http(LINE, field(3, field(1, b"x-a") + field(2, b"b") + field(1, b"x-b"))),
    "a joined header with a raw value": _http(LINE, *JOINED, field(3, field(1, b"x-a") + field(3, b"b"))),
    "a joined header whose name is no text": _http(LINE, *JOINED, _joined(b"x-\xff", b"b")),
    "a joined header whose name is longer than it": _http(LINE, *JOINED, field(3, b"\x0a\x05x-a") + field(2, b"b")),
    "a joined header whose value is longer than it": _http(LINE, *JOINED, field(3, b"\x0a\x01a\x12\x05b") + b"bbbb"),
    "a joined header in capitals": _http(LINE, *JOINED, _joined(b"X-Forwarded-User", b"eve")),
    "attributes twice": attributes(*WHOLE) + attributes(field(1, OTHER_PEER)),
    "something behind the attributes": attributes(*WHOLE) + field(2, b"x"),
    "a source that is no Peer": attributes(field(1, b"\x0a\x05x"), *WHOLE[1:]),
    "a destination that is no Peer": attributes(*WHOLE, field(2, b"\x0a\x05x")),
    "an extension that is none": attributes(*WHOLE, field(10, b"\x0a\x05x")),
    "an extension that is no text": attributes(*WHOLE, field(10, field(1, b"gateway") + field(2, b"\xff"))),
    "a host that is no text": _http(HTTP.replace(b"gateway.example.com", b"gateway.example.co\xff")),
    "a scheme that is no text": _http(HTTP, field(6, b"\xff")),
    "an id that is no text": _http(HTTP, field(1, b"\xff")),
    "a protocol that is no text": _http(HTTP, field(10, b"\xff")),
    "a name that is no text": _http(HTTP.replace(b"x-forwarded-user", b"x-forwarded-use\xff")),
    "a field without a number": _http(HTTP, b"\x02\x00"),
    "a group": _http(HTTP, b"\x7b\x7c"),
    "the end of a group": _http(HTTP, b"\x7c"),
    "a number without end": _http(HTTP, b"\x48" + b"\xff" * 11),
    "a number of eleven bytes": _http(HTTP, b"\x48" + b"\xff" * 10 + b"\x01"),
    "a number in a field without a number": _http(HTTP, b"\x00\x05"),
    "a tag of two bytes": _http(HTTP, b"\x80\x01\x05"),
}


@pytest.mark.parametrize("name", FORGED)
def test_message_that_is_not_as_envoy_writes_one_is_left_to_the_parser(name: str) -> None:
    assert agrees(attributes(*WHOLE))
    assert not agrees(FORGED[name])


UNREAD_PARTS = {
    "two extensions, of which the last counts": attributes(NAMED.replace(b"\x01g", b"\x01h"), *WHOLE),
    "what is not known here": attributes(*WHOLE, field(11, b"anything"), field(13, b"\xff")),
    "when it came": attributes(WHOLE[0], field(4, field(1, b"\x08\x01") + field(2, HTTP)), NAMED),
    "a size": _http(HTTP, b"\x48\x80\x01"),
    "another order": attributes(*reversed(WHOLE)),
}


@pytest.mark.parametrize("name", UNREAD_PARTS)
def test_what_nobody_reads_does_not_matter(name: str) -> None:
    assert agrees(UNREAD_PARTS[name])


@pytest.mark.parametrize(
    "end",
    [b"\x18\x01", b"\x1a\x01x", b"\x1dabcd", b"\x1b\x1c", b"\x08\x01", b"\x12\x01h", b"\n\x01x", b"\x12\x07by-host"],
)
def test_extension_names_the_gateway_that_it_names_to_a_parser(end: bytes) -> None:
    extension = field(1, b"gateway") + field(2, b"g") + end
    agrees(attributes(*WHOLE[:2], field(10, extension)))
    agrees(attributes(*WHOLE[:2], NAMED, field(10, extension)))
    agrees(attributes(*WHOLE[:2], field(10, extension), NAMED))


@pytest.mark.parametrize(("whole", "http"), [(GOOD, HTTP), (GOOD_JOINED, LINE + b"".join(JOINED))], ids=["raw", "map"])
def test_changed_messages_mean_the_same_to_both_or_are_left_to_the_parser(whole: bytes, http: bytes) -> None:
    draw = random.Random(7)  # noqa: S311 - the same each time
    taken = 0
    for _ in range(20_000):
        inside = draw.random() < 0.5  # with the lengths around it right, it is not refused for these alone
        message = http if inside else whole
        for _ in range(draw.randrange(1, 4)):
            message = draw.choice(CHANGES)(draw, message)
        taken += agrees(_http(message) if inside else message)
    assert taken > 1_000, "most of what was made is refused at once, and shows nothing"


def _part(draw: random.Random) -> bytes:
    number = draw.randrange(1, 20)
    content = draw.choice((b"", b"GET", b"\xff", PEER, NAMED, HTTP, entry(draw), b"\x08\x01"))
    return draw.choice((field(number, content), length(number << 3) + length(draw.choice((0, 1, 300, 2**63)))))


@pytest.mark.parametrize("joined", [False, True], ids=["raw", "map"])
def test_messages_of_any_parts_mean_the_same_to_both_or_are_left_to_the_parser(*, joined: bool) -> None:
    draw = random.Random(11)  # noqa: S311 - the same each time
    taken = 0
    for _ in range(20_000):
        headers = [entry(draw, joined=joined) for _ in range(draw.randrange(1, 5))]
        http = [field(2, b"GET"), field(4, b"/a"), field(5, b"gateway.example.com")]
        http += headers if joined else [field(13, b"".join(headers))]
        http += [_part(draw) for _ in range(draw.choice((0, 0, 1)))]
        draw.shuffle(http)
        parts = [*WHOLE[:1], NAMED, field(4, field(2, b"".join(http)))]
        parts += [_part(draw) for _ in range(draw.choice((0, 0, 1)))]
        draw.shuffle(parts)
        taken += agrees(attributes(*parts))
    assert taken > 1_000, "most of what was made is refused at once, and shows nothing"
