"""The forward-auth doors: an HTTP request in a proxy's dialect to a request, an answer to an HTTP response.

A door is configured for one proxy, and reads the original request from that proxy's headers and from no others: a
header of another dialect is the client's, whatever its name. What each proxy sends is the table `DIALECTS`; why, and
what the proxy's configuration must set, is docs/forward-auth.md.

Of the headers that only the asking proxy writes, for this door alone (the original method and URI, at the Envoy door
the peer), none reaches the rules: they are neither forwarded evidence nor a required header that arrived. All others
count as they do over gRPC. X-Forwarded-For stays as it came: its last entry is the peer, which the rules pass over.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from extauthz.core.reasons import TOO_MANY_REFUSALS
from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import trim
from extauthz.wire.answer import GAP, REMEMBERED_ANSWERS, Answer, Passed
from extauthz.wire.http_names import names_of

DOORS: Final = b"/forward-auth"
_BELOW: Final = (DOORS + b"/", DOORS + b"?")

# The header in which Envoy is to say whose connection it received (headers_to_add; it replaces a client's copy).
ENVOY_PEER_HEADER: Final = "x-extauthz-peer"

# The denial that every proxy takes for one.
_TAKEN_BY_ALL: Final = 403

# The targets that are remembered, up to a length: but for Envoy's, a proxy asks at few, again and again.
REMEMBERED_TARGETS: Final = 1024
LONGEST_REMEMBERED_TARGET_BYTES: Final = 256

# No gateway has this id: a path that is no door's selects none, and the host does not come into it.
_NO_GATEWAY: Final = ""

RawHeaders = Sequence[tuple[bytes, bytes]]


class HttpMessage(NamedTuple):
    """An HTTP request as it arrived, unread: what HTTP says in one line, and the headers, each occurrence.

    Attributes:
        method: The method of the request to the door itself.
        target: The raw request target, with its query.
        names: The headers' names, in the order in which they came.
        values: Their values, without the white space around them.
        size: All of these together cannot have more bytes than this.
        body: Where a server reads bodies, what was announced and came; no door does.
    """

    method: str
    target: bytes
    names: Sequence[bytes]
    values: Sequence[bytes]
    size: int
    body: bytes = b""

    @classmethod
    def of(cls, method: str, target: bytes, headers: RawHeaders) -> "HttpMessage":
        """Make a message of header names and values."""
        names, values = [name for name, _ in headers], [value for _, value in headers]
        return cls(method, target, names, values, len(target) + sum(map(len, names)) + sum(map(len, values)))

    @property
    def headers(self) -> RawHeaders:
        """The names, in lower case, and values."""
        return [(name.lower(), value) for name, value in zip(self.names, self.values, strict=True)]


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
        name: The proxy, as the door's path names it.
        method: The original method.
        uri: The original path and query; None: what stands in the target after the gateway.
        host: The original host.
        peer: Who is at the other end of the connection that the proxy received: the right-most entry of this header.
        exact: The proxy sends copies of a header one by one, as they came.
        too_many: What it is answered where there were too many denials: 403 where it takes 429 for an error.
        key: The name, for what is remembered by it.
        says: The method, the URI, the host and the peer.
        own: Those of them that the proxy writes for this door alone, and Host, which is the door's where the
            original host stands elsewhere. The rules do not see them.
        once: Those that the proxy sets, so that they come once.
    """

    name: str
    method: str | None
    uri: str | None
    host: str
    peer: str
    exact: bool
    too_many: int = TOO_MANY_REFUSALS.status

    key: bytes = field(init=False)
    says: tuple[str | None, ...] = field(init=False)
    own: tuple[str, ...] = field(init=False)
    once: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        asked = tuple(name for name in (self.method, self.uri) if name is not None)
        peer = (self.peer,) if self.peer == ENVOY_PEER_HEADER else ()
        object.__setattr__(self, "key", self.name.encode())
        object.__setattr__(self, "says", (self.method, self.uri, self.host, self.peer))
        object.__setattr__(self, "own", (*asked, *peer, "host"))
        object.__setattr__(self, "once", (*asked, *peer, self.host))


