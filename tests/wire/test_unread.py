"""A CheckRequest that is taken apart says what the parser says of it, or it is left to the parser."""

import random
from collections.abc import Callable, Sequence

import pytest

from cases.build import LOOPBACK, PAIRS, gateway, policy_of
from cases.messages import check_request
from extauthz.wire import envoy
from extauthz.wire.pb import check_pb2 as pb
from extauthz.wire.shape import MOST_HEADERS, Asked, Shapes
from extauthz.wire.unread import take_apart

# The one that is named is not the one that the host leads to.
POLICY = policy_of(
    {"g": gateway(trustedPrincipals=["spiffe://cluster/proxy"]), "by-host": gateway(hosts=["gateway.example.com"])}
)


def length(number: int) -> bytes:
    """Return a number as a varint in its shortest form."""
    found = b""
    while number >= 0x80:
        found += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return found + bytes((number,))


def field(number: int, content: bytes) -> bytes:
    """Return a field that has a length."""
    return length(number << 3 | 2) + length(len(content)) + content


def ask(message: bytes, shapes: Shapes) -> Asked | None:
    """Return the question of a message that is taken apart; None where it is not."""
    unread = take_apart(message)
    return envoy.of_unread(message, unread, LOOPBACK, POLICY, shapes) if unread is not None else None


def agrees(message: bytes, shapes: Shapes | None = None) -> bool:
    """Tell whether a message is taken apart; if so, assert that the parser takes it too, and reads the same.

    Args:
        message: The message.
        shapes: What was seen before.

    Raises:
        AssertionError: It does not.
    """
    asked = ask(message, shapes if shapes is not None else Shapes())
    if asked is None:
        return False
    read = envoy.decode(message, LOOPBACK)
    caller, source, principal, host, method, *values, shape = asked.question
    assert isinstance(source, bytes)
    assert isinstance(principal, bytes)
    assert isinstance(host, bytes)
    assert isinstance(method, bytes)
    told = (
        caller,
        source.decode(errors="replace"),
        host.decode(),
        method.decode(),
        asked.path,
        principal.decode(errors="replace"),
    )
    assert told == (
        read.caller,
        read.source,
        read.host,
        read.method,
        read.path,
        read.principal,
    )
    assert shape is asked.shape
    assert POLICY.select(read.gateway, read.host) is asked.shape.gateway
    assert read.headers is not None
    assert not read.fault
    parsed = pb.CheckRequest.FromString(message).attributes.request.http
    assert not parsed.headers
    assert [entry.key for entry in parsed.header_map.headers] == list(asked.shape.names)
    assert [read.headers.read(name) or b"" for name in asked.shape.read] == values
    return True


GOOD = check_request(PAIRS, form="raw", gateway="g", principal=b"spiffe://cluster/proxy")


def test_what_envoy_sends_is_taken_apart() -> None:
    assert agrees(GOOD)
    long = check_request(
        [*PAIRS, ("cookie", "c" * 9_000), ("empty", "")], form="raw", gateway="g", path="/" + "p" * 300
    )
    assert agrees(long)


def test_joined_headers_are_left_to_the_parser() -> None:
    assert take_apart(check_request(PAIRS, form="map", gateway="g")) is None


def _attributes(*fields: bytes) -> bytes:
    return field(1, b"".join(fields))


PEER = field(1, field(1, field(2, b"10.0.0.7"))) + field(4, b"spiffe://cluster/proxy")
OTHER_PEER = field(1, field(1, field(2, b"10.0.0.8")))
NAMED = field(10, field(1, b"gateway") + field(2, b"g"))
HEADERS = b"".join(field(1, field(1, name.encode()) + field(3, value.encode())) for name, value in PAIRS)
HTTP = field(2, b"GET") + field(4, b"/") + field(5, b"gateway.example.com") + field(13, HEADERS)
WHOLE = (field(1, PEER), field(4, field(2, HTTP)), NAMED)


def _http(*fields: bytes) -> bytes:
    return _attributes(WHOLE[0], field(4, field(2, b"".join(fields))), NAMED)


