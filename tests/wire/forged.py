"""CheckRequests written field by field, as Envoy does and otherwise, and what is made of them unread and read."""

import random
from collections.abc import Callable, Sequence

from cases.build import LOOPBACK, PAIRS, gateway, policy_of
from extauthz.core.request import Request
from extauthz.wire import envoy, envoy_question
from extauthz.wire.pb import check_pb2 as pb
from extauthz.wire.shape import Asked, Shapes
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
    """Return the question of a message that is taken apart; None where it is not.

    What is asked is learned as what is recalled: as if all of it had been allowed before.
    """
    unread = take_apart(message)
    asked = envoy_question.of_unread(message, unread, LOOPBACK, POLICY, shapes) if unread is not None else None
    if asked is not None:
        shapes.learn(asked)
    return asked


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
    if parsed.headers:
        assert not parsed.HasField("header_map")
        assert set(parsed.headers) == set(asked.shape.names)
        (picked,) = values
        values = list(picked) if isinstance(picked, tuple) else [picked]  # of one that is read, its value alone
    else:
        assert [entry.key for entry in parsed.header_map.headers] == list(asked.shape.names)
    assert [read.headers.read(name) or b"" for name in asked.shape.read] == values
    assert _told(envoy_question.read(message, asked, LOOPBACK)) == _told(read)
    return True


def _told(request: Request) -> tuple[object, ...]:
    """Return everything that a request tells the rules."""
    headers = request.headers
    assert headers is not None
    # A map has no order.
    names = list(headers.names) if headers.exact else sorted(headers.names)
    pseudo = [headers.read(name) for name in (":authority", ":method", ":path", ":protocol", ":scheme", ":weird")]
    values = [headers.read(name) for name in (*names, "not-there")]
    told = (names, values, pseudo, headers.exact, sorted(headers.repeated), headers.size, len(headers.together))
    return (*request._replace(headers=None), *told)


def attributes(*fields: bytes) -> bytes:
    """Return a CheckRequest with attributes of these fields."""
    return field(1, b"".join(fields))


PEER = field(1, field(1, field(2, b"10.0.0.7"))) + field(4, b"spiffe://cluster/proxy")
OTHER_PEER = field(1, field(1, field(2, b"10.0.0.8")))
NAMED = field(10, field(1, b"gateway") + field(2, b"g"))
HEADERS = b"".join(field(1, field(1, name.encode()) + field(3, value.encode())) for name, value in PAIRS)
LINE = field(2, b"GET") + field(4, b"/") + field(5, b"gateway.example.com")
HTTP = LINE + field(13, HEADERS)
JOINED = tuple(field(3, field(1, name.encode()) + field(2, value.encode())) for name, value in PAIRS)
WHOLE = (field(1, PEER), field(4, field(2, HTTP)), NAMED)


def _flip(draw: random.Random, message: bytes) -> bytes:
    at = draw.randrange(len(message))
    return message[:at] + bytes((draw.randrange(256),)) + message[at + 1 :]


def _cut(draw: random.Random, message: bytes) -> bytes:
    begin, end = sorted(draw.randrange(len(message) + 1) for _ in range(2))
    return message[:begin] + message[min(end, begin + 4) :]


def _repeat(draw: random.Random, message: bytes) -> bytes:
    begin, end = sorted(draw.randrange(len(message) + 1) for _ in range(2))
    return message[:end] + message[begin:end] + message[end:]


# What changes a message on its way.
CHANGES: Sequence[Callable[[random.Random, bytes], bytes]] = (_flip, _cut, _repeat)


def entry(draw: random.Random, *, joined: bool = False) -> bytes:
    """Return an entry of a HeaderMap, or of the map of joined headers; most of them as Envoy writes one."""
    here, value_here, value_there = (3, 2, 3) if joined else (1, 3, 2)
    name = draw.choice((b"x-forwarded-user", b"x-forwarded-for", b"accept", b"a", b"", b"n" * 130, b"\xff"))
    value = draw.choice((b"", b"nick@example.com", b"v" * 127, b"v" * 128, b"v" * 300, b"\n\x01a\x1a\x01b", b"\xff"))
    form = draw.randrange(12)
    if form == 0:
        return field(here, field(value_here, value) + field(1, name))
    if form == 1:
        return field(here, field(1, name) + field(value_there, value))
    if form == 2:
        return field(here, field(1, name) + field(value_here, value) + field(1, b"accept"))
    if form == 3 and name:
        return field(here, field(1, name))
    return field(here, field(1, name) + field(value_here, value))
