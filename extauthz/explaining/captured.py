"""A captured CheckRequest, in binary or as protobuf JSON, to its explanation: what the gRPC door would do with it.

Whatever the form, it becomes the bytes that Envoy would send and is read by the door's own `wire.envoy.decode`.
"""

import base64
import binascii
import difflib
import json
from typing import Any, Final

from extauthz.core.explain import explain
from extauthz.core.policy import Policy
from extauthz.core.request import Caller
from extauthz.explaining.requests import Explained, read_caller, told
from extauthz.wire import envoy
from extauthz.wire.pb import check_pb2 as pb

# gRPC puts a byte (is it compressed?) and four (how long is it?) before each message; captures often keep them.
_FRAME_BYTES: Final = 5

# The fields that are read, by where they stand. Names are protobuf's; JSON may have them in camelCase too.
_FIELDS: Final = {
    "": ("attributes",),
    "attributes": ("source", "request", "context_extensions"),
    "attributes.source": ("address", "principal"),
    "attributes.source.address": ("socket_address",),
    "attributes.source.address.socket_address": ("address", "port_value"),
    "attributes.request": ("http",),
    "attributes.request.http": ("id", "method", "headers", "header_map", "path", "host", "scheme", "protocol"),
    "attributes.request.http.header_map": ("headers",),
    "attributes.request.http.header_map.headers[]": ("key", "value", "raw_value"),
}
# Fields of Envoy's that are close to one of those and no misspelling of it; and those that are passed over anyway.
_ENVOYS: Final = frozenset({"raw_body", "service", "destination", "time", "size", "body", "pipe", "query"})


class CapturedError(ValueError):
    """The file has no CheckRequest in it; the text says what is wrong, and where."""


def explain_captured(policy: Policy, data: bytes, *, caller: str | None, longest_message: int) -> Explained:
    """Explain a captured CheckRequest.

    Args:
        policy: The policy in force.
        data: The file's content: the message in binary, with or without gRPC's frame, or as protobuf JSON.
        caller: Who asks, an IP address or `unix`; None for one that `callers` admits.
        longest_message: `limits.messageBytes`: what is longer never reaches the decision.

    Raises:
        CapturedError: It has no CheckRequest in it, or one that the door would not take.
        ValueError: `caller` is no address.
    """
    message = read_message(data)
    if len(message) > longest_message:
        raise CapturedError(
            f"the CheckRequest has {len(message)} bytes and limits.messageBytes is {longest_message}: the door refuses "
            "it undecided, and Envoy answers for itself (503 with the written configuration)"
        )
    try:
        request = envoy.decode(message, Caller(None))
    except envoy.UnreadableError as error:
        raise CapturedError(
            "is neither JSON nor a CheckRequest in binary: the door would deny it with request_malformed. Capture the "
            "message alone, not the HTTP/2 frames around it"
        ) from error
    gateway = policy.select(request.gateway, request.host)
    if gateway is not None and gateway.peer_is_caller and caller is None:
        raise CapturedError(
            f"gateway {gateway.id} has `peer: caller`, and who asked is not in a CheckRequest: say it with --caller"
        )
    return told(explain(policy, request._replace(caller=read_caller(policy, gateway, caller))))


