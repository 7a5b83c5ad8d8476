"""What tells one CheckRequest from another, before it is read: the question that an allow is recalled for.

Compiled, a message in Envoy's own form is taken apart by its bytes, and read from these where it has to be read. Else,
and in plain Python, the parser reads it.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from google.protobuf.message import DecodeError

from extauthz.build import build
from extauthz.core.policy import Gateway, Policy
from extauthz.core.request import Caller, Headers, Request
from extauthz.wire.envoy import GATEWAY_EXTENSION, PSEUDO_HEADERS, decode
from extauthz.wire.pb import check_pb2 as pb
from extauthz.wire.shape import LONGEST_MESSAGE_BYTES, LONGEST_PATH_CHARACTERS, Asked, Shape, Shapes
from extauthz.wire.unread import KEY, RAW_VALUE, Unread, read_headers, read_known_headers, take_apart

# Messages are told apart by their bytes; in plain Python the parser is the quicker way.
TAKES_APART: Final = build() == "compiled"

# Peers and extensions that are remembered as they came; longer ones are read each time. A peer has a port, and so each
# connection to Envoy its own.
REMEMBERED_PARTS: Final = 1024
LONGEST_REMEMBERED_BYTES: Final = 512


def question(message: bytes, caller: Caller, policy: Policy, shapes: Shapes) -> Asked | None:
    """Return what tells a CheckRequest from others before any header of it is read; None if it is to be read anew.

    Args:
        message: The bytes.
        caller: Who asks.
        policy: The policy in force, which says what is read.
        shapes: What was seen under it.
    """
    # In a message no longer than a header may be, no header is too long.
    if len(message) > LONGEST_MESSAGE_BYTES or len(message) > policy.longest_header_bytes:
        return None
    if not TAKES_APART:
        return of_parsed(message, caller, policy, shapes)
    unread = take_apart(message)
    return of_unread(message, unread, caller, policy, shapes) if unread is not None else None


def of_unread(message: bytes, unread: Unread, caller: Caller, policy: Policy, shapes: Shapes) -> Asked | None:
    """Return the question of a message that was taken apart, as of one that is parsed."""
    try:
        source, principal = _peer(unread.source)
        _peer(unread.destination)
        path = unread.path.decode()
    except (DecodeError, UnicodeDecodeError):
        return None  # `decode` says so
    host = unread.host
    if not host or len(path) > LONGEST_PATH_CHARACTERS:
        return None
    question: list[Hashable] = [caller, source, principal, host, unread.method]
    if unread.joined is not None:
        gateway, _ = _gateway(unread, policy)
        return _of_joined(unread, unread.joined, gateway, shapes, question, path) if gateway is not None else None
    before = shapes.named.next(unread.extension) if unread.earlier is None else None
    if before is None:
        gateway, _ = _gateway(unread, policy)
        before = shapes.before(gateway) if gateway is not None else None
    shape = read_known_headers(message, unread, before, question) if before is not None else None
    keys: list[bytes] | None = None
    naming = b""
    if shape is None:
        headers = read_headers(message, unread)
        if headers is None:
            return None  # what they mean a parser says
        keys, values = headers
        gateway, naming = _gateway(unread, policy)
        shape = shapes.of(gateway, b"".join(keys), _names_of) if gateway is not None and keys else None
        if shape is None:
            return None
        question[5:] = [values[place] for place in shape.at]
    # A shape says how many values there are.
    question.append(shape)
    return Asked(tuple(question), shape, path, keys, naming, unread)


def _of_joined(  # noqa: PLR0913, PLR0917 - by position, because a keyword costs time here
    unread: Unread, joined: dict[bytes, bytes], gateway: Gateway, shapes: Shapes, question: list[Hashable], path: str
) -> Asked | None:
    """Return the question of a message with joined headers, of which `question` is the beginning.

    They come in another order each time, as a map of protobuf's does, so that no place tells anything.
    """
    shape = shapes.of(gateway, frozenset(joined), _texts)
    if shape is None:
        return None
    pick = shape.pick
    if pick is None:
        pick = shape.pick = _pick(tuple(name.encode() for name in shape.read))
    question.append(pick(joined))
    question.append(shape)
    return Asked(tuple(question), shape, path, None, b"", unread)


def _texts(names: frozenset[bytes]) -> tuple[str, ...] | None:
    """Return the names; None if one is no text."""
    try:
        return tuple(name.decode() for name in names)
    except UnicodeDecodeError:
        return None


def read(message: bytes, asked: Asked, caller: Caller) -> Request:
    """Read the message of a question, as `envoy.decode` does; what was taken apart without a parser.

    Raises:
        UnreadableError: The bytes are no CheckRequest, or a text in it is no UTF-8.
    """
    unread = asked.unread
    headers = _headers(message, unread, asked.shape) if unread is not None else None
    if unread is None or headers is None:
        return decode(message, caller)
    source, principal = _peer(unread.source)
    return Request(
        caller,
        _named(_extensions(unread)),
        source.decode(errors="replace"),
        unread.method.decode(),
        unread.host.decode(),
        asked.path,
        headers,
        "",
        principal.decode(errors="replace"),
    )


def _headers(message: bytes, unread: Unread, shape: Shape) -> Headers | None:
    """Return the headers of a message that was taken apart, in whose shape no name is there twice."""
    names = shape.told
    if names is None:
        names = shape.told = tuple(name for name in shape.names if name not in PSEUDO_HEADERS)
    joined = unread.joined
    if joined is not None:
        values = {name.decode(): value for name, value in joined.items()}
        return Headers(names, values.get, exact=False, size=len(message))
    raw = read_headers(message, unread)
    if raw is None:
        return None
    values = dict(zip(shape.names, raw[1], strict=True))
    if len(names) < len(values):
        for name in PSEUDO_HEADERS:
            values.pop(name, None)
    return Headers(names, values.get, exact=True, size=len(message))


def _extensions(unread: Unread) -> list[bytes]:
    return [unread.extension] if unread.earlier is None else [*unread.earlier, unread.extension]


def _gateway(unread: Unread, policy: Policy) -> tuple[Gateway | None, bytes]:
    """Return the gateway that a message that was taken apart belongs to, and the part that says so alone.

    None if it belongs to none; b"" where more says so: the host does, if no entry of context_extensions does.
    """
    extensions = _extensions(unread)
    try:
        named = _named(extensions)
    except DecodeError:
        return None, b""  # `decode` says so
    alone = named is not None and len(extensions) == 1 and len(unread.extension) <= LONGEST_REMEMBERED_BYTES
    return policy.select(named, unread.host.decode()), unread.extension if alone else b""


def of_parsed(message: bytes, caller: Caller, policy: Policy, shapes: Shapes) -> Asked | None:
    """Return the question of a message that the parser reads.

    A value stands in it with its key, and in that of a message that was taken apart without: the two must not meet.
    """
    try:
        attributes = pb.UnreadCheckRequest.FromString(message).attributes
        sources = attributes.source[:]
        if len(sources) != 1:
            return None
        source, principal = _peer(sources[0])
        named = _named(attributes.context_extensions[:])
    except DecodeError:
        return None  # `decode` says so
    http = attributes.request.http
    host, path = http.host, http.path
    gateway = policy.select(named, host)
    if gateway is None or not host or len(path) > LONGEST_PATH_CHARACTERS:
        return None
    entries = http.header_map.headers[:]  # a third of the time of a list made of them
    if entries:
        keys = _keys(entries)
        shape = shapes.of(gateway, keys, _names_of) if keys is not None else None
        if shape is None:
            return None
        pick = shape.pick
        if pick is None:
            pick = shape.pick = _pick(shape.at)
        values = pick(entries)
    else:
        joined = http.headers
        shape = shapes.of(gateway, frozenset(joined), tuple)
        if shape is None:
            return None
        pick = shape.pick
        if pick is None:
            pick = shape.pick = _pick(shape.read)
        values = pick(joined)
    return Asked((shape, caller, source, principal, host, http.method, values), shape, path)


def _peer(peer: bytes) -> tuple[bytes, bytes]:
    """Return the address and the principal of a Peer; raises DecodeError if it is none."""
    if not peer:
        return b"", b""
    found = _peers.get(peer)
    if found is None:
        found = _read_peer(peer)
        if len(peer) <= LONGEST_REMEMBERED_BYTES:
            if len(_peers) >= REMEMBERED_PARTS:
                _peers.clear()
            _peers[peer] = found
    return found


def _read_whole(part: pb.UnreadCheckRequest.Attributes) -> pb.AttributeContext:
    """Read a part where it stands in a message; raises DecodeError.

    A parser takes an entry of a map for another thing than the same bytes alone, and counts how deep it is.
    """
    return pb.CheckRequest.FromString(pb.UnreadCheckRequest(attributes=part).SerializeToString()).attributes


def _read_peer(peer: bytes) -> tuple[bytes, bytes]:
    read = _read_whole(pb.UnreadCheckRequest.Attributes(source=[peer])).source
    return read.address.socket_address.address, read.principal


def _named(extensions: Sequence[bytes]) -> str | None:
    """Return the gateway that the proxy's own configuration names; raises DecodeError if one is no entry of a map."""
    named = None
    for extension in extensions:  # of two with one key, the last counts
        short = len(extension) <= LONGEST_REMEMBERED_BYTES
        is_it, value = _remembered_extension(extension) if short else _read_extension(extension)
        if is_it:
            named = value
    return named


