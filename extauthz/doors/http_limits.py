"""The limits of an HTTP door: of everything that a client can send or hold, and who holds how many places.

Each is reached by no proxy that works. What keeps them is http_connection.py.
"""

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from extauthz.core.address import Address, parse_address
from extauthz.core.request import Caller
from extauthz.logs import get_logger
from extauthz.wire.forward_auth import HttpAnswer

_log: Final = get_logger(__name__)

# The request line and all headers of one request, in bytes; Envoy takes 60 KiB from a client, nginx 32 KiB.
HEAD_BYTES: Final = 131_072
# Header lines for each name that `limits.headers` allows: a name may come again, as cookies do.
LINES_PER_NAME: Final = 4
# Requests of one connection that wait for the one before them; no proxy sends more than one.
MOST_WAITING: Final = 16
# Of a body that is never read, what is dropped before the connection is cut.
LINGER_BYTES: Final = 1_048_576
# Of all connections, those that addresses may hold which are no callers: one in so many. The JWKS is open to all.
STRANGERS_SHARE: Final = 4
# Of the strangers' connections, those that one address may hold: one in so many.
STRANGER_SHARE: Final = 4


class Gatekeeper(Protocol):
    """What the protocol asks of those who decide."""

    def admits(self, caller: Caller) -> bool:
        """Tell whether this caller may ask at all."""

    def refuse(self, caller: Caller) -> HttpAnswer:
        """Return the answer to bytes that are no request, or one over a limit."""


class Patience(NamedTuple):
    """How long a client is waited for, in seconds; then its connection is closed.

    Attributes:
        head: For a request to arrive whole, from its first byte, or from the connection's start.
        body: For the body behind it, where one is read.
        idle: For the next request: longer than the 90 s and 60 s after which Traefik, Caddy and nginx close theirs, so
            that none sends a request into a connection that is just being closed.
        stall: For it to read what it was sent.
        linger: A body that is not read: the connection is closed after the answer, and so that the client reads the
            answer before it hears of that, what it still sends is dropped for this long.
    """

    head: float = 10.0
    body: float = 10.0
    idle: float = 120.0
    stall: float = 10.0
    linger: float = 2.0


PATIENCE: Final = Patience()


@dataclass(slots=True, kw_only=True)
class Limits:
    """The limits of one door, and what counts against them.

    Attributes:
        connections: Connections at once.
        header_lines: Header lines of one request.
        head_bytes: The request line and all headers of one request.
        gatekeeper: Who knows the callers and how to refuse.
        door: Which door it is, for the log.
        patience: How long its clients are waited for.
    """

    connections: int
    header_lines: int
    gatekeeper: Gatekeeper
    head_bytes: int = HEAD_BYTES
    door: str = "http"
    patience: Patience = PATIENCE

    open: int = field(default=0, init=False)
    strangers: Counter[Address | None] = field(default_factory=Counter, init=False)
    full: bool = field(default=False, init=False)

    def enter(self, address: Address | None, *, stranger: bool) -> bool:
        """Count a connection in; False if there is no room for it."""
        room = self.open < self.connections
        if stranger:
            places = max(1, self.connections // STRANGERS_SHARE)
            room = room and self.strangers.total() < places
            room = room and self.strangers[address] < max(1, places // STRANGER_SHARE)
        if room:
            self.open += 1
            if stranger:
                self.strangers[address] += 1
            self.full = False
        elif not self.full:
            self.full = True  # said once, until there is room again
            _log.warning(
                "connections are refused at a door", door=self.door, open=self.open, of_strangers=self.strangers.total()
            )
        return room

    def leave(self, address: Address | None, *, stranger: bool) -> None:
        """Count a connection out."""
        self.open -= 1
        if stranger:
            self.strangers[address] -= 1
            if not self.strangers[address]:
                del self.strangers[address]


def caller_of(transport: asyncio.Transport) -> Caller:
    """Return who is at the other end of a connection."""
    found = transport.get_extra_info("socket")
    if found is not None and found.family == socket.AF_UNIX:
        return Caller(None, unix=True)
    try:
        address = found.getpeername() if found is not None else None
    except OSError:  # gone already
        return Caller(None)
    return Caller(parse_address(str(address[0]))) if isinstance(address, tuple) else Caller(None)
