"""Headers that are known in their places are told from all others, and mean what the parser says."""

import random
from collections.abc import Callable, Sequence

import pytest

from cases.build import PAIRS
from extauthz.wire.shape import MOST_HEADERS, Shapes
from wire.forged import CHANGES, NAMED, WHOLE, agrees, ask, attributes, entry, field


def _message(headers: Sequence[bytes], naming: bytes = NAMED, host: bytes = b"gateway.example.com") -> bytes:
    http = field(2, b"GET") + field(4, b"/") + field(5, host) + field(13, b"".join(headers))
    return attributes(WHOLE[0], field(4, field(2, http)), naming)


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
    namings = [field(10, field(1, b"gateway") + field(2, b"g") + extra) for extra in (b"", field(1, b"gateway"))]
    for number in range(300):
        more = (_header(b"x-%d-%d" % (number, place), b"") for place in range(100))
        flood = _message([*USUAL, *more], namings[number % 2])
        for _ in range(2):
            assert agrees(flood, shapes)
        again = ask(usual, shapes)
        assert again is not None
        assert again.question == first.question
        assert _count(shapes) == shapes._headers <= MOST_HEADERS


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
    lambda draw, headers: headers.insert(draw.randrange(len(headers) + 1), entry(draw)),
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