DIALECTS: Final = {
    "traefik": Dialect(
        name="traefik",
        method="x-forwarded-method",
        uri="x-forwarded-uri",
        host="x-forwarded-host",
        peer="x-forwarded-for",
        exact=True,
    ),
    "caddy": Dialect(
        name="caddy",
        method="x-forwarded-method",
        uri="x-forwarded-uri",
        host="x-forwarded-host",
        peer="x-forwarded-for",
        exact=True,
    ),
    # auth_request makes a 500 of all but 2xx, 401 and 403.
    "nginx": Dialect(
        name="nginx",
        method="x-original-method",
        uri="x-original-uri",
        host="host",
        peer="x-forwarded-for",
        exact=True,
        too_many=_TAKEN_BY_ALL,
    ),
    # Envoy joins copies before it asks over HTTP unless encode_raw_headers is set, and nothing here tells which.
    "envoy": Dialect(name="envoy", method=None, uri=None, host="host", peer=ENVOY_PEER_HEADER, exact=False),
}


class Door(NamedTuple):
    """A door: the dialect and the gateway that its path names, and what stands behind them in the target."""

    dialect: Dialect
    gateway: str
    rest: bytes


def is_door(target: bytes) -> bool:
    """Tell whether a request target is below the doors' path: then it is decided about, whatever else it says."""
    return target.startswith(_BELOW) or target == DOORS


def dialect_of(target: bytes) -> str | None:
    """Return the dialect that a request target names, None where it names none that there is."""
    return _remembered_dialect(target) if len(target) <= LONGEST_REMEMBERED_TARGET_BYTES else _dialect(target)


def _dialect(target: bytes) -> str | None:
    named = target.split(b"/", 3)[2:3]
    dialect = named[0].decode("latin-1") if named else ""
    return dialect if dialect in DIALECTS else None


_remembered_dialect: Final = lru_cache(maxsize=REMEMBERED_TARGETS)(_dialect)


def door_of(target: bytes) -> Door | None:
    """Return the door that a request target names, None where there is none."""
    return _remembered_door(target) if len(target) <= LONGEST_REMEMBERED_TARGET_BYTES else _door(target)


def _door(target: bytes) -> Door | None:
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
    return Door(dialect, segments[3].decode("latin-1"), target[len(own) :])


_remembered_door: Final = lru_cache(maxsize=REMEMBERED_TARGETS)(_door)


def decode(message: HttpMessage, caller: Caller) -> Request:
    """Read what a proxy asks at its door. Whatever cannot be read is a request that says so, and is denied."""
    method, target, raw_names, raw_values, size, _ = message
    door = door_of(target)
    if door is None:
        return Request(caller, _NO_GATEWAY, "", method, "", "", None, "the path is no door's")
    dialect, gateway, rest = door
    names = names_of(dialect, tuple(raw_names))
    if not names.readable:
        return Request(caller, gateway, "", "", "", "", None, names.fault)
    values = names.values(raw_values)
    said_method, said_uri, said_host, said_peer = [values.get(name, b"") if name else b"" for name in dialect.says]
    for name in dialect.own:
        values.pop(name, None)
    headers = Headers(
        names.names,
        values.get,
        exact=dialect.exact,
        size=size,
        repeated=names.repeated,
    )
    if names.fault:
        return Request(caller, gateway, "", "", "", "", headers, names.fault)
    source = host = path = fault = reading = ""
    try:
        reading = dialect.peer
        source = trim(said_peer.decode().rpartition(",")[2])
        # Nothing is put in the place of what is missing: a stamp bound to it verifies for no request.
        if dialect.method is not None:
            method, reading = "", dialect.method
            method = said_method.decode()
        reading = dialect.uri or "the path"
        path = (rest if dialect.uri is None else said_uri).decode()
        reading = dialect.host
        host = said_host.decode()
    except UnicodeDecodeError:
        fault = f"{reading} is no UTF-8"
    return Request(caller, gateway, source, method, host, path, headers, fault)


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


def lines_of(answer: Answer) -> tuple[bytes, ...]:
    """Write the answer to an allow: its header lines around each place where the decision's id stands."""
    return (_kept_parts(answer) if answer.kept else _build_parts(answer)).fields


def passed(lines: tuple[bytes, ...], decision_id: str) -> HttpAnswer:
    """Return the response to an allow, the lines of which are written."""
    return HttpAnswer(200, decision_id.encode().join(lines), b"")


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
