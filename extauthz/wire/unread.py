"""A CheckRequest's bytes taken apart without reading them, where they stand as Envoy writes them.

Protobuf's parser makes an object of Python for each part that is looked at. A decision needs none of them, only the
bytes that tell one request from another, and those that its rules read. Anything that is not in that form is left to
the parser, also what it would refuse: nothing is accepted here that it does not accept, and nothing means something
else here.

Compiled this takes 27 % of the parser's instructions for raw headers, half of them for joined ones, and in plain Python
more than the parser: envoy_question.py chooses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    # Places in a message, and its bytes as numbers: compiled these are numbers of 64 bits, and no objects.
    from mypy_extensions import i64

    from extauthz.wire.shape import Header, Shape


class Unread:
    """The parts of a CheckRequest, as they came.

    Attributes:
        source: The Peer; b"" where there is none.
        destination: The other Peer, which nobody reads; to be no Peer makes the message none.
        extension: The last entry of context_extensions; b"" where there is none, which names nothing either.
        earlier: The entries before that one, in order; None where there are none.
        method: The method.
        host: The host.
        path: Path and query.
        headers: Where the HeaderMap begins in the message, which has raw headers, one entry each.
        headers_end: Where it ends.
        joined: The headers of the other encoding, copies joined: values by name; None where there are none.
    """

    __slots__ = (
        "destination",
        "earlier",
        "extension",
        "headers",
        "headers_end",
        "host",
        "joined",
        "method",
        "path",
        "source",
    )

    def __init__(self) -> None:
        self.source = b""
        self.destination = b""
        self.extension = b""
        self.earlier: list[bytes] | None = None
        self.method = b""
        self.host = b""
        self.path = b""
        self.headers: i64 = 0
        self.headers_end: i64 = 0
        self.joined: dict[bytes, bytes] | None = None


class _OtherwiseError(Exception):
    """The bytes do not stand in the form that is known here."""


# Tags: a field's number, and that its length comes next (check.proto). Each number is below 16, so that it is one byte.
_ATTRIBUTES: Final = 0x0A
_SOURCE: Final = 0x0A
_DESTINATION: Final = 0x12
_REQUEST: Final = 0x22
_EXTENSION: Final = 0x52
_HTTP: Final = 0x12
_ID: Final = 0x0A
_METHOD: Final = 0x12
_HEADERS: Final = 0x1A
_PATH: Final = 0x22
_HOST: Final = 0x2A
_SCHEME: Final = 0x32
_PROTOCOL: Final = 0x52
_HEADER_MAP: Final = 0x6A
_HEADER: Final = 0x0A
KEY: Final = 0x0A
RAW_VALUE: Final = 0x1A
_JOINED_VALUE: Final = 0x12

_VARINT: Final = 0
_WITH_LENGTH: Final = 2
_MOST_VARINT_BYTES: Final = 9


def take_apart(message: bytes) -> Unread | None:
    """Return the parts of a CheckRequest; None if it is to be parsed. Raw headers are not looked at yet."""
    found = Unread()
    size: i64 = len(message)
    try:
        begin, end = _span(message, 1, size)
        if message[0] != _ATTRIBUTES or end != size:
            return None
        begin, end = _attributes(message, begin, end, found)
        begin, end = _request(message, begin, end)
        _http(message, begin, end, found)
    except (IndexError, UnicodeDecodeError, _OtherwiseError):
        return None
    # Of a message with headers in both encodings, what is in them says which count.
    return None if found.joined is not None and found.headers else found


def _attributes(message: bytes, at: i64, end: i64, found: Unread) -> tuple[i64, i64]:
    """Take what stands in an AttributeContext, and return where its request begins and ends."""
    seen: i64 = 0
    request: i64 = 0
    request_end: i64 = 0
    extended = False
    while at < end:
        tag: i64 = message[at]
        begin, at = _span(message, at + 1, end)
        if tag == _EXTENSION:
            if extended:
                if found.earlier is None:
                    found.earlier = []
                found.earlier.append(found.extension)
            extended = True
            found.extension = message[begin:at]
        elif tag == _REQUEST:
            seen = _once(seen, tag)
            request, request_end = begin, at
        elif tag == _SOURCE:
            seen = _once(seen, tag)
            found.source = message[begin:at]
        elif tag == _DESTINATION:
            seen = _once(seen, tag)
            found.destination = message[begin:at]
        else:
            _pass_over(tag)
    return request, request_end


def _request(message: bytes, at: i64, end: i64) -> tuple[i64, i64]:
    """Return where the HttpRequest of an AttributeContext.Request begins and ends."""
    seen: i64 = 0
    http: i64 = 0
    http_end: i64 = 0
    while at < end:
        tag: i64 = message[at]
        begin, at = _span(message, at + 1, end)
        if tag == _HTTP:
            seen = _once(seen, tag)
            http, http_end = begin, at
        else:
            _pass_over(tag)
    return http, http_end


def _http(message: bytes, at: i64, end: i64, found: Unread) -> None:
    """Take what stands in an HttpRequest, its HeaderMap as it is."""
    seen: i64 = 0
    while at < end:
        tag: i64 = message[at]
        if tag & 7 == _VARINT and 8 <= tag < 0x80:
            at = _behind_varint(message, at + 1, end)
            continue
        begin, at = _span(message, at + 1, end)
        if tag == _HEADERS:
            found.joined = _with_joined(found.joined, message, begin, at)
        elif tag == _HEADER_MAP:
            seen = _once(seen, tag)
            found.headers, found.headers_end = begin, at
        elif tag == _METHOD:
            seen = _once(seen, tag)
            _see_text(message, begin, at)
            found.method = message[begin:at]
        elif tag == _PATH:
            seen = _once(seen, tag)
            found.path = message[begin:at]
        elif tag == _HOST:
            seen = _once(seen, tag)
            _see_text(message, begin, at)
            found.host = message[begin:at]
        elif tag in (_ID, _SCHEME, _PROTOCOL):
            seen = _once(seen, tag)
            if not _is_ascii(message, begin, at):  # nobody reads it, but what is no text makes the message none
                raise _OtherwiseError
        else:
            _pass_over(tag)


def _with_joined(joined: dict[bytes, bytes] | None, message: bytes, begin: i64, end: i64) -> dict[bytes, bytes]:
    """Return joined headers and one more: an entry of a map has a key and a value, also where these are empty."""
    if joined is None:
        joined = {}
    key_end = _key_end(message, begin, end)
    if message[key_end] != _JOINED_VALUE:
        raise _OtherwiseError
    value, value_end = _span(message, key_end + 1, end)
    name = message[begin + 2 : key_end]
    if value_end != end or name in joined:  # of two entries with one key a parser takes the last
        raise _OtherwiseError
    joined[name] = message[value:end]
    return joined


def read_headers(message: bytes, unread: Unread) -> tuple[list[bytes], list[bytes]] | None:
    """Return the key of each header, with its tag and length before it, and the value of each; None if to be parsed.

    Each entry of a HeaderMap is a key and a raw value, or a key alone, where that is empty.
    """
    keys: list[bytes] = []
    values: list[bytes] = []
    at: i64 = unread.headers
    end: i64 = unread.headers_end
    try:
        while at < end:
            if message[at] != _HEADER:
                return None
            begin, at = _span(message, at + 1, end)
            key_end = _key_end(message, begin, at)
            keys.append(message[begin:key_end])
            value = _value(message, key_end, at)
            values.append(message[value:at])
    except (IndexError, _OtherwiseError):
        return None
    return keys, values


def read_known_headers(message: bytes, unread: Unread, before: Header, values: list[Hashable]) -> Shape | None:
    """Add the values that are read, of headers of a shape that is known; None if it is not, and what was added is void.

    Args:
        message: The message.
        unread: Its parts.
        before: What comes before every header that the gateway was seen to be asked with.
        values: Where the values are put, in order.
    """
    at: i64 = unread.headers
    end: i64 = unread.headers_end
    known = before
    try:
        while at < end:
            if message[at] != _HEADER:
                return None
            begin, at = _span(message, at + 1, end)
            found = known.usual
            if found is None:
                return None
            key_end: i64 = begin + len(found.key)
            if not _stands_at(message, begin, at, found.key):
                key_end = _key_end(message, begin, at)
                found = known.others.get(message[begin:key_end])
                if found is None:
                    return None
            value = _value(message, key_end, at)
            if found.read:
                values.append(message[value:at])
            known = found
    except (IndexError, _OtherwiseError):
        return None
    return known.shape


def _stands_at(message: bytes, at: i64, end: i64, part: bytes) -> bool:
    """Tell whether a part stands at a place, and does not go beyond `end`."""
    stop: i64 = at + len(part)
    if stop > end:
        return False
    place: i64 = 0
    while 0 <= at < stop:  # a compiler that knows that no place is below 0 needs not look again at each byte
        if message[at] != part[place]:
            return False
        at += 1
        place += 1
    return True


def _key_end(message: bytes, begin: i64, end: i64) -> i64:
    """Return where the key ends that an entry begins with."""
    if message[begin] != KEY:
        raise _OtherwiseError
    length: i64 = message[begin + 1]
    key_end = begin + 2 + length
    if length >= 0x80 or key_end > end:
        raise _OtherwiseError
    return key_end


def _value(message: bytes, key_end: i64, end: i64) -> i64:
    """Return where the value begins that stands behind a key up to the end of its entry; there, where none does."""
    if key_end == end:
        return end
    if message[key_end] != RAW_VALUE:
        raise _OtherwiseError
    length: i64 = message[key_end + 1]
    if length < 0x80 and key_end + 2 + length == end:  # most are short
        return key_end + 2
    value, value_end = _span(message, key_end + 1, end)
    if value_end != end:
        raise _OtherwiseError
    return value


def _see_text(message: bytes, at: i64, end: i64) -> None:
    """See that something is text; raises UnicodeDecodeError if it is none."""
    if not _is_ascii(message, at, end):
        message[at:end].decode()


def _is_ascii(message: bytes, at: i64, end: i64) -> bool:
    while 0 <= at < end:
        if message[at] >= 0x80:
            return False
        at += 1
    return True


def _span(message: bytes, at: i64, limit: i64) -> tuple[i64, i64]:
    """Return where something begins and ends whose length stands here; a longer length has no place in a message."""
    length: i64 = message[at]
    begin = at + 1
    if length >= 0x80:
        high: i64 = message[begin]
        if not 0 < high < 0x80:
            raise _OtherwiseError
        length = length & 0x7F | high << 7
        begin += 1
    end = begin + length
    if end > limit:
        raise _OtherwiseError
    return begin, end


def _behind_varint(message: bytes, at: i64, end: i64) -> i64:
    limit = at + _MOST_VARINT_BYTES
    while at < end and at < limit:
        if message[at] < 0x80:
            return at + 1
        at += 1
    raise _OtherwiseError


def _once(seen: i64, tag: i64) -> i64:
    """Note that a field was seen: of two a parser would make one, by merging them or by taking the last."""
    bit: i64 = 1 << (tag >> 3)
    if seen & bit:
        raise _OtherwiseError
    return seen | bit


def _pass_over(tag: i64) -> None:
    """Let a field be that nobody reads, as a parser does with one that it does not know, if it has a length."""
    if tag & 7 != _WITH_LENGTH or not 8 <= tag < 0x80:
        raise _OtherwiseError
