"""The forward-auth doors: an HTTP request in a proxy's dialect to a request, an answer to an HTTP response.

A door is configured for one proxy, and reads the original request from that proxy's headers and from no others: a
header of another dialect is the client's, whatever its name. What each proxy sends is the table `DIALECTS`; why, and
what the proxy's configuration must set, is docs/forward-auth.md.

Of the headers that only the asking proxy writes, for this door alone (the original method and URI, at the Envoy door
the peer), none reaches the rules: they are neither forwarded evidence nor a required header that arrived. All others
count as they do over gRPC. X-Forwarded-For stays as it came: its last entry is the peer, which the rules pass over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from extauthz.core.reasons import TOO_MANY_REFUSALS
from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import trim
from extauthz.wire.answer import GAP, REMEMBERED_ANSWERS, Answer, Passed

DOORS: Final = b"/forward-auth"

# The header in which Envoy is to say whose connection it received (headers_to_add; it replaces a client's copy).
ENVOY_PEER_HEADER: Final = "x-extauthz-peer"

# The denial that every proxy takes for one.
_TAKEN_BY_ALL: Final = 403

# No gateway has this id: a path that is no door's selects none, and the host does not come into it.
_NO_GATEWAY: Final = ""

RawHeaders = Sequence[tuple[bytes, bytes]]


class HttpMessage(NamedTuple):
    """An HTTP request as it arrived, unread: what HTTP says in one line, and the headers, each occurrence.

    Attributes:
        method: The method of the request to the door itself.
        target: The raw request target, with its query.
        headers: Names and values without the white space around them.
        body: Where a server reads bodies, what was announced and came; no door does.
    """

    method: str
    target: bytes
    headers: RawHeaders
    body: bytes = b""


class HttpAnswer(NamedTuple):
    """An HTTP response.

    Attributes:
        status: 200, 401, 403 or 429 from a door.
        headers: With content-length.
        body: Not to be sent to HEAD.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where one proxy says what it was asked. Each name is a header's; `None` is the request to the door itself.

    Attributes:
        method: The original method.
        uri: The original path and query; None: what stands in the target after the gateway.
        host: The original host.
        peer: Who is at the other end of the connection that the proxy received: the right-most entry of this header.
        exact: The proxy sends copies of a header one by one, as they came.
        too_many: What it is answered where there were too many denials: 403 where it takes 429 for an error.
        says: All of these headers.
        own: Those of them that the proxy writes for this door alone, and Host, which is the door's where the
            original host stands elsewhere. The rules do not see them.
        once: Those that the proxy sets, so that they come once.
    """

    method: str | None
    uri: str | None
    host: str
    peer: str
    exact: bool
    too_many: int = TOO_MANY_REFUSALS.status

    says: tuple[str, ...] = field(init=False)
    own: tuple[str, ...] = field(init=False)
    once: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        asked = tuple(name for name in (self.method, self.uri) if name is not None)
        peer = (self.peer,) if self.peer == ENVOY_PEER_HEADER else ()
        object.__setattr__(self, "says", (*asked, self.host, self.peer))
        object.__setattr__(self, "own", (*asked, *peer, "host"))
        object.__setattr__(self, "once", (*asked, *peer, self.host))


DIALECTS: Final = {
    "traefik": Dialect(
        method="x-forwarded-method", uri="x-forwarded-uri", host="x-forwarded-host", peer="x-forwarded-for", exact=True
    ),
    "caddy": Dialect(
        method="x-forwarded-method", uri="x-forwarded-uri", host="x-forwarded-host", peer="x-forwarded-for", exact=True
    ),
    # auth_request makes a 500 of all but 2xx, 401 and 403.
    "nginx": Dialect(
        method="x-original-method",
        uri="x-original-uri",
        host="host",
        peer="x-forwarded-for",
        exact=True,
        too_many=_TAKEN_BY_ALL,
    ),
    # Envoy joins copies before it asks over HTTP unless encode_raw_headers is set, and nothing here tells which.
    "envoy": Dialect(method=None, uri=None, host="host", peer=ENVOY_PEER_HEADER, exact=False),
}


class _Door(NamedTuple):
    dialect: Dialect
    gateway: str
    rest: bytes


def is_door(target: bytes) -> bool:
    """Tell whether a request target is below the doors' path: then it is decided about, whatever else it says."""
    return target.startswith(DOORS) and target[len(DOORS) : len(DOORS) + 1] in {b"", b"/", b"?"}


