"""CheckRequests as Envoy writes them, in either header encoding, and CheckResponses as Envoy acts on them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from extauthz.wire.pb import check_pb2 as pb

Form = Literal["map", "raw"]
FORMS: tuple[Form, ...] = ("map", "raw")
Pairs = Sequence[tuple[str, str | bytes]]

OK = 0
SOURCE_PORT = 40_000
LONGEST_VALUE_BYTES = 16_384


def check_request(
    pairs: Pairs,
    *,
    form: Form = "raw",
    gateway: str | None = "g",
    peer: str | None = "10.0.0.7",
    method: str = "GET",
    host: str = "gateway.example.com",
    path: str = "/",
    principal: str | bytes = "",
) -> bytes:
    """Return the bytes of a CheckRequest about a request with these headers."""
    message = pb.CheckRequest()
    attributes = message.attributes
    if peer is not None:
        attributes.source.address.socket_address.address = peer.encode(errors="surrogatepass")
        attributes.source.address.socket_address.port_value = SOURCE_PORT
    attributes.source.principal = _bytes(principal)
    if gateway is not None:
        attributes.context_extensions["gateway"] = gateway
    http = attributes.request.http
    http.method, http.host, http.path, http.scheme, http.protocol = method, host, path, "http", "HTTP/1.1"
    pseudo = [(":authority", host), (":path", path), (":method", method), (":scheme", "http")]
    if form == "raw":
        for name, value in [*pseudo, *pairs]:
            http.header_map.headers.add(key=name.lower() if name.isascii() else name, raw_value=_bytes(value))
        return message.SerializeToString()
    joined: dict[str, bytes] = {}
    for name, value in [*pseudo, *pairs]:
        key = name.lower() if name.isascii() else name
        joined[key] = joined[key] + b"," + _bytes(value) if key in joined else _bytes(value)
    for name, value in joined.items():
        http.headers[name] = value
    return message.SerializeToString()


@dataclass(frozen=True)
class Outcome:
    """What Envoy makes of a CheckResponse.

    Attributes:
        passes: The request goes on.
        status: What the client gets, 200 where the request goes on.
        reason: As it stands in the metadata.
        user: The same.
        response: All of it.
    """

    passes: bool
    status: int
    reason: str
    user: str
    response: pb.CheckResponse

    @property
    def told(self) -> str:
        """Return "allow:USER" or "deny:REASON"; "shadow:REASON" for a pass with a reason."""
        if self.passes:
            return f"shadow:{self.reason}" if self.reason else f"allow:{self.user}"
        return f"deny:{self.reason}"


def read(response: bytes) -> Outcome:
    """Read a CheckResponse as Envoy does: status code 0 alone decides, a denial without a status is a 403."""
    found = pb.CheckResponse.FromString(response)
    passes = found.status.code == OK
    status = 200 if passes else found.denied_response.status.code or 403
    facts = found.dynamic_metadata.fields
    return Outcome(passes, status, facts["reason"].string_value, facts["user"].string_value, found)


def upstream(response: pb.CheckResponse, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that reach the Gateway: set and append first, then remove, as Envoy does."""
    headers = [(name.lower(), value) for name, value in pairs]
    for option in response.ok_response.headers:
        name, value = option.header.key.lower(), option.header.value.decode()
        overwrite = option.append_action == pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        appends = option.append.value if option.HasField("append") else not overwrite
        if not appends:
            headers = [pair for pair in headers if pair[0] != name]
        headers.append((name, value))
    removed = {name.lower() for name in response.ok_response.headers_to_remove}
    return [pair for pair in headers if pair[0] not in removed]


def set_headers(response: pb.CheckResponse) -> Mapping[str, str]:
    """Return the headers that the answer sets, whichever way it goes."""
    options: Any = (response.ok_response if response.status.code == OK else response.denied_response).headers
    return {option.header.key: option.header.value.decode() for option in options}


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
