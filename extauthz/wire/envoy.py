"""Envoy's ext_authz over gRPC: CheckRequest bytes to a request, an answer to CheckResponse bytes.

To Envoy an empty CheckResponse means ALLOW. `encode` is the only constructor of one; it starts from a denial and
turns into a pass only for a `Passed`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from google.protobuf.message import DecodeError

from extauthz.build import build
from extauthz.core.policy import Gateway, Policy
from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import fold
from extauthz.wire.answer import GAP, REMEMBERED_ANSWERS, Answer, Passed
from extauthz.wire.pb import check_pb2 as pb
from extauthz.wire.shape import LONGEST_MESSAGE_BYTES, LONGEST_PATH_CHARACTERS, Asked, Shapes
from extauthz.wire.unread import KEY, RAW_VALUE, Unread, read_headers, read_known_headers, take_apart

# Raw headers are told apart by their bytes; in plain Python the parser is the quicker way to these.
TAKES_APART: Final = build() == "compiled"

# The key of context_extensions with which a route's configuration names the gateway.
GATEWAY_EXTENSION: Final = "gateway"

# Peers and extensions that are remembered as they came; longer ones are read each time. A peer has a port, and so each
# connection to Envoy its own.
REMEMBERED_PARTS: Final = 1024
LONGEST_REMEMBERED_BYTES: Final = 512

# google.rpc.Code
_OK: Final = 0
_PERMISSION_DENIED: Final = 7
_UNAUTHENTICATED: Final = 16

_PSEUDO: Final = frozenset({":authority", ":method", ":path", ":protocol", ":scheme"})

_OVERWRITE: Final = pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class UnreadableError(Exception):
    """The bytes are no CheckRequest."""


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
    unread = take_apart(message) if TAKES_APART else None
    if unread is not None:
        return of_unread(message, unread, caller, policy, shapes)
    return of_parsed(message, caller, policy, shapes, raw=not TAKES_APART)


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
    before = shapes.named.next(unread.extension) if unread.earlier is None else None
    if before is None:
        gateway, _ = _gateway(unread, policy)
        before = shapes.before(gateway) if gateway is not None else None
    shape = read_known_headers(message, unread, before, question) if before is not None else None
    if shape is None:
        headers = read_headers(message, unread)
        if headers is None:
            return None  # what they mean a parser says
        keys, values = headers
        gateway, naming = _gateway(unread, policy)
        shape = shapes.of(gateway, b"".join(keys), _names_of) if gateway is not None and keys else None
        if shape is None:
            return None
        shapes.learn(shape, keys, naming)
        question[5:] = [values[place] for place in shape.at]
    # A shape says how many values there are.
    question.append(shape)
    return Asked(tuple(question), shape, path)


def _gateway(unread: Unread, policy: Policy) -> tuple[Gateway | None, bytes]:
    """Return the gateway that a message that was taken apart belongs to, and the part that says so alone.

    None if it belongs to none; b"" where more says so: the host does, if no entry of context_extensions does.
    """
    extensions = [unread.extension] if unread.earlier is None else [*unread.earlier, unread.extension]
    try:
        named = _named(extensions)
    except DecodeError:
        return None, b""  # `decode` says so
    alone = named is not None and len(extensions) == 1 and len(unread.extension) <= LONGEST_REMEMBERED_BYTES
    return policy.select(named, unread.host.decode()), unread.extension if alone else b""


def of_parsed(message: bytes, caller: Caller, policy: Policy, shapes: Shapes, *, raw: bool) -> Asked | None:
    """Return the question of a message that the parser reads; of one with raw headers only if it is told to.

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
        keys = _keys(entries) if raw else None
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


def _pick(places: tuple[int, ...] | tuple[str, ...]) -> Callable[[Any], object]:
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