# Each means something else to a parser, or nothing at all, than it seems to.
FORGED = {
    "a second source, merged with the first": _attributes(*WHOLE, field(1, OTHER_PEER)),
    "a second request": _attributes(*WHOLE, field(4, field(2, field(5, b"evil.example")))),
    "a second HttpRequest": _attributes(WHOLE[0], field(4, field(2, HTTP) + field(2, field(4, b"/b"))), NAMED),
    "a second method": _http(HTTP, field(2, b"POST")),
    "a second host": _http(HTTP, field(5, b"evil.example")),
    "a second path": _http(HTTP, field(4, b"/admin")),
    "a second list of headers": _http(HTTP, field(13, field(1, field(1, b"x-forwarded-user") + field(3, b"eve")))),
    "joined headers beside the raw ones": _http(HTTP, field(3, field(1, b"x-a") + field(2, b"b"))),
    "attributes twice": _attributes(*WHOLE) + _attributes(field(1, OTHER_PEER)),
    "something behind the attributes": _attributes(*WHOLE) + field(2, b"x"),
    "a source that is no Peer": _attributes(field(1, b"\x0a\x05x"), *WHOLE[1:]),
    "a destination that is no Peer": _attributes(*WHOLE, field(2, b"\x0a\x05x")),
    "an extension that is none": _attributes(*WHOLE, field(10, b"\x0a\x05x")),
    "an extension that is no text": _attributes(*WHOLE, field(10, field(1, b"gateway") + field(2, b"\xff"))),
    "a host that is no text": _http(HTTP.replace(b"gateway.example.com", b"gateway.example.co\xff")),
    "a scheme that is no text": _http(HTTP, field(6, b"\xff")),
    "an id that is no text": _http(HTTP, field(1, b"\xff")),
    "a protocol that is no text": _http(HTTP, field(10, b"\xff")),
    "a name that is no text": _http(HTTP.replace(b"x-forwarded-user", b"x-forwarded-use\xff")),
    "a field without a number": _http(HTTP, b"\x02\x00"),
    "a group": _http(HTTP, b"\x7b\x7c"),
    "the end of a group": _http(HTTP, b"\x7c"),
    "a number without end": _http(HTTP, b"\x48" + b"\xff" * 11),
}


@pytest.mark.parametrize("name", FORGED)
def test_message_that_is_not_as_envoy_writes_one_is_left_to_the_parser(name: str) -> None:
    assert agrees(_attributes(*WHOLE))
    assert not agrees(FORGED[name])


