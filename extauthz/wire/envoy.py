"""Envoy's ext_authz over gRPC: CheckRequest bytes to a request, an answer to CheckResponse bytes.

To Envoy an empty CheckResponse means ALLOW. `encode` is the only constructor of one; it starts from a denial and
turns into a pass only for a `Passed`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import fold
from extauthz.wire.answer import GAP, REMEMBERED_ANSWERS, Answer, Passed
from extauthz.wire.pb import check_pb2 as pb

# The key of context_extensions with which a route's configuration names the gateway.
GATEWAY_EXTENSION: Final = "gateway"

# google.rpc.Code
_OK: Final = 0
_PERMISSION_DENIED: Final = 7
_UNAUTHENTICATED: Final = 16

# What stands among the headers of HTTP/2 and is none; Envoy tells it apart from them too.
PSEUDO_HEADERS: Final = frozenset({":authority", ":method", ":path", ":protocol", ":scheme"})

_OVERWRITE: Final = pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class UnreadableError(Exception):
    """The bytes are no CheckRequest."""


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
    headers = Headers(set(values) - PSEUDO_HEADERS, values.get, exact=False, size=size)
    # Envoy folds names; what another caller does not is folded here, and names that become equal are joined.
    if fold(headers.together) != headers.together:
        return Headers.joined(values.items(), exact=False, size=size)
    return headers


def _from_raw(entries: Sequence[pb.HeaderValue], size: int) -> Headers:
    """Read the raw form: one entry per occurrence, in order."""
    by_name = {entry.key: entry for entry in entries}
    count = len(by_name)
    for pseudo in PSEUDO_HEADERS:
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
