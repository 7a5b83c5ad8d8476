"""What many lines of one gateway have in common: names of headers as they are told, and the clients behind a peer.

Remembered while a policy is told of, in bounded number. Nothing is weighed again.
"""

from collections.abc import Collection, Iterable
from typing import Final, Literal, NamedTuple

from extauthz.core.address import Address, AddressSet
from extauthz.core.attribution import client_behind
from extauthz.core.policy import Gateway
from extauthz.core.principals import LONGEST_PRINCIPAL_CHARACTERS
from extauthz.core.request import Headers
from extauthz.core.steps import FORWARDED_FOR, REAL_IP, WEIGHED
from extauthz.telemetry.json_text import quote
from extauthz.telemetry.paths import cut

# Header names in one line, and their characters together; how many more there were is told.
MOST_NAMES: Final = 128
MOST_NAME_CHARACTERS: Final = 4096
# A value that is longer is told as being there. An address of e-mail has 254 characters, a chain of ten hops 400.
LONGEST_VALUE_BYTES: Final = 1024

# The sets of header names that are remembered: browsers and programs send few different ones.
REMEMBERED_NAME_SETS: Final = 512
# The clients that are remembered, by what named them: 2 KB each at most.
REMEMBERED_CLIENTS: Final = 2048

REDACTED: Final = "[redacted]"

# What is told of a header: its value, or that it is there.
Value = str | Literal[True]


class Names(NamedTuple):
    """What a set of header names comes to in a line of one gateway.

    Attributes:
        told: Each name that is told, as being there.
        weighed: Those of them whose value the rules weigh.
        required: Those that are required, and not weighed.
        more: Names that are not told.
        gaps: Those that are weighed, in the order in which they are told.
        parts: `told` as JSON, cut where the value of each of these stands.
    """

    told: dict[str, Value]
    weighed: tuple[str, ...]
    required: tuple[str, ...]
    more: int
    gaps: tuple[str, ...]
    parts: tuple[str, ...]


class Memory:
    """What many lines of one policy have in common; shared by all gateways, so that there is one bound for all."""

    def __init__(self) -> None:
        self.names: Final[dict[tuple[str, str], Names]] = {}
        self.clients: Final[dict[tuple[str, Address, str | None, str | None, bool], str | None]] = {}


class GatewayLines:
    """What is the same for all lines of one gateway; None stands for no gateway."""

    def __init__(self, gateway: Gateway | None, redact: frozenset[str], memory: Memory) -> None:
        own = (gateway.user_header,) if gateway is not None and gateway.user_header else ()
        # A token is told as being there, whatever else its header may be, and whatever `redact` says.
        token = gateway.assertion.header if gateway is not None and gateway.assertion is not None else ""
        self._weighed: Final = dict.fromkeys(name for name in (*own, *WEIGHED) if name != token)
        required = gateway.required_headers if gateway is not None else ()
        self._required: Final = dict.fromkeys(one.name for one in required if one.name not in self._weighed)
        self._id: Final = gateway.id if gateway is not None else ""
        self._trusted: Final = gateway.trusted_proxies if gateway is not None else AddressSet()
        self.principals: Final = gateway.trusted_principals if gateway is not None else None
        # Whom a gateway trusts by address alone is looked up once for many lines.
        self._trusts: Final = gateway.trusts if gateway is not None and self.principals is not None else None
        self._real_ip: Final = gateway is not None and gateway.allow_real_ip_fallback
        # Which of the two named the client is not asked: redacting one hides both.
        self._hidden: Final = FORWARDED_FOR in redact or (self._real_ip and REAL_IP in redact)
        self._memory: Final = memory

    def client(self, peer: Address | None, headers: Headers | None, principal: str) -> str | None:
        """Return the address of the client behind a peer, where it is known."""
        if peer is None:
            return None
        chain = _end_of(headers, FORWARDED_FOR) if headers is not None else None
        real = _end_of(headers, REAL_IP) if headers is not None and self._real_ip else None
        remembered = self._memory.clients
        proved = self._trusts is not None and self._trusts(peer, principal)
        key = (self._id, peer, chain, real, proved)
        if key in remembered:
            return remembered[key]
        trusted = proved if self._trusts is not None else peer in self._trusted
        found = client_behind(peer, self._trusted, forwarded_for=chain, real_ip=real) if trusted else peer
        told = None if found is None else REDACTED if self._hidden and trusted else str(found)
        if len(remembered) >= REMEMBERED_CLIENTS:
            remembered.clear()
        remembered[key] = told
        return told

    def proof(self, principal: str) -> str:
        """Return what the line says of a principal, as JSON."""
        entry = self.principals.match(principal) if self.principals is not None else None
        shown = quote(cut(principal, LONGEST_PRINCIPAL_CHARACTERS))
        return f',"principal":{shown},"matched":{quote(entry) if entry is not None else "null"}'

    def names(self, headers: Headers) -> Names:
        """Sort the names of a request's headers."""
        remembered = self._memory.names
        key = (self._id, headers.together)
        found = remembered.get(key)
        if found is None:
            found = self._sort(headers.names)
            if len(headers.together) <= MOST_NAME_CHARACTERS:
                if len(remembered) >= REMEMBERED_NAME_SETS:
                    remembered.clear()
                remembered[key] = found
        return found

    def _sort(self, names: Collection[str]) -> Names:
        left = MOST_NAME_CHARACTERS
        told: dict[str, Value] = {}
        for name in names if len(names) <= MOST_NAMES else self._first(names):
            left -= len(name)
            if left < 0 or len(told) == MOST_NAMES:
                break
            told[name] = True
        weighed = tuple(name for name in self._weighed if name in told)
        required = tuple(name for name in self._required if name in told)
        parts, gaps = [""], []
        for position, name in enumerate(told):
            parts[-1] += f"{',' if position else ''}{quote(name)}:"
            if name in self._weighed:
                gaps.append(name)
                parts.append("")
            else:
                parts[-1] += "true"
        return Names(told, weighed, required, len(names) - len(told), tuple(gaps), tuple(parts))

    def _first(self, names: Collection[str]) -> Iterable[str]:
        """Return names with those first that matter: the others do not crowd them out."""
        matter = [name for name in (*self._weighed, *self._required) if name in names]
        return dict.fromkeys((*matter, *names))


def _end_of(headers: Headers, name: str) -> str | None:
    """Return the end of a list, where the nearest proxy wrote; None where the header did not come.

    What a client writes in front, however long, does not hide what stands there.
    """
    value = headers.read(name)
    if value is None or len(value) <= LONGEST_VALUE_BYTES:
        return value.decode(errors="replace") if value is not None else None
    return value[-LONGEST_VALUE_BYTES:].partition(b",")[2].decode(errors="replace")
