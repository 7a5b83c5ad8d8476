"""Envoy's ext_authz over gRPC: CheckRequest bytes to a request, an answer to CheckResponse bytes.

To Envoy an empty CheckResponse means ALLOW. `encode` is the only constructor of one; it starts from a denial and
turns into a pass only for a `Passed`.
"""

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from extauthz.core.request import Caller, Headers, Request
from extauthz.core.text import fold
from extauthz.wire.answer import Answer, Facts, Passed
from extauthz.wire.pb import check_pb2 as pb

# The key of context_extensions with which a route's configuration names the gateway.
GATEWAY_EXTENSION: Final = "gateway"

# google.rpc.Code
_OK: Final = 0
_PERMISSION_DENIED: Final = 7
_UNAUTHENTICATED: Final = 16

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
    source = attributes.source.address.socket_address.address
    request = attributes.request
    if not request.HasField("http"):
        return Request(caller, gateway, source, "", "", "", None, "the request has no HTTP attributes")
    http = request.http
    raw = http.header_map.headers
    headers = _from_raw(raw, len(message)) if raw else _from_map(dict(http.headers), len(message))
    return Request(caller, gateway, source, http.method, http.host, http.path, headers)


def _from_map(values: dict[str, bytes], size: int) -> Headers:
    """Read the map form: repeated headers are joined already, and how often one came is not known."""
    for pseudo in (":authority", ":method", ":path", ":scheme"):
        values.pop(pseudo, None)
    headers = Headers(values, exact=False, size=size)
    together = headers.together
    # Envoy folds names; whatever does not is folded here, and names that become equal are joined.
    if ":" in together or fold(together) != together:
        return _joined(((name, value) for name, value in values.items()), size, exact=False)
    return headers


def _from_raw(raw: Iterable[pb.HeaderValue], size: int) -> Headers:
    """Read the raw form: one entry per occurrence, in order."""
    return _joined(((header.key, header.raw_value or header.value) for header in raw), size, exact=True)


def _joined(pairs: Iterable[tuple[str, bytes]], size: int, *, exact: bool) -> Headers:
    values: dict[str, bytes] = {}
    copies: dict[str, list[bytes]] = {}
    for key, value in pairs:
        if key.startswith(":"):
            continue
        name = fold(key)
        if name not in values:
            values[name] = value
        elif name in copies:
            copies[name].append(value)
        else:
            copies[name] = [values[name], value]
    for name, found in copies.items():
        values[name] = b",".join(found)
    return Headers(values, exact=exact, size=size, repeated=frozenset(copies))


def encode(answer: Answer) -> bytes:
    """Write an answer as a CheckResponse."""
    response = pb.CheckResponse()
    facts = answer.facts
    _denied_until_passed(response, facts)
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
    _tell(response, facts)
    return response.SerializeToString()


def _denied_until_passed(response: pb.CheckResponse, facts: Facts) -> None:
    response.status.code = _PERMISSION_DENIED
    response.status.message = facts.reason


def _set(option: pb.HeaderValueOption, name: str, value: str) -> None:
    option.header.key = name
    option.header.value = value.encode()
    # Both: with neither set, Envoy 1.37 appended to the client's own copy.
    option.append.value = False
    option.append_action = _OVERWRITE


def _tell(response: pb.CheckResponse, facts: Facts) -> None:
    """Add the facts as dynamic metadata; Envoy keeps them under envoy.filters.http.ext_authz for its access log."""
    fields = response.dynamic_metadata.fields
    fields["decision"].string_value = facts.decision
    fields["gateway"].string_value = facts.gateway
    fields["reason"].string_value = facts.reason
    fields["user"].string_value = facts.user
