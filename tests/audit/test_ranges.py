"""What a list of ranges admits does not depend on how it is cut into entries: nobody hides a range in pieces."""

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from audit.finding_out import found, hardened, ids
from cases.generated import bounded

WIDE = "gateway.trusted_proxies_wide_range"
EVERYTHING = "gateway.trusted_proxies_everything"

# Ranges in 10.0.0.0/20: few addresses, so that all of them can be looked at one by one.
_small = st.builds(
    lambda number, prefix: str(IPv4Network(((10 << 24) + number, prefix), strict=False)),
    st.integers(0, (1 << 12) - 1),
    st.integers(20, 32),
)
_any = st.builds(
    lambda number, prefix: str(IPv4Network((number, prefix), strict=False)),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 24),
) | st.builds(lambda number, prefix: f"{number:x}::/{prefix}", st.integers(0, 0xFFFF), st.integers(0, 16))


def _ids(entries: list[str]) -> set[str]:
    return set(ids(found({"g": hardened(trustedProxies=entries)})))


@bounded
@given(st.lists(_small, min_size=1, max_size=24))
def test_range_is_wide_where_all_of_a_larger_one_is_trusted(entries: list[str]) -> None:
    trusted = {int(address) for entry in entries for address in IPv4Network(entry)}
    larger = (range(first, first + 512) for first in range(10 << 24, (10 << 24) + (1 << 12), 512))
    assert (WIDE in _ids(entries)) == any(trusted.issuperset(block) for block in larger)


@bounded
@given(st.lists(_any, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_entry_cut_into_halves_changes_nothing(entries: list[str], random: object) -> None:
    whole = [ip_network(entry, strict=False) for entry in entries]
    pieces = [str(half) for network in whole for half in network.subnets(prefixlen_diff=2)]
    random.shuffle(pieces)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert _ids(pieces) == _ids(entries)


@bounded
@given(st.lists(_any, min_size=1, max_size=6), _any)
def test_one_range_more_never_hides_what_the_others_admit(entries: list[str], another: str) -> None:
    before, after = _ids(entries), _ids([*entries, another])
    # Everything is more than wide.
    assert (before - {WIDE}) <= after
    assert WIDE not in before or {WIDE, EVERYTHING} & after