UNREAD_PARTS = {
    "two extensions, of which the last counts": _attributes(NAMED.replace(b"\x01g", b"\x01h"), *WHOLE),
    "what is not known here": _attributes(*WHOLE, field(11, b"anything"), field(13, b"\xff")),
    "when it came": _attributes(WHOLE[0], field(4, field(1, b"\x08\x01") + field(2, HTTP)), NAMED),
    "a size": _http(HTTP, b"\x48\x80\x01"),
    "another order": _attributes(*reversed(WHOLE)),
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
    agrees(_attributes(*WHOLE[:2], field(10, extension)))
    agrees(_attributes(*WHOLE[:2], NAMED, field(10, extension)))
    agrees(_attributes(*WHOLE[:2], field(10, extension), NAMED))


def _flip(draw: random.Random, message: bytes) -> bytes:
    at = draw.randrange(len(message))
    return message[:at] + bytes((draw.randrange(256),)) + message[at + 1 :]


def _cut(draw: random.Random, message: bytes) -> bytes:
    begin, end = sorted(draw.randrange(len(message) + 1) for _ in range(2))
    return message[:begin] + message[min(end, begin + 4) :]


def _repeat(draw: random.Random, message: bytes) -> bytes:
    begin, end = sorted(draw.randrange(len(message) + 1) for _ in range(2))
    return message[:end] + message[begin:end] + message[end:]


CHANGES: Sequence[Callable[[random.Random, bytes], bytes]] = (_flip, _cut, _repeat)


def test_changed_messages_mean_the_same_to_both_or_are_left_to_the_parser() -> None:
    draw = random.Random(7)  # noqa: S311 - the same each time
    taken = 0
    for _ in range(20_000):
        inside = draw.random() < 0.5  # with the lengths around it right, it is not refused for these alone
        message = HTTP if inside else GOOD
        for _ in range(draw.randrange(1, 4)):
            message = draw.choice(CHANGES)(draw, message)
        taken += agrees(_http(message) if inside else message)
    assert taken > 1_000, "most of what was made is refused at once, and shows nothing"


def _entry(draw: random.Random) -> bytes:
    name = draw.choice((b"x-forwarded-user", b"x-forwarded-for", b"accept", b"a", b"", b"n" * 130, b"\xff"))
    value = draw.choice((b"", b"nick@example.com", b"v" * 127, b"v" * 128, b"v" * 300, b"\n\x01a\x1a\x01b", b"\xff"))
    form = draw.randrange(12)
    if form == 0:
        return field(1, field(3, value) + field(1, name))
    if form == 1:
        return field(1, field(1, name) + field(2, value))
    if form == 2:
        return field(1, field(1, name) + field(3, value) + field(1, b"accept"))
    if form == 3 and name:
        return field(1, field(1, name))
    return field(1, field(1, name) + field(3, value))


def _part(draw: random.Random) -> bytes:
    number = draw.randrange(1, 20)
    content = draw.choice((b"", b"GET", b"\xff", PEER, NAMED, HTTP, _entry(draw), b"\x08\x01"))
    return draw.choice((field(number, content), length(number << 3) + length(draw.choice((0, 1, 300, 2**63)))))


def test_messages_of_any_parts_mean_the_same_to_both_or_are_left_to_the_parser() -> None:
    draw = random.Random(11)  # noqa: S311 - the same each time
    taken = 0
    for _ in range(20_000):
        headers = b"".join(_entry(draw) for _ in range(draw.randrange(1, 5)))
        http = [field(2, b"GET"), field(4, b"/a"), field(5, b"gateway.example.com"), field(13, headers)]
        http += [_part(draw) for _ in range(draw.choice((0, 0, 1)))]
        draw.shuffle(http)
        parts = [*WHOLE[:1], NAMED, field(4, field(2, b"".join(http)))]
        parts += [_part(draw) for _ in range(draw.choice((0, 0, 1)))]
        draw.shuffle(parts)
        taken += agrees(_attributes(*parts))
    assert taken > 1_000, "most of what was made is refused at once, and shows nothing"


def _message(headers: Sequence[bytes], naming: bytes = NAMED, host: bytes = b"gateway.example.com") -> bytes:
    http = field(2, b"GET") + field(4, b"/") + field(5, host) + field(13, b"".join(headers))
    return _attributes(WHOLE[0], field(4, field(2, http)), naming)


def _header(name: bytes, value: bytes) -> bytes:
    return field(1, field(1, name) + field(3, value))


USUAL = [_header(name.encode(), value.encode()) for name, value in PAIRS]
USER, PROTO, FOR = USUAL[:3]


def known(*messages: bytes) -> Shapes:
    """Return what is known when these were asked often enough to be known again header by header."""
    shapes = Shapes()
    for message in messages * 3:
        assert agrees(message, shapes)
    return shapes


def test_usual_headers_have_the_names_that_the_attacks_are_made_of() -> None:
    assert [name for name, _ in PAIRS[:3]] == ["x-forwarded-user", "x-forwarded-proto", "x-forwarded-for"]


# What an attacker sends when the usual headers, and these with one more, are known header by header.
BESIDE_KNOWN: dict[str, Sequence[bytes]] = {
    "none": [],
    "another place": [PROTO, USER, FOR],
    "the last in another place": [FOR, USER, PROTO],
    "one less at the end": [USER, PROTO],
    "one less in the middle": [USER, FOR],
    "the first alone": [USER],
    "one more": [*USUAL, _header(b"x-more", b"")],
    "one more in the middle": [USER, _header(b"x-more", b"v"), PROTO, FOR],
    "an alias of the user header more": [*USUAL, _header(b"x_forwarded_user", b"eve@example.com")],
    "the user header twice, together": [USER, _header(b"x-forwarded-user", b"eve@example.com"), PROTO, FOR],
    "the user header twice, at the end": [*USUAL, _header(b"x-forwarded-user", b"eve@example.com")],
    "a name that begins like the known one": [_header(b"x-forwarded-use", b"nick@example.com"), PROTO, FOR],
    "a name that the known one begins like": [_header(b"x-forwarded-user2", b"nick@example.com"), PROTO, FOR],
    "another name of the same length": [_header(b"x-forwarded-uzer", b"nick@example.com"), PROTO, FOR],
    "another name but for the last byte": [_header(b"x-forwarded-useR", b"nick@example.com"), PROTO, FOR],
    "a name without a byte": [_header(b"", b"nick@example.com"), PROTO, FOR],
    "the same bytes cut otherwise": [
        _header(b"x-forwarded-user\x1a\x10nick@example.com\n\x11x-forwarded-proto", b"http"),
        FOR,
    ],
    "the key alone": [field(1, field(1, b"x-forwarded-user")), PROTO, FOR],
    "an empty value": [_header(b"x-forwarded-user", b""), PROTO, FOR],
    "a value of one byte": [_header(b"x-forwarded-user", b"e"), PROTO, FOR],
    "the longest value whose length has one byte": [_header(b"x-forwarded-user", b"e" * 127), PROTO, FOR],
    "the shortest value whose length has two": [_header(b"x-forwarded-user", b"e" * 128), PROTO, FOR],
    "a long value": [_header(b"x-forwarded-user", b"e" * 3000), PROTO, FOR],
    "a value that holds a header": [_header(b"x-forwarded-user", USER), PROTO, FOR],
    "a name of 127 bytes": [_header(b"n" * 127, b"v"), *USUAL],
}
# The same, in forms that are not Envoy's: the parser says what they mean.
ODD_BESIDE_KNOWN: dict[str, Sequence[bytes]] = {
    "a name of 128 bytes": [_header(b"n" * 128, b"v"), *USUAL],
    "a value that ends before its entry": [field(1, field(1, b"x-forwarded-user") + b"\x1a\x01eve"), PROTO, FOR],
    "a value that ends behind its entry": [field(1, field(1, b"x-forwarded-user") + b"\x1a\x09eve"), PROTO, FOR],
    "a length of two bytes that needs one": [field(1, field(1, b"x-forwarded-user") + b"\x1a\x83\x00eve"), PROTO, FOR],
    "a length that is 128 more": [field(1, field(1, b"x-forwarded-user") + b"\x1a\x83eve"), PROTO, FOR],
    "a length of three bytes": [field(1, field(1, b"x-forwarded-user") + b"\x1a\x83\x80\x00eve"), PROTO, FOR],
    "a length of two bytes with one missing": [field(1, field(1, b"x-forwarded-user") + b"\x1a\x83"), PROTO, FOR],
    "a tag without a length": [field(1, field(1, b"x-forwarded-user") + b"\x1a"), PROTO, FOR],
    "a value in the other field": [field(1, field(1, b"x-forwarded-user") + field(2, b"eve")), PROTO, FOR],
    "values in both fields": [field(1, field(1, b"x-forwarded-user") + field(3, b"a") + field(2, b"eve")), PROTO, FOR],
    "a second value": [field(1, field(1, b"x-forwarded-user") + field(3, b"a") + field(3, b"eve")), PROTO, FOR],
    "a second key": [field(1, field(1, b"x-forwarded-user") + field(3, b"a") + field(1, b"accept")), PROTO, FOR],
    "an unknown field behind the value": [field(1, field(1, b"x-forwarded-user") + field(3, b"a") + b"\x20\x01")],
    "the value before the key": [field(1, field(3, b"eve") + field(1, b"x-forwarded-user")), PROTO, FOR],
    "an entry of another kind": [USER, field(2, field(1, b"x-forwarded-proto")), PROTO, FOR],
    "an entry without anything": [USER, field(1, b""), PROTO, FOR],
    "a length of the entry that needs one byte": [b"\n\x83\x00\n\x01a", *USUAL],
    "a key that ends behind its entry": [b"\n\x12\n\x11x-forwarded-user", PROTO, FOR],
}
LONGER = [*USUAL, _header(b"accept", b"*/*"), field(1, field(1, b"x-empty"))]
OTHERWISE_LONGER = [USER, _header(b"cookie", b"c" * 200), PROTO, FOR]


@pytest.mark.parametrize("attack", BESIDE_KNOWN)
def test_headers_beside_known_ones_are_told_from_them(attack: str) -> None:
    usual, other = _message(USUAL), _message(BESIDE_KNOWN[attack])
    shapes = known(usual, _message(LONGER), _message(OTHERWISE_LONGER))
    expected = ask(other, Shapes())
    for _ in range(3):  # and when it is known itself
        assert agrees(other, shapes) == (expected is not None)
        assert agrees(usual, shapes)
        first, second = ask(usual, shapes), ask(other, shapes)
        assert first is not None
        assert second is None or first.question != second.question


@pytest.mark.parametrize("attack", ODD_BESIDE_KNOWN)
def test_odd_headers_beside_known_ones_are_left_to_the_parser(attack: str) -> None:
    shapes = known(_message(USUAL), _message(LONGER), _message(OTHERWISE_LONGER))
    for _ in range(3):
        assert not agrees(_message(ODD_BESIDE_KNOWN[attack]), shapes)


def test_known_headers_that_are_cut_off_anywhere_are_left_to_the_parser() -> None:
    shapes = known(_message(LONGER))
    headers = b"".join(LONGER)
    ends = {len(b"".join(LONGER[:count])) for count in range(len(LONGER) + 1)}
    for end in set(range(len(headers))) - ends:
        assert not agrees(_message([headers[:end]]), shapes)


NAMING = {
    "the gateway": NAMED,
    "another gateway": field(10, field(1, b"gateway") + field(2, b"by-host")),
    "no gateway": field(10, field(1, b"other") + field(2, b"g")),
    "nothing": b"",
    "one of two": NAMED + field(10, field(1, b"gateway") + field(2, b"by-host")),
    "one and something else": NAMED + field(10, field(1, b"other") + field(2, b"g")),
}


@pytest.mark.parametrize("first", NAMING)
def test_known_headers_are_those_of_the_gateway_that_was_asked(first: str) -> None:
    shapes = known(_message(USUAL, NAMING[first]))
    unknown = field(10, field(1, b"gateway") + field(2, b"unknown"))
    for naming in ("no gateway", "nothing"):  # so that it is the host's to say, and this one leads nowhere
        assert ask(_message(USUAL, NAMING[naming], b"elsewhere.example.com"), shapes) is None
    assert ask(_message(USUAL, NAMING[first] + unknown), shapes) is None
    assert ask(_message(USUAL, field(10, b"\x0a\x05x") + NAMING[first]), shapes) is None  # it is no entry of a map
    for other in NAMING.values():
        for _ in range(3):
            assert agrees(_message(USUAL, other), shapes)


def test_known_or_not_one_message_is_one_question() -> None:
    shapes = Shapes()
    for headers in (USUAL, LONGER, OTHERWISE_LONGER):
        asked = [ask(_message(headers), shapes) for _ in range(4)]
        assert len({one.question for one in asked if one is not None}) == 1
        assert None not in asked


def test_flood_of_names_is_bounded_and_what_was_known_before_stays_one_question() -> None:
    shapes = Shapes()
    usual = _message(USUAL)
    first = ask(usual, shapes)
    assert first is not None
    for number in range(300):
        flood = _message([*USUAL, *(_header(b"x-%d-%d" % (number, place), b"") for place in range(100))])
        for _ in range(2):
            assert agrees(flood, shapes)
        again = ask(usual, shapes)
        assert again is not None
        assert again.question == first.question
        assert _count(shapes) <= MOST_HEADERS


def _count(shapes: Shapes) -> int:
    """Return how many headers are kept."""
    left, found = [shapes.named, *shapes._unnamed.values()], 0
    while left:
        header = left.pop()
        found += 1
        left += [next_ for next_ in (header.usual, *header.others.values()) if next_ is not None]
    return found - 1


CHANGED_HEADERS: Sequence[Callable[[random.Random, list[bytes]], object]] = (
    lambda draw, headers: headers.insert(draw.randrange(len(headers) + 1), draw.choice(LONGER)),
    lambda draw, headers: headers.pop(draw.randrange(len(headers))) if headers else None,
    lambda draw, headers: draw.shuffle(headers),
    lambda draw, headers: headers.insert(draw.randrange(len(headers) + 1), _entry(draw)),
)


def test_whatever_was_known_before_a_message_means_what_the_parser_says() -> None:
    draw = random.Random(13)  # noqa: S311 - the same each time
    taken = 0
    shapes = Shapes()
    for _ in range(20_000):
        headers = list(draw.choice((USUAL, LONGER, OTHERWISE_LONGER)))
        for _ in range(draw.randrange(3)):
            draw.choice(CHANGED_HEADERS)(draw, headers)
        joined = b"".join(headers)
        if joined and draw.random() < 0.3:
            joined = draw.choice(CHANGES)(draw, joined)
        taken += agrees(_message([joined]), shapes)
    assert taken > 10_000, "most of what was made is refused at once, and shows nothing"
