"""The forward-auth doors: an HTTP request in a proxy's dialect to a request, an answer to an HTTP response.

A door is configured for one proxy, and reads the original request from that proxy's headers and from no others: a
header of another dialect is the client's, whatever its name. What each proxy sends is the table `DIALECTS`; why, and
what the proxy's configuration must set, is docs/forward-auth.md.

Of the headers that only the asking proxy writes, for this door alone (the original method and URI, at the Envoy door
the peer), none reaches the rules: they are neither forwarded evidence nor a required header that arrived. All others
count as they do over gRPC. X-Forwarded-For stays as it came: its last entry is the peer, which the rules pass over.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
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

# The targets that are remembered, up to a length: but for Envoy's, a proxy asks at few, again and again.
REMEMBERED_TARGETS: Final = 1024
LONGEST_REMEMBERED_TARGET_BYTES: Final = 256
# The sets of header names that are remembered, up to a length: browsers and programs send few different ones.
REMEMBERED_SHAPES: Final = 512
LONGEST_REMEMBERED_NAMES_BYTES: Final = 4096

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
        fields: The header lines as they are sent, each with its end; with content-length where it is needed.
        body: Not to be sent to HEAD.
    """

    status: int
    fields: bytes
    body: bytes

    @classmethod
    def of(cls, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> "HttpAnswer":
        """Make an answer of header names and values.

        Raises:
            ValueError: A name or a value would be more than one header.
        """
        lines = []
        for name, value in headers:
            if _NO_NAME.search(name) or _NO_VALUE.search(value):
                raise ValueError(f"the header {name!r} cannot be sent: control characters")
            lines.append(b"%s: %s\r\n" % (name, value))
        return cls(status, b"".join(lines), body)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The names and values, for whoever looks at an answer."""
        return [(name, value) for name, _, value in (line.partition(b": ") for line in self.fields.split(b"\r\n")[:-1])]


# What is in no header's name (RFC 9110, section 5.6.2), and in no value (section 5.5).
_NO_NAME: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]|^$")
_NO_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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


_remembered_door: Final = lru_cache(maxsize=REMEMBERED_TARGETS)(_door)


class _Shape:
    """What the names of a request's headers come to at one door: the same for every request that has these names.

    Attributes:
        readable: The names are names.
        fault: Why a request with these names cannot be read; "" if it can.
        all: Those that came, folded, each once.
        copies: Where each of `all` stands among those that came; None where each came once.
        names: Those of them that the rules see.
        repeated: Those of `names` that came more than once.
        size: The bytes of `names`.
    """

    __slots__ = ("all", "copies", "fault", "names", "readable", "repeated", "size")

    def __init__(self, dialect: Dialect, raw_names: Sequence[bytes]) -> None:
        places: dict[str, list[int]] = {}
        for place, name in enumerate(raw_names):
            places.setdefault(name.decode("latin-1").lower(), []).append(place)
        self.readable: Final = all(map(bytes.isascii, raw_names))
        # The proxy sets these headers: a second one is the client's, and nothing says which.
        twice = [f"{name} came more than once" for name in dialect.once if len(places.get(name, ())) > 1]
        self.fault: Final = "a header's name is no ASCII" if not self.readable else twice[0] if twice else ""
        self.all: Final = tuple(places)
        self.copies: Final = tuple(places.values()) if len(places) < len(raw_names) else None
        self.names: Final = tuple(name for name in places if name not in dialect.own)
        self.repeated: Final = frozenset(name for name in self.names if len(places[name]) > 1)
        self.size: Final = sum(map(len, self.names))

    def values(self, raw_values: Sequence[bytes]) -> dict[str, bytes]:
        """Return each header's value, copies joined."""
        if self.copies is None:
            return dict(zip(self.all, raw_values, strict=True))
        return {
            name: b",".join([raw_values[place] for place in places])
            for name, places in zip(self.all, self.copies, strict=True)
        }


def _shape(dialect: Dialect, raw_names: tuple[bytes, ...]) -> _Shape:
    """Return the shape of these names; kept for the next request with the same, in the same order."""
    key = (dialect, raw_names)
    found = _shapes.get(key)
    if found is None:
        found = _Shape(dialect, raw_names)
        if sum(map(len, raw_names)) <= LONGEST_REMEMBERED_NAMES_BYTES:
            if len(_shapes) >= REMEMBERED_SHAPES:
                _shapes.clear()
            _shapes[key] = found
    return found


_shapes: Final[dict[tuple[Dialect, tuple[bytes, ...]], _Shape]] = {}
# The dialects and names that are remembered, for whoever looks.
remembered_shapes: Final = _shapes.keys


def decode(message: HttpMessage, caller: Caller) -> Request:
    """Read what a proxy asks at its door. Whatever cannot be read is a request that says so, and is denied."""
    method, target, pairs, _ = message
    door = _remembered_door(target) if len(target) <= LONGEST_REMEMBERED_TARGET_BYTES else _door(target)
    if door is None:
        return Request(caller, _NO_GATEWAY, "", method, "", "", None, "the path is no door's")
    dialect, gateway, rest = door
    raw_names, raw_values = zip(*pairs, strict=True) if len(pairs) else ((), ())
    shape = _shape(dialect, raw_names)
    if not shape.readable:
        return Request(caller, gateway, "", "", "", "", None, shape.fault)
    values = shape.values(raw_values)
    said = _said(dialect, values)
    for name in dialect.own:
        values.pop(name, None)
    headers = Headers(
        shape.names,
        values.get,
        exact=dialect.exact,
        size=shape.size + sum(map(len, values.values())),
        repeated=shape.repeated,
    )
    if shape.fault:
        return Request(caller, gateway, "", "", "", "", headers, shape.fault)
    source = host = path = fault = reading = ""
    try:
        reading = dialect.peer
        source = trim(said.peer.decode().rpartition(",")[2])
        # Nothing is put in the place of what is missing: a stamp bound to it verifies for no request.
        if dialect.method is not None:
            method, reading = "", dialect.method
            method = said.method.decode()
        reading = dialect.uri or "the path"
        path = (rest if dialect.uri is None else said.uri).decode()
        reading = dialect.host
        host = said.host.decode()
    except UnicodeDecodeError:
        fault = f"{reading} is no UTF-8"
    return Request(caller, gateway, source, method, host, path, headers, fault)


class _Said(NamedTuple):
    """What a proxy says of the original request, unread; b"" for what it does not say."""

    method: bytes
    uri: bytes
    host: bytes
    peer: bytes


def _said(dialect: Dialect, values: Mapping[str, bytes]) -> _Said:
    get = values.get
    return _Said(
        get(dialect.method, b"") if dialect.method is not None else b"",
        get(dialect.uri, b"") if dialect.uri is not None else b"",
        get(dialect.host, b""),
        get(dialect.peer, b""),
    )


def encode(answer: Answer, decision_id: str, dialect: str | None = None) -> HttpAnswer:
    """Write an answer as an HTTP response.

    Args:
        answer: The answer.
        decision_id: The decision's id; it must have as many bytes as answer.GAP, which it takes the place of.
        dialect: Of the door; None if it is no door's, then it may be nginx that asks at a wrong one.

    Raises:
        ValueError: A header cannot be sent.
    """
    status, fields, body = _kept_parts(answer) if answer.kept else _build_parts(answer)
    if status == TOO_MANY_REFUSALS.status:
        status = DIALECTS[dialect].too_many if dialect is not None else _TAKEN_BY_ALL
    own = decision_id.encode()
    return HttpAnswer(status, own.join(fields), own.join(body))


class _Parts(NamedTuple):
    """A response around the places of the decision's id."""

    status: int
    fields: tuple[bytes, ...]
    body: tuple[bytes, ...]


def _build_parts(answer: Answer) -> _Parts:
    if isinstance(answer, Passed):
        # HTTP has no way to say "remove this header": an empty value takes the place of the client's.
        emptied = ((name, "") for name in answer.remove_headers)
        return _parts(200, (*answer.set_headers, *emptied, ("cache-control", "no-store")), "")
    return _parts(answer.status, answer.headers, answer.body)


def _parts(status: int, headers: Iterable[tuple[str, str]], text: str) -> _Parts:
    body, gap = text.encode(), GAP.encode()
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    whole = HttpAnswer.of(status, [*encoded, (b"content-length", b"%d" % len(body))], body)
    return _Parts(status, tuple(whole.fields.split(gap)), tuple(body.split(gap)))


_kept_parts: Final = lru_cache(maxsize=REMEMBERED_ANSWERS)(_build_parts)
# How often an answer was found already written, and how often it had to be; for whoever measures.
written_answers: Final = _kept_parts.cache_info
