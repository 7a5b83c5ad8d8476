"""What is asked: one request, as a door's wire adapter read it.

Values are what arrived; nothing is decided here. Header names are folded (text.fold) and pseudo-headers left
out by whoever builds these, so that no step has to think of it again.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from extauthz.core.address import Address
from extauthz.core.text import fold


class Caller(NamedTuple):
    """Who asks: the proxy at the other end of the door's own connection.

    Attributes:
        address: Its address; None on a unix socket or where it cannot be read.
        unix: The connection came over a unix socket.
        principals: The SANs of its verified client certificate, empty without one.
    """

    address: Address | None
    unix: bool = False
    principals: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return "unix" if self.unix else str(self.address) if self.address is not None else "unknown"


class Headers:
    """The headers of one request, by folded name; repeated ones joined with "," in order (rules.md, "value").

    Attributes:
        names: Each name once.
        read: Returns a header's value as bytes by its folded name, None if it did not arrive. Values are decoded
            only where the policy reads them.
        exact: The wire form proves how often each header came. Where it does not, one value with a comma may
            be two headers.
        repeated: The names known to have come more than once.
        size: The names' and values' bytes together cannot exceed this.
        together: All names in one text, each after a newline: for looking at all of them at once.
    """

    __slots__ = ("exact", "names", "read", "repeated", "size", "together")

    def __init__(
        self,
        names: Collection[str],
        read: Callable[[str], bytes | None],
        *,
        exact: bool,
        size: int,
        repeated: Collection[str] = (),
    ) -> None:
        self.names: Final = names
        self.read: Final = read
        self.exact: Final = exact
        self.repeated: Final = repeated
        self.size: Final = size
        self.together: Final = "\n" + "\n".join(names) if names else ""

    @classmethod
    def joined(cls, pairs: Iterable[tuple[str, bytes]], *, exact: bool, size: int) -> "Headers":
        """Make the headers from occurrences in order: names are folded, pseudo-headers left out, copies joined."""
        values: dict[str, list[bytes]] = {}
        for name, value in pairs:
            if not name.startswith(":"):
                values.setdefault(fold(name), []).append(value)
        return cls(
            values,
            {name: b",".join(copies) for name, copies in values.items()}.get,
            exact=exact,
            size=size,
            repeated={name for name, copies in values.items() if len(copies) > 1},
        )

    def came_once(self, name: str) -> bool:
        """Tell whether the wire form proves that a header that is there came exactly once."""
        return self.exact and name not in self.repeated


class Request(NamedTuple):
    """One request as the proxy described it.

    Attributes:
        caller: Who asks.
        gateway: The gateway that the proxy's own configuration names; None where it names none.
        source: The address of the connection that the proxy received, as text; "" where it said nothing.
        method: The HTTP method.
        host: The request's host as sent, with its port.
        path: The request target as sent, with its query.
        headers: The headers; None if the request cannot be read.
        fault: Why the request cannot be read, for the log; "" if it can.
        principal: The name in the client certificate of the connection that the proxy received, as the proxy took it
            from there; "" without one, and wherever the proxy cannot tell.
    """

    caller: Caller
    gateway: str | None
    source: str
    method: str
    host: str
    path: str
    headers: Headers | None
    fault: str = ""
    principal: str = ""
