"""What a name server says about one name, and which answers are never believed. Nothing here asks, waits or logs."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from extauthz.core.address import Address, AddressSet, parse_entry

# Of one kind, in one answer. No proxy has so many addresses; whoever may fill an answer trusts whole networks with it.
MOST_ADDRESSES: Final = 32


class Kind(Enum):
    """The kinds of record that are asked for (RFC 1035, RFC 3596)."""

    A = "A"
    AAAA = "AAAA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server says about a name and a kind.

    Attributes:
        addresses: All of them; none where the server says that there are none.
        ttl: How long that holds by its word, in seconds.
        absence: Where there are none, what the server said; else "".
    """

    addresses: frozenset[Address] = frozenset()
    ttl: float = 0.0
    absence: str = ""


class LookupFailedError(Exception):
    """No answer came, or none that can be used. The text says why, and is the same for the same cause."""


class RefusedAnswerError(LookupFailedError):
    """An answer came that nobody may be trusted by."""


def _ranges(*texts: str) -> AddressSet:
    return AddressSet(map(parse_entry, texts))


# From none of these does a proxy on another host connect (RFC 6890; RFC 4291, section 2.5.5.1; RFC 3927; RFC 4291).
_NEVER: Final = (
    ("loopback, where every process of this host could be anyone", _ranges("127.0.0.0/8", "::1/128")),
    ("no address of any host", _ranges("0.0.0.0/8", "::/96", "240.0.0.0/4")),
    ("multicast, and no single host's", _ranges("224.0.0.0/4", "ff00::/8")),
    ("link-local, which every link has anew", _ranges("169.254.0.0/16", "fe80::/10")),
)


def refuse(addresses: Collection[Address]) -> None:
    """Refuse an answer as a whole for one address that no proxy has, or for too many.

    Raises:
        RefusedAnswerError: It is refused; the text names the address.
    """
    if len(addresses) > MOST_ADDRESSES:
        raise RefusedAnswerError(
            f"the answer has {len(addresses)} addresses, and no more than {MOST_ADDRESSES} are taken"
        )
    for address in sorted(addresses):
        for what, never in _NEVER:
            if address in never:
                raise RefusedAnswerError(f"the answer has {address}, which is {what}")
