"""Which principals a list trusts: exactly those in it, those that begin as an entry with "*" says, and no odd ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import gateway
from cases.generated import bounded
from config.test_faults import of_gateway
from extauthz.core.principals import LONGEST_PRINCIPAL_CHARACTERS, Principals, check_entry, is_plain

POMERIUM = "spiffe://cluster.local/ns/ingress/sa/pomerium"
LISTED = Principals([POMERIUM, "proxy.example.com", "spiffe://cluster.local/ns/edge/*", "CN=proxy,O=Example\\, Inc"])


@pytest.mark.parametrize(
    ("principal", "entry"),
    [
        (POMERIUM, POMERIUM),
        ("proxy.example.com", "proxy.example.com"),
        ("CN=proxy,O=Example\\, Inc", "CN=proxy,O=Example\\, Inc"),
        ("spiffe://cluster.local/ns/edge/sa/envoy", "spiffe://cluster.local/ns/edge/*"),
        ("spiffe://cluster.local/ns/edge/", "spiffe://cluster.local/ns/edge/*"),
    ],
)
def test_trusted_principal_is_told_with_its_entry(principal: str, entry: str) -> None:
    assert LISTED.match(principal) == entry
    assert principal in LISTED


@pytest.mark.parametrize(
    "principal",
    [
        "",
        "*",
        POMERIUM + "2",
        POMERIUM + "/",
        POMERIUM[:-1],
        "x" + POMERIUM,
        POMERIUM.upper(),
        POMERIUM.replace("cluster.local", "Cluster.local"),
        POMERIUM.replace("/sa/", "/%73a/"),
        POMERIUM.replace("/sa/", "//sa/"),
        f" {POMERIUM}",
        f"{POMERIUM} ",
        f"{POMERIUM},spiffe://cluster.local/ns/other",
        "spiffe://cluster.local/ns/edge",
        "spiffe://cluster.local/ns/edge2/sa/envoy",
        "SPIFFE://cluster.local/ns/edge/sa/envoy",
        "Proxy.example.com",
        "proxy.example.com.",
        "*.example.com",
        "spiffe://cluster.local/ns/edge/*"[:-2],
    ],
)
def test_principal_that_resembles_a_trusted_one_is_not_trusted(principal: str) -> None:
    assert LISTED.match(principal) is None


ODD = ["\0", "\r\n", "\x1b[31m", "\x7f", "\u0085", "\u00a0", "\u202e", "ö", "\ufffd", "\ud800", "!"]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_characters_in_a_principal_are_never_trusted(odd: str) -> None:
    # In a C program a NUL ends the name, so that a CA may have certified another one than we read.
    for principal in (f"{POMERIUM}{odd}", f"{odd}{POMERIUM}", f"spiffe://cluster.local/ns/edge/sa{odd}x"):
        assert not is_plain(principal)
        assert LISTED.match(principal) is None
        assert Principals(["s*"]).match(principal) is None


def test_principal_longer_than_any_is_not_trusted_by_how_it_begins() -> None:
    longest = "spiffe://cluster.local/ns/edge/".ljust(LONGEST_PRINCIPAL_CHARACTERS, "a")
    assert longest in LISTED
    assert longest + "a" not in LISTED


REFUSED = {
    "": "blank",
    " \t": "blank",
    "*": "every certificate",
    "**": "at the end alone",
    "spiffe://*/sa/x": "at the end alone",
    "*.example.com": "at the end alone",
    "spiffe://c/**": "at the end alone",
    " spiffe://c/x": "white space around",
    "spiffe://c/x\n": "white space around",
    "spiffe://c/\0x": "printable ASCII",
    "spiffe://c/\x1b[2J": "printable ASCII",
    "bücher.example": "printable ASCII",
    "spiffe://c/x!": "cannot read",
    "a" * (LONGEST_PRINCIPAL_CHARACTERS + 1): "longer than",
}


@pytest.mark.parametrize(("entry", "told"), REFUSED.items(), ids=lambda value: ascii(value)[:30])
def test_entry_that_could_be_no_principal_is_refused_with_its_place_and_the_cure(entry: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_entry(entry)
    found = of_gateway(gateway(trustedPrincipals=["proxy.example.com", entry]))
    assert list(found) == ["gateways.g.trustedPrincipals[1]"]
    assert told in found["gateways.g.trustedPrincipals[1]"]
    # What stands in the file may come from anywhere, and goes to a terminal.
    assert found["gateways.g.trustedPrincipals[1]"].isprintable()


# Few letters, so that texts begin with one another.
NAMES = st.text("ab/", min_size=1, max_size=6)
ENTRIES = st.lists(st.one_of(NAMES, NAMES.map(lambda name: name + "*")), max_size=12)


@bounded
@given(entries=ENTRIES, principal=st.text("ab/", max_size=8))
def test_lookup_is_what_comparing_with_each_entry_would_be(entries: list[str], principal: str) -> None:
    def is_trusted_by(entry: str) -> bool:
        return principal.startswith(entry[:-1]) if entry.endswith("*") else principal == entry

    trusting = [entry for entry in entries if is_trusted_by(entry)]
    found = Principals(entries).match(principal)
    assert (found is not None) == bool(trusting)
    assert found is None or found in trusting


@bounded
@given(st.text(max_size=40))
def test_nothing_but_the_entries_decides(principal: str) -> None:
    assert Principals([]).match(principal) is None
    trusted = Principals(["spiffe://c/*"]).match(principal) is not None
    assert trusted == (principal.startswith("spiffe://c/") and is_plain(principal))


def test_many_entries_are_asked_as_few_are() -> None:
    listed = Principals([f"spiffe://c/{n}" for n in range(50_000)] + [f"spiffe://d/{n}/*" for n in range(50_000)])
    assert len(listed) == 100_000
    assert listed.match("spiffe://c/49999") == "spiffe://c/49999"
    assert listed.match("spiffe://d/4242/x") == "spiffe://d/4242/*"
    assert listed.match("spiffe://d/4242") is None
