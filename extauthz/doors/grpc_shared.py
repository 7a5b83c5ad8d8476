"""What the gRPC engines share: how the door is opened, who its callers are. No server lives here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import unquote

from extauthz.authorizer import Trace
from extauthz.config.values import Endpoint
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.doors.certificates import Certificates
from extauthz.wire.reflected import SERVICE

METHOD: Final = "Check"

# The names under which the service's health is asked for: all of it, and the one service.
HEALTH_SERVICES: Final = ("", SERVICE)


class Status(IntEnum):
    """The gRPC status codes that an engine without grpcio's own answers with (grpc/grpc, doc/statuscodes.md)."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14


_TRACE_NAMES: Final = ("traceparent", "tracestate")

_REMEMBERED_PEERS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcDoorSettings:
    """How the door is opened.

    Attributes:
        endpoints: Where it listens.
        certificates: Server certificates of the TCP listeners; None for plain text.
        read_principals: Read the SANs of client certificates.
        most_calls: Calls at once; more are refused with RESOURCE_EXHAUSTED.
        most_message_bytes: One request's size; larger ones are refused with RESOURCE_EXHAUSTED.
    """

    endpoints: Sequence[Endpoint]
    certificates: Certificates | None
    read_principals: bool
    most_calls: int
    most_message_bytes: int


class GrpcServer(Protocol):
    """A gRPC door, whichever engine is in it.

    Attributes:
        endpoints: Where it listens, with the ports that the system chose; set by `start`.
    """

    endpoints: tuple[Endpoint, ...]

    def start(self) -> None:
        """Listen everywhere, or nowhere; raises DoorError."""

    def leave(self) -> None:
        """Say that the service is going: whoever checks its health stops asking. It still answers."""

    def drain(self, seconds: float) -> None:
        """Take no more calls, answer what is under way for at most `seconds`, and close."""

    def is_alive(self) -> bool:
        """Tell whether what serves still runs."""


@lru_cache(maxsize=_REMEMBERED_PEERS)
def parse_peer(peer: str) -> Caller:
    """Read gRPC's name for a peer: ipv4:1.2.3.4:5, ipv6:[::1]:5 (percent-encoded), unix: with or without a path."""
    kind, _, rest = peer.partition(":")
    if kind == "unix":
        return Caller(None, unix=True)
    if kind in ("ipv4", "ipv6"):
        return Caller(parse_address(unquote(rest).rpartition(":")[0]))
    return Caller(None)


def trace_of(metadata: Iterable[tuple[str, str | bytes]]) -> Trace | None:
    """Return the trace that a call itself belongs to: Envoy's span of asking, where Envoy traces."""
    found = [(name, value) for name, value in metadata if name in _TRACE_NAMES]
    said = dict(found)
    parent, state = (said.get(name, "") for name in _TRACE_NAMES)
    # Twice the same name is no trace that two programs would read alike.
    if not isinstance(parent, str) or not isinstance(state, str) or not parent or len(said) != len(found):
        return None
    return Trace(parent, state)
