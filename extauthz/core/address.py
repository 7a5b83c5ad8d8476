"""Addresses and ranges: what counts as one, and whether one is in a list.

The text forms accepted are those of rules.md, "Addresses": canonical text only. Names are not resolved and
no file or socket is touched.
"""

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from extauthz.core.text import trim

# Parsing is remembered for this many distinct texts: the peers of a service are few and come again.
REMEMBERED_ADDRESSES: Final = 4096
# The longest text that can be an address: an IPv6 address with a zone. Longer ones are not worth remembering.
LONGEST_ADDRESS_CHARACTERS: Final = 128

_V4_LOOPBACK: Final = 127
_MAPPED_BITS: Final = 96
_WIDTH: Final = {4: 32, 6: 128}


class Address(NamedTuple):
    """One IP address. An IPv4-mapped IPv6 address is held as the IPv4 address that it is.

    Attributes:
        version: 4 or 6.
        number: The address as an integer.
        zone: The zone id behind "%", or "". Two addresses with different zones are different.
        loopback: In 127.0.0.0/8 or ::1, in whatever form it was written.
    """

    version: int
    number: int
    zone: str
    loopback: bool

    def __str__(self) -> str:
        return _text(self)


@lru_cache(maxsize=REMEMBERED_ADDRESSES)
def _text(address: Address) -> str:
    text = str(IPv4Address(address.number) if address.version == 4 else IPv6Address(address.number))
    return f"{text}%{address.zone}" if address.zone else text


class Network(NamedTuple):
    """One range of addresses, host bits cleared.

    Attributes:
        version: 4 or 6.
        first: The lowest address of the range as an integer.
        prefix: The prefix length in bits.
    """

    version: int
    first: int
    prefix: int

    @property
    def last(self) -> int:
        """The highest address of the range as an integer."""
        return self.first | ((1 << (_WIDTH[self.version] - self.prefix)) - 1)

    def __str__(self) -> str:
        base = IPv4Address(self.first) if self.version == 4 else IPv6Address(self.first)
        return f"{base}/{self.prefix}"


def parse_address(text: str | None) -> Address | None:
    """Read an address; None for what is no address (a unix socket, a name, one with a port).

    Surrounding white space and one pair of brackets are removed. Leading zeros, hexadecimal and short IPv4
    forms are no addresses.
    """
    if text is None or len(text) > LONGEST_ADDRESS_CHARACTERS:
        return None
    try:
        return _known[text]
    except KeyError:
        if len(_known) >= REMEMBERED_ADDRESSES:
            _known.clear()
        address = _known[text] = _parse(text)
        return address


_known: Final[dict[str, Address | None]] = {}


def _parse(text: str) -> Address | None:
    text = trim(text)
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        if ":" not in text:
            number = int(IPv4Address(text))
            return Address(4, number, "", number >> 24 == _V4_LOOPBACK)
        six = IPv6Address(text)
    except AddressValueError:
        return None
    zone = six.scope_id or ""
    if six.ipv4_mapped is not None:
        number = int(six.ipv4_mapped)
        return Address(4, number, zone, number >> 24 == _V4_LOOPBACK)
    number = int(six)
    return Address(6, number, zone, number == 1)


def parse_entry(text: str) -> Address | Network:
    """Read one entry of an address list: an address, or a range as address/prefix.

    Raises:
        ValueError: Saying what is wrong and what is wanted instead. Nothing is skipped or guessed.
    """
    entry = trim(text)
    if not entry:
        raise ValueError("is blank: write an IP address or a range such as 10.0.0.0/24")
    if "/" not in entry:
        address = parse_address(entry)
        if address is None:
            raise ValueError(_not_an_address(entry))
        return address
    base_text, _, prefix_text = entry.partition("/")
    if base_text.startswith("["):
        raise ValueError(f"{entry!r} has brackets around the base of a range: write it without them")
    # Trimmed already as a whole: white space here would be inside the entry, where it has no business.
    base = parse_address(base_text) if base_text == trim(base_text) else None
    if base is None:
        raise ValueError(f"{entry!r}: the base of the range {_not_an_address(base_text)}")
    return _network(entry, base, prefix_text, mapped=":" in base_text and base.version == 4)


def _network(entry: str, base: Address, prefix_text: str, *, mapped: bool) -> Network:
    width = 128 if mapped else _WIDTH[base.version]
    digits = prefix_text.lstrip("0") or "0"
    # The length is looked at first: a number of a thousand digits is no prefix and need not be computed.
    if not (prefix_text.isascii() and prefix_text.isdigit()) or len(digits) > 3 or int(digits) > width:
        raise ValueError(f"{entry!r}: the prefix length must be a number from 0 to {width}")
    prefix = int(digits)
    if mapped and prefix >= _MAPPED_BITS:
        version, number, prefix = 4, base.number, prefix - _MAPPED_BITS
    elif mapped:
        version, number = 6, (0xFFFF << 32) | base.number
    else:
        version, number = base.version, base.number
    host_bits = _WIDTH[version] - prefix
    return Network(version, number >> host_bits << host_bits, prefix)


def _not_an_address(text: str) -> str:
    return (
        f"{text!r} is not an IP address in canonical form: write four decimal numbers without leading zeros, "
        "or an IPv6 address; names, wildcards, ports and netmasks are not understood"
    )


class _Intervals:
    """Ranges of one version of IP, merged into disjoint intervals.

    Attributes:
        first: The lowest address of each, in order.
        last: The highest.
    """

    __slots__ = ("first", "last")

    def __init__(self, networks: Iterable[Network]) -> None:
        """Merge ranges that come in the order of their lowest addresses."""
        self.first: Final[list[int]] = []
        self.last: Final[list[int]] = []
        for network in networks:
            if self.last and network.first <= self.last[-1] + 1:
                self.last[-1] = max(self.last[-1], network.last)
            else:
                self.first.append(network.first)
                self.last.append(network.last)


class AddressSet:
    """An immutable set of addresses and ranges. Asking takes the same time for ten entries and for ten thousand.

    Exact entries are a hash set. Ranges are merged into disjoint intervals and found by bisection.
    """

    __slots__ = ("_exact", "_four", "_six", "entries")

    def __init__(self, entries: Iterable[Address | Network] = ()) -> None:
        self.entries: Final = tuple(entries)
        self._exact: Final = frozenset(entry for entry in self.entries if isinstance(entry, Address))
        networks = sorted(entry for entry in self.entries if isinstance(entry, Network))
        self._four: Final = _Intervals(network for network in networks if network.version == 4)
        self._six: Final = _Intervals(network for network in networks if network.version == 6)

    def __contains__(self, address: Address) -> bool:
        if address in self._exact:
            return True
        intervals = self._four if address.version == 4 else self._six
        first = intervals.first
        if not first:
            return False
        number = address.number
        position = bisect_right(first, number)
        return position > 0 and number <= intervals.last[position - 1]

    def __len__(self) -> int:
        return len(self.entries)

    def nearest(self, address: Address) -> Address | Network | None:
        """Return the entry numerically closest to `address` and of its version: what a hint would point at."""

        def distance(entry: Address | Network) -> int:
            first, last = (entry.number, entry.number) if isinstance(entry, Address) else (entry.first, entry.last)
            return max(first - address.number, address.number - last, 0)

        return min((entry for entry in self.entries if entry.version == address.version), key=distance, default=None)