def _read_extension(extension: bytes) -> tuple[bool, str]:
    """Return whether an extension names the gateway, and which."""
    read = _read_whole(pb.UnreadCheckRequest.Attributes(context_extensions=[extension])).context_extensions
    return GATEWAY_EXTENSION in read, read.get(GATEWAY_EXTENSION, "")


_remembered_extension: Final = lru_cache(REMEMBERED_PARTS)(_read_extension)
_peers: Final[dict[bytes, tuple[bytes, bytes]]] = {}


def _pick(places: tuple[int, ...] | tuple[str, ...] | tuple[bytes, ...]) -> Callable[[Any], object]:
    """Return what takes the values that are read out of all, always the same number of them."""
    return itemgetter(*places) if places else _nothing


def _nothing(_values: Any) -> object:
    return ()


def _keys(entries: Sequence[bytes]) -> bytes | None:
    """Return the `key` of each HeaderValue, as it is written, where each is that and a `raw_value` and nothing more.

    So Envoy writes them. None if any is otherwise: a parser knows what it means then. Each key has its length before
    it, so that one after the other they say where each ends.
    """
    try:
        found = [
            entry[:end]
            for entry in entries
            if entry[end := entry[1] + 2] == RAW_VALUE
            and (entry[end + 1] == len(entry) - end - 2 < 0x80 or _ends_there(entry, end))
        ]
        if len(found) < len(entries):
            return None
    except IndexError:
        # What is empty is not written at all.
        if min(map(len, entries)) < 2:
            return None
        full = [entry for entry in entries if len(entry) != entry[1] + 2]
        if len(full) == len(entries) or _keys(full) is None:
            return None
        found = [entry[: entry[1] + 2] for entry in entries]
    return b"".join(found)


def _ends_there(entry: bytes, end: int) -> bool:
    """Tell whether the value behind `end` has a length of two bytes, in its shortest form, and ends the entry."""
    length = len(entry) - end - 3
    return 0x80 <= length < 0x4000 and entry[end + 1 : end + 3] == bytes((length & 0x7F | 0x80, length >> 7))


def _names_of(keys: bytes) -> tuple[str, ...] | None:
    """Return the names that are written so; None if one is not as `_keys` took it, or no text."""
    names = []
    at = 0
    while at < len(keys):
        length, begin = keys[at + 1], at + 2
        at = begin + length
        if keys[begin - 2] != KEY or length >= 0x80 or at > len(keys):  # a length of one byte is below 128
            return None
        try:
            names.append(keys[begin:at].decode())
        except UnicodeDecodeError:
            return None
    return tuple(names)