def dialect_of(target: bytes) -> str | None:
    """Return the dialect that a request target names, None where it names none that there is."""
    named = target.split(b"/", 3)[2:3]
    dialect = named[0].decode("latin-1") if named else ""
    return dialect if dialect in DIALECTS else None


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
    source = method = host = path = fault = ""
    headers = None
    try:
        values, repeated = _values(message.headers)
        said = {name: values.get(name) for name in dialect.says}
        for name in dialect.own:
            values.pop(name, None)
        size = sum(map(len, values.values())) + sum(map(len, values))
        headers = Headers(values, values.get, exact=dialect.exact, size=size, repeated=repeated)
        _check_once(dialect, repeated)
        source = trim(_text(said, dialect.peer).rpartition(",")[2])
        # Nothing is put in the place of what is missing: a stamp bound to it verifies for no request.
        method = message.method if dialect.method is None else _text(said, dialect.method)
        path = rest.decode() if dialect.uri is None else _text(said, dialect.uri)
        host = _text(said, dialect.host)
    except _UnreadableError as error:
        fault = str(error)
    except UnicodeDecodeError:
        fault = "the path is no UTF-8"
    return Request(caller, gateway, source, method, host, path, headers, fault)


def _values(raw: RawHeaders) -> tuple[dict[str, bytes], set[str]]:
    """Return each header's value, copies joined, and the names of those that came more than once."""
    values: dict[str, bytes] = {}
    copies: dict[str, list[bytes]] = {}
    for raw_name, value in raw:
        if not raw_name.isascii():
            raise _UnreadableError("a header's name is no ASCII")
        name = raw_name.decode().lower()
        if name not in values:
            values[name] = value
        else:
            copies.setdefault(name, [values[name]]).append(value)
    for name, found in copies.items():
        values[name] = b",".join(found)
    return values, set(copies)


def _check_once(dialect: Dialect, repeated: Collection[str]) -> None:
    for name in dialect.once:
        if name in repeated:
            # The proxy sets this header: a second one is the client's, and nothing says which.
            raise _UnreadableError(f"{name} came more than once")


def _text(said: Mapping[str, bytes | None], name: str) -> str:
    try:
        return (said[name] or b"").decode()
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"{name} is no UTF-8") from error


def encode(answer: Answer, decision_id: str, dialect: str | None = None) -> HttpAnswer:
    """Write an answer as an HTTP response.

    Args:
        answer: The answer.
        decision_id: The decision's id; it must have as many bytes as answer.GAP, which it takes the place of.
        dialect: Of the door; None if it is no door's, then it may be nginx that asks at a wrong one.
    """
    status, headers, body = _parts_of(answer)
    if status == TOO_MANY_REFUSALS.status:
        status = DIALECTS[dialect].too_many if dialect is not None else _TAKEN_BY_ALL
    gap, own = GAP.encode(), decision_id.encode()
    return HttpAnswer(
        status, [(name, own if value == gap else value) for name, value in headers], body.replace(gap, own)
    )


def _parts_of(answer: Answer) -> HttpAnswer:
    return _kept_parts(answer) if answer.kept else _build_parts(answer)


def _build_parts(answer: Answer) -> HttpAnswer:
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


_kept_parts: Final = lru_cache(maxsize=REMEMBERED_ANSWERS)(_build_parts)
# How often an answer was found already written, and how often it had to be; for whoever measures.
written_answers: Final = _kept_parts.cache_info
