"""The forward-auth doors: an HTTP request in a proxy's dialect to a request, an answer to an HTTP response.

A door is configured for one proxy, and reads the original request from that proxy's headers and from no others: a
header of another dialect is the client's, whatever its name. What each proxy sends is the table `DIALECTS`; why, and
what the proxy's configuration must set, is docs/forward-auth.md.

Of the headers that only the asking proxy writes, for this door alone (the original method and URI, at the Envoy door
the peer), none reaches the rules: they are neither forwarded evidence nor a required header that arrived. All others
count as they do over gRPC. X-Forwarded-For stays as it came: its last entry is the peer, which the rules pass over.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import trim
from extauthz.wire.answer import GAP, REMEMBERED_ANSWERS, Answer, Passed

DOORS: Final = b"/forward-auth"

# The header in which Envoy is to say whose connection it received (headers_to_add; it replaces a client's copy).
ENVOY_PEER_HEADER: Final = "x-extauthz-peer"

# No gateway has this id: a path that is no door's selects none, and the host does not come into it.
_NO_GATEWAY: Final = ""

RawHeaders = Sequence[tuple[bytes, bytes]]


class HttpMessage(NamedTuple):
    """An HTTP request as it arrived, unread: what HTTP says in one line, and the headers, each occurrence.

    Attributes:
        method: The method of the request to the door itself.
        target: The raw request target, with its query.
        headers: Names in lower case; values without the white space around them.
    """

    method: str
    target: bytes
    headers: RawHeaders


class HttpAnswer(NamedTuple):
    """An HTTP response.

    Attributes:
        status: 200, 401 or 403 from a door.
        headers: With content-length.
        body: Not to be sent to HEAD.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Dialect(NamedTuple):
    """Where one proxy says what it was asked. Each name is a header's; `None` is the request to the door itself.

    Attributes:
        method: The original method.
        uri: The original path and query; None: what stands in the target after the gateway.
        host: The original host.
        peer: Who is at the other end of the connection that the proxy received: the right-most entry of this header.
        exact: The proxy sends copies of a header one by one, as they came.
    """

    method: str | None
    uri: str | None
    host: str
    peer: str
    exact: bool


DIALECTS: Final = {
    "traefik": Dialect(
        method="x-forwarded-method", uri="x-forwarded-uri", host="x-forwarded-host", peer="x-forwarded-for", exact=True
    ),
    "caddy": Dialect(
        method="x-forwarded-method", uri="x-forwarded-uri", host="x-forwarded-host", peer="x-forwarded-for", exact=True
    ),
    "nginx": Dialect(method="x-original-method", uri="x-original-uri", host="host", peer="x-forwarded-for", exact=True),
    # Envoy joins copies before it asks over HTTP, in every version so far.
    "envoy": Dialect(method=None, uri=None, host="host", peer=ENVOY_PEER_HEADER, exact=False),
}


class _Door(NamedTuple):
    dialect: Dialect
    gateway: str
    rest: bytes


def is_door(target: bytes) -> bool:
    """Tell whether a request target is below the doors' path: then it is decided about, whatever else it says."""
    return target.startswith(DOORS) and target[len(DOORS) : len(DOORS) + 1] in {b"", b"/", b"?"}


def _door(target: bytes) -> _Door | None:
    """Read /forward-auth/DIALECT/GATEWAY from the raw target: nothing is decoded, resolved or cleaned first.

    What a client can write comes after the gateway's segment (Envoy) or after "?" (Caddy), so it changes neither.
    """
    path = target.partition(b"?")[0]
    segments = path.split(b"/", 4)
    if len(segments) < 4:
        return None
    dialect = DIALECTS.get(segments[2].decode("latin-1"))
    if dialect is None:
        return None
    own = b"/".join(segments[:4])
    if dialect.uri is not None and path[len(own) :] not in {b"", b"/"}:
        return None
    return _Door(dialect, segments[3].decode("latin-1"), target[len(own) :])


class _UnreadableError(Exception):
    """What the proxy itself says cannot be read; the text says which header, and why."""


def decode(message: HttpMessage, caller: Caller) -> Request:
    """Read what a proxy asks at its door. Whatever cannot be read is a request that says so, and is denied."""
    door = _door(message.target)
    if door is None:
        return Request(caller, _NO_GATEWAY, "", message.method, "", "", None, "the path is no door's")
    dialect, gateway, rest = door
    size = sum(len(name) + len(value) for name, value in message.headers)
    source = method = host = path = fault = ""
    headers = None
    try:
        everything = _headers(message.headers, exact=dialect.exact, size=size)
        headers = _without_own(everything, dialect)
        peer = everything.read(dialect.peer)
        source = _text(dialect.peer, peer.rpartition(b",")[2]) if peer is not None else ""
        method = message.method if dialect.method is None else _single(everything, dialect.method)
        path = _text("the path", rest) if dialect.uri is None else _single(everything, dialect.uri)
        host = _single(everything, dialect.host)
    except _UnreadableError as error:
        fault = str(error)
    return Request(caller, gateway, trim(source), method, host, path, headers, fault)


def _headers(raw: RawHeaders, *, exact: bool, size: int) -> Headers:
    try:
        return Headers.joined(((name.decode("ascii"), value) for name, value in raw), exact=exact, size=size)
    except UnicodeDecodeError as error:
        raise _UnreadableError("a header's name is no ASCII") from error


def _without_own(headers: Headers, dialect: Dialect) -> Headers:
    """Leave out what only the proxy writes, for this door; and Host, which is that of the door or `Request.host`."""
    own = {"host", dialect.method, dialect.uri, ENVOY_PEER_HEADER if dialect.peer == ENVOY_PEER_HEADER else None}
    names = [name for name in headers.names if name not in own]
    return Headers(
        names,
        lambda name: None if name in own else headers.read(name),
        exact=headers.exact,
        size=headers.size,
        repeated=headers.repeated,
    )


def _single(headers: Headers, name: str) -> str:
    """Return what the proxy says in a header that it sets itself; "" where it says nothing.

    Nothing is put in the place of what is missing: a stamp that is bound to it then verifies for no request.
    """
    value = headers.read(name)
    if value is None:
        return ""
    if name in headers.repeated:
        # The proxy sets this header, so a second one is the client's, and nothing says which.
        raise _UnreadableError(f"{name} came more than once")
    return _text(name, value)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"{name} is no UTF-8") from error


def encode(answer: Answer, decision_id: str) -> HttpAnswer:
    """Write an answer as an HTTP response.

    Args:
        answer: The answer.
        decision_id: The decision's id; it must have as many bytes as answer.GAP, which it takes the place of.
    """
    status, headers, body = _parts(answer)
    gap, own = GAP.encode(), decision_id.encode()
    return HttpAnswer(
        status, [(name, own if value == gap else value) for name, value in headers], body.replace(gap, own)
    )


@lru_cache(maxsize=REMEMBERED_ANSWERS)
def _parts(answer: Answer) -> HttpAnswer:
    """Return the response with the gap still in it."""
    if isinstance(answer, Passed):
        # HTTP has no way to say "remove this header": an empty value takes the place of the client's.
        emptied = ((name, "") for name in answer.remove_headers)
        return _response(200, (*answer.set_headers, *emptied, ("cache-control", "no-store")), "")
    return _response(answer.status, answer.headers, answer.body)


def _response(status: int, headers: Sequence[tuple[str, str]], body: str) -> HttpAnswer:
    raw = body.encode()
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return HttpAnswer(status, [*encoded, (b"content-length", b"%d" % len(raw))], raw)