def decode(message: bytes, caller: Caller) -> Request:
    """Read a CheckRequest in either header encoding: the `headers` map, or `header_map` with raw values.

    Raises:
        UnreadableError: The bytes are no CheckRequest, or a text in it is no UTF-8.
    """
    try:
        check = pb.CheckRequest.FromString(message)
    except DecodeError as error:
        raise UnreadableError("the bytes are no CheckRequest") from error
    attributes = check.attributes
    extensions = attributes.context_extensions
    gateway = extensions.get(GATEWAY_EXTENSION)
    peer = attributes.source
    source = peer.address.socket_address.address.decode(errors="replace")
    request = attributes.request
    if not request.HasField("http"):
        return Request(caller, gateway, source, "", "", "", None, "the request has no HTTP attributes")
    http = request.http
    entries = http.header_map.headers if http.HasField("header_map") else ()
    headers = _from_raw(entries, len(message)) if entries else _from_map(http.headers, len(message))
    # Envoy tells the host apart from the headers; who asks in its place may not.
    host = http.host or (headers.read("host") or b"").decode(errors="replace")
    principal = peer.principal.decode(errors="replace")
    return Request(caller, gateway, source, http.method, host, http.path, headers, "", principal)


def _from_map(values: Mapping[str, bytes], size: int) -> Headers:
    """Read the map form: repeated headers are joined already, and how often one came is not known."""
    headers = Headers(set(values) - _PSEUDO, values.get, exact=False, size=size)
    # Envoy folds names; what another caller does not is folded here, and names that become equal are joined.
    if fold(headers.together) != headers.together:
        return Headers.joined(values.items(), exact=False, size=size)
    return headers


def _from_raw(entries: Sequence[pb.HeaderValue], size: int) -> Headers:
    """Read the raw form: one entry per occurrence, in order."""
    by_name = {entry.key: entry for entry in entries}
    count = len(by_name)
    for pseudo in _PSEUDO:
        by_name.pop(pseudo, None)
    get = by_name.get

    def read(name: str) -> bytes | None:
        entry = get(name)
        return None if entry is None else entry.raw_value or entry.value

    headers = Headers(by_name, read, exact=True, size=size)
    if count != len(entries) or fold(headers.together) != headers.together:
        pairs = ((entry.key, entry.raw_value or entry.value) for entry in entries)
        return Headers.joined(pairs, exact=True, size=size)
    return headers


def encode(answer: Answer, decision_id: str) -> bytes:
    """Write an answer as a CheckResponse.

    Args:
        answer: The answer.
        decision_id: The decision's id; it must have as many bytes as answer.GAP, which it takes the place of.
    """
    return decision_id.encode().join(parts_of(answer))


def parts_of(answer: Answer) -> tuple[bytes, ...]:
    """Write an answer as a CheckResponse: the bytes around each place where the decision's id stands."""
    return _kept_parts(answer) if answer.kept else _build_parts(answer)


def _build_parts(answer: Answer) -> tuple[bytes, ...]:
    """Return the CheckResponse as the bytes around each place where the decision's id stands."""
    response = pb.CheckResponse()
    # A denial, until it turns out to be a pass.
    response.status.code = _PERMISSION_DENIED
    response.status.message = answer.reason
    if isinstance(answer, Passed):
        passed = response.ok_response
        for name, value in answer.set_headers:
            _set(passed.headers.add(), name, value)
        passed.headers_to_remove.extend(answer.remove_headers)
        response.status.code = _OK
        response.status.message = ""
    else:
        denied = response.denied_response
        denied.status.code = answer.status
        denied.body = answer.body
        for name, value in answer.headers:
            _set(denied.headers.add(), name, value)
        response.status.code = _UNAUTHENTICATED if answer.status == 401 else _PERMISSION_DENIED
    _tell(response, answer)
    return tuple(response.SerializeToString().split(GAP.encode()))


def _set(option: pb.HeaderValueOption, name: str, value: str) -> None:
    option.header.key = name
    option.header.value = value.encode()
    # Both: with neither set, Envoy 1.37 appended to the client's own copy.
    option.append.value = False
    option.append_action = _OVERWRITE


def _tell(response: pb.CheckResponse, answer: Answer) -> None:
    """Add what Envoy keeps under envoy.filters.http.ext_authz for its access log."""
    fields = response.dynamic_metadata.fields
    fields["decision"].string_value = GAP
    fields["gateway"].string_value = answer.gateway
    fields["reason"].string_value = answer.reason
    fields["user"].string_value = answer.user


_kept_parts: Final = lru_cache(maxsize=REMEMBERED_ANSWERS)(_build_parts)
# How often an answer was found already written, and how often it had to be; for whoever measures.
written_answers: Final = _kept_parts.cache_info
