"""Lists of addresses as an attacker reads them: how much they admit, whatever the entries are cut into."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Final

from extauthz.core.address import Address, Network

LONGEST_WIDE_PREFIX: Final = {4: 23, 6: 63}
"""A range wider than /24 or /64, one network segment, is more than the addresses of a proxy."""

# What can be an address on the Internet: all of IPv4, and of IPv6 what is given out, 2000::/3 (RFC 4291, section 2.4).
_SPACE: Final = {4: Network(4, 0, 0), 6: Network(6, 1 << 125, 3)}
_LOOPBACK: Final = {4: Network(4, 127 << 24, 8), 6: Network(6, 1, 128)}
_WIDTH: Final = {4: 32, 6: 128}

SHOWN_ENTRIES: Final = 3
"""Entries that a message names; of more, the number is told."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list of addresses.

    Attributes:
        place: Where it stands: gateways.openclaw.trustedProxies[1].
        value: What it means.
    """

    place: str
    value: Address | Network

    @property
    def range(self) -> Network | None:
        """The range, if it is one: more than a single address."""
        value = self.value
        return value if isinstance(value, Network) and value.prefix < _WIDTH[value.version] else None

    @property
    def loopback(self) -> bool:
        """It is exactly one address, of loopback."""
        value = self.value
        if isinstance(value, Address):
            return value.loopback
        return self.range is None and _overlap(value, _LOOPBACK[value.version]) > 0

    def __str__(self) -> str:
        return f"{self.place} is {self.value}"


def everything(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield where the entries together admit more than half of all addresses of a version.

    Not only all of them: 0.0.0.0/1 with 128.0.0.0/2 is meant to look like less than 0.0.0.0/0, and is as good as it.
    """
    for version, space in _SPACE.items():
        if not _is_everything(entries, version):
            continue
        parts = [(entry, value) for entry, value in _ranges(entries, version) if _overlap(value, space) > 0]
        whole = sum(_overlap(network, space) for network in _collapsed(parts)) == _size(space)
        share = "all" if whole else "more than half of all"
        yield f"{listed([entry for entry, _ in parts])}: {share} IPv{version} addresses"


def wide(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the ranges that are wider than one network segment, adjacent ones taken together.

    Where the entries admit everything, that is said by `everything` and not here.
    """
    for version, longest in LONGEST_WIDE_PREFIX.items():
        if _is_everything(entries, version):
            continue
        found = _ranges(entries, version)
        merged = _collapsed(found)
        parts: dict[Network, list[Entry]] = {network: [] for network in merged}
        starts = [network.first for network in merged]  # in order, and no two overlap
        for entry, value in found:
            parts[merged[bisect_right(starts, value.first) - 1]].append(entry)
        for network in merged:
            if network.prefix <= longest:
                together = "" if len(parts[network]) == 1 else f", together {network}"
                yield f"{listed(parts[network])}{together}: {_count(network)}"


def covering_loopback(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the ranges, not single addresses, in which loopback addresses lie."""
    for entry in entries:
        network = entry.range
        if network is not None and _overlap(network, _LOOPBACK[network.version]) > 0:
            yield f"{entry}, in which loopback addresses lie"


def is_loopback(entry: Entry) -> bool:
    """Tell whether all addresses of an entry are loopback."""
    value = entry.value
    return entry.loopback or (isinstance(value, Network) and _overlap(value, _LOOPBACK[value.version]) == _size(value))


def listed(entries: Sequence[Entry]) -> str:
    """Name the entries for a message, the first ones where there are many."""
    shown = ", ".join(map(str, entries[:SHOWN_ENTRIES]))
    more = len(entries) - SHOWN_ENTRIES
    return f"{shown}, and {more} more" if more > 0 else shown


def _ranges(entries: Iterable[Entry], version: int) -> list[tuple[Entry, Network]]:
    # A range of one address counts here: beside others it may be what makes a larger one whole.
    return [
        (entry, entry.value) for entry in entries if isinstance(entry.value, Network) and entry.value.version == version
    ]


def _is_everything(entries: Iterable[Entry], version: int) -> bool:
    space = _SPACE[version]
    return 2 * sum(_overlap(network, space) for network in _collapsed(_ranges(entries, version))) > _size(space)


def _collapsed(ranges: Iterable[tuple[Entry, Network]]) -> list[Network]:
    """Return the fewest ranges that hold the same addresses, in order. All are of one version."""
    networks = [network for _, network in ranges]
    four = collapse_addresses(IPv4Network((net.first, net.prefix)) for net in networks if net.version == 4)
    six = collapse_addresses(IPv6Network((net.first, net.prefix)) for net in networks if net.version == 6)
    merged: list[IPv4Network | IPv6Network] = [*four, *six]
    return [Network(net.version, int(net.network_address), net.prefixlen) for net in merged]


def _overlap(one: Network, other: Network) -> int:
    """Return how many addresses two ranges of one version share."""
    return max(0, min(one.last, other.last) - max(one.first, other.first) + 1)


def _size(network: Network) -> int:
    return network.last - network.first + 1


def _count(network: Network) -> str:
    if network.version == 6:
        return f"{1 << (64 - network.prefix):,} networks of /64"
    return f"{_size(network):,} addresses"