def read_message(data: bytes) -> bytes:
    """Return the bytes of the CheckRequest in a file.

    Raises:
        CapturedError: There is none in it.
    """
    if not data.strip():
        raise CapturedError("is empty")
    # A message in binary may begin with what looks like JSON: only what is JSON throughout is taken for it.
    begins_as_json = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}
    if begins_as_json:
        try:
            return _from_json(json.loads(data.decode("utf-8-sig")))
        except RecursionError as error:
            raise CapturedError("is nested too deeply to be a CheckRequest") from error
        except json.JSONDecodeError as error:
            if not _is_message(data):
                raise CapturedError(f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
        except UnicodeDecodeError as error:
            if not _is_message(data):
                raise CapturedError(f"begins as JSON and is no UTF-8 at byte {error.start}") from error
    return _without_frame(data)


def _is_message(data: bytes) -> bool:
    try:
        envoy.decode(data, Caller(None))
    except envoy.UnreadableError:
        return False
    return True


def _without_frame(data: bytes) -> bytes:
    if len(data) >= _FRAME_BYTES and int.from_bytes(data[1:_FRAME_BYTES]) == len(data) - _FRAME_BYTES:
        if data[0] == 0:
            return data[_FRAME_BYTES:]
        if data[0] == 1:
            raise CapturedError("is a compressed gRPC message: capture it uncompressed, or decompress it first")
    return data


def _from_json(found: Any) -> bytes:
    root = _Object(found, "")
    message = pb.CheckRequest()
    attributes = root.object("attributes")
    if attributes is None:
        raise CapturedError('has no `attributes`: a CheckRequest begins {"attributes": {"source": ..., "request": ...')
    to = message.attributes
    for name, value in (attributes.raw("context_extensions", dict) or {}).items():
        to.context_extensions[_utf8(name, "context_extensions")] = attributes.text_of(
            value, f"context_extensions.{name}"
        )
    source = attributes.object("source")
    address = source.object("address") if source is not None else None
    socket = address.object("socket_address") if address is not None else None
    if socket is not None:
        to.source.address.socket_address.address = socket.text("address").encode(errors="surrogatepass")
    if source is not None:
        to.source.principal = source.text("principal").encode(errors="surrogatepass")
    request = attributes.object("request")
    http = request.object("http") if request is not None else None
    if http is not None:
        _fill(to.request.http, http)
    return message.SerializeToString()


def _fill(to: pb.AttributeContext.HttpRequest, http: "_Object") -> None:
    to.SetInParent()
    for field in ("id", "method", "path", "host", "scheme", "protocol"):
        setattr(to, field, _utf8(http.text(field), f"{http.path}.{field}"))
    for name, value in (http.raw("headers", dict) or {}).items():
        to.headers[_utf8(name, f"{http.path}.headers")] = http.text_of(value, f"headers.{name}").encode(
            errors="surrogatepass"
        )
    header_map = http.object("header_map")
    if header_map is None:
        return
    to.header_map.SetInParent()
    for position, one in enumerate(header_map.raw("headers", list) or []):
        entry = _Object(one, f"{header_map.path}.headers[{position}]", f"{http.path}.header_map.headers[]")
        to.header_map.headers.add(
            key=_utf8(entry.text("key"), f"{entry.path}.key"),
            value=entry.text("value").encode(errors="surrogatepass"),
            raw_value=entry.bytes_("raw_value"),
        )


def _utf8(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CapturedError(f"{path}: is no UTF-8, which Envoy would not send") from error
    return text


class _Object:
    """One message of the JSON form, its fields by either of their names."""

    def __init__(self, found: Any, path: str, kind: str | None = None) -> None:
        self.path = path
        if not isinstance(found, dict):
            raise CapturedError(f"{path or 'the file'}: must be an object")
        known = _FIELDS[path if kind is None else kind]
        self._values: dict[str, Any] = {}
        for key, value in found.items():
            name = _snake(key)
            if name not in known and name not in _ENVOYS:
                close = difflib.get_close_matches(name, known, 1)
                if close:
                    raise CapturedError(f"{self._at(key)}: unknown field; did you mean {close[0]!r}?")
            if name in self._values:
                raise CapturedError(f"{self._at(key)}: stands twice, in either spelling")
            self._values[name] = value

    def object(self, name: str) -> "_Object | None":
        value = self._values.get(name)
        return None if value is None else _Object(value, self._at(name))

    def raw(self, name: str, kind: type) -> Any:
        value = self._values.get(name)
        if value is not None and not isinstance(value, kind):
            raise CapturedError(f"{self._at(name)}: must be {'an object' if kind is dict else 'a list'}")
        return value

    def text(self, name: str) -> str:
        return self.text_of(self._values.get(name, ""), name)

    def text_of(self, value: Any, name: str) -> str:
        if value is None:  # protobuf JSON: as if it were not there
            return ""
        if not isinstance(value, str):
            raise CapturedError(f"{self._at(name)}: must be text")
        return value

    def bytes_(self, name: str) -> bytes:
        # Protobuf JSON takes both alphabets of base64, padded or not.
        text = self.text(name).replace("-", "+").replace("_", "/").rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise CapturedError(f"{self._at(name)}: must be base64, as protobuf JSON has bytes") from error

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isascii() and sign.isupper() else sign for sign in name)
