"""Addresses and ranges: what counts as one, and the set of them held to the standard library's networks."""

import ipaddress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.core.address import Address, AddressSet, Network, parse_address, parse_entry

_addresses = st.ip_addresses()
_near = st.integers(min_value=0, max_value=2**10)


@st.composite
def _networks(draw: st.DrawFn) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    version: Literal[4, 6] = draw(st.sampled_from((4, 6)))
    width = 32 if version == 4 else 128
    base = draw(st.ip_addresses(v=version) | _near.map(lambda n: ipaddress.ip_address(n + (version == 6) * 2**100)))
    prefix = draw(st.integers(0, width) | st.integers(width - 8, width))
    return ipaddress.ip_network(f"{base}/{prefix}", strict=False)


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


@bounded
@given(networks=st.lists(_networks(), max_size=12), exact=st.lists(_addresses, max_size=5), data=st.data())
def test_set_holds_what_plain_networks_hold(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
    exact: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
    data: st.DataObject,
) -> None:
    networks = [network for network in networks if not _mapped(network.network_address)]
    exact = [address for address in exact if not _mapped(address)]
    found = AddressSet(parse_entry(str(entry)) for entry in (*networks, *exact))
    edges = [
        ipaddress.ip_address(number) if network.version == 4 else ipaddress.IPv6Address(number)
        for network in networks
        for edge in (network.network_address, network.broadcast_address)
        for number in (int(edge) - 1, int(edge), int(edge) + 1)
        if 0 <= number < 1 << network.max_prefixlen
    ]
    for address in [*edges, *exact, *data.draw(st.lists(_addresses, max_size=5))]:
        if _mapped(address):
            continue
        wanted = address in exact or any(
            network.version == address.version and address in network for network in networks
        )
        parsed = parse_address(str(address))
        assert parsed is not None
        assert (parsed in found) == wanted, (address, networks, exact)


@bounded
@given(address=_addresses)
def test_text_of_an_address_is_the_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    parsed = parse_address(str(address))
    assert parsed is not None
    plain = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
    assert str(parsed) == str(plain)
    assert parsed.loopback == plain.is_loopback
    assert parse_address(f" [{address.exploded}]\t") == parsed


@bounded
@given(text=st.text(max_size=50) | st.text("0123456789.:abcdefx%/[] ", max_size=50))
def test_no_text_makes_the_parsers_fall_over(text: str) -> None:
    parsed = parse_address(text)
    assert parsed is None or isinstance(parsed, Address)
    try:
        entry = parse_entry(text)
    except ValueError:
        return
    assert isinstance(entry, Address | Network)


@pytest.mark.parametrize(
    "text",
    [
        *("010.0.0.1", "10.0.0.01", "0x0a.0.0.1", "10.1", "167772161", "10.0.0.1.", ".10.0.0.1", "10.0.0.256"),
        *("10.0.0.1:80", "[10.0.0.1", "10.0.0.1]", "[[10.0.0.1]]", "[10.0.0.1]:80", "localhost", "*", "", " ", "unix:"),
        *(
            "\uff11\uff10.0.0.1",
            "10.0.0.1/32",
            "fe80::1%",
            "::1::",
            "2001:db8::g",
            "::ffff:010.0.0.1",
            "[ 10.0.0.1 ]",
            "10.0.0.1\0",
        ),
    ],
)
def test_what_merely_looks_like_an_address_is_none(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::FFFF:a00:1", "10.0.0.1"),
        ("0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1"),
        ("\u00a010.0.0.1\ufeff", "10.0.0.1"),
        ("[10.0.0.1]", "10.0.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ],
)
def test_one_address_in_several_forms_is_one_address(text: str, same: str) -> None:
    assert parse_address(text) == parse_address(same)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1", "::1%lo", "[::1]"])
def test_loopback_in_every_form_is_loopback(text: str) -> None:
    parsed = parse_address(text)
    assert parsed is not None
    assert parsed.loopback


@pytest.mark.parametrize("text", ["128.0.0.1", "::2", "::127.0.0.1", "::ffff:0:127.0.0.1", "0.0.0.0", "::"])
def test_what_resembles_loopback_is_not(text: str) -> None:
    parsed = parse_address(text)
    assert parsed is not None
    assert not parsed.loopback


@pytest.mark.parametrize(
    ("entry", "means"),
    [
        ("10.0.0.5/24", "10.0.0.0/24"),
        ("10.0.0.5/024", "10.0.0.0/24"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.1.2.3/96", "0.0.0.0/0"),
        ("2001:db8::ffff/32", "2001:db8::/32"),
        (" 10.0.0.0/8\u2028", "10.0.0.0/8"),
        ("fe80::1%eth0/10", "fe80::/10"),
    ],
)
def test_range_means_what_the_rules_say(entry: str, means: str) -> None:
    assert str(parse_entry(entry)) == means


@pytest.mark.parametrize(
    "entry",
    [
        *("10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8.0", "10.0.0.0/", "/8", "10/8", "10.0/16"),
        *("10.0.0.0/255.255.255.0", "[2001:db8::]/32", "[2001:db8::/32]", "10.0.0.0/٨", "10.0.0.0 /8", "10.0.0.0/ 8"),
        *("0x0a000000/8", "010.0.0.0/8", "localhost", "*", "10.0.0.*", "::/129", "::ffff:10.0.0.0/129", "a/b/c"),
        "10.0.0.0/" + "9" * 5000,
    ],
)
def test_range_that_could_be_read_in_two_ways_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_entry(entry)


def test_exact_entry_holds_its_zone_and_a_range_ignores_it() -> None:
    exact, ranged = AddressSet([parse_entry("fe80::1%eth0")]), AddressSet([parse_entry("fe80::/10")])
    for zone, in_exact in (("%eth0", True), ("%eth1", False), ("", False)):
        address = parse_address(f"fe80::1{zone}")
        assert address is not None
        assert (address in exact) == in_exact
        assert address in ranged


def test_range_of_everything_of_one_family_has_nothing_of_the_other() -> None:
    four, six = parse_address("10.0.0.1"), parse_address("2001:db8::1")
    assert four is not None
    assert six is not None
    assert four not in AddressSet([parse_entry("::/0")])
    assert six not in AddressSet([parse_entry("0.0.0.0/0")])
    # A mapped range shorter than /96 is an IPv6 range, and mapped peers are IPv4 addresses.
    assert four not in AddressSet([parse_entry("::ffff:10.0.0.0/95")])


def test_nearest_entry_is_of_the_same_family_and_close() -> None:
    entries = AddressSet(map(parse_entry, ["10.0.0.7", "10.0.9.0/24", "192.168.0.0/16", "::1"]))
    address = parse_address("10.0.0.8")
    assert address is not None
    assert str(entries.nearest(address)) == "10.0.0.7"
    inside = parse_address("10.0.8.255")
    assert inside is not None
    assert str(entries.nearest(inside)) == "10.0.9.0/24"
    assert AddressSet().nearest(address) is None
