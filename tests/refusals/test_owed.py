"""How much is too much: the rate, the time until it is not, and a memory with a bound that nobody turns to his use."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.refusals import Owed, RateLimit
from refusals.limiting import SECOND

NOW = 5 * SECOND
EVE, NICK = b"eve", b"nick"


def owed(count: int = 3, seconds: int = 60, most: int = 10, seed: int = 1) -> Owed:
    return Owed(RateLimit(count, seconds), most, Random(seed).random)  # noqa: S311 - the same each time


def test_so_many_may_come_at_once_and_no_more() -> None:
    counted = owed(3)
    assert [counted.add(EVE, NOW) > 0 for _ in range(5)] == [False, False, False, True, True]


def test_who_comes_as_often_as_the_rate_says_is_never_over_it() -> None:
    counted = owed(3, 60)
    assert not any(counted.add(EVE, NOW + round_ * 20 * SECOND) for round_ in range(500))


def test_who_comes_a_little_more_often_is_over_it_in_the_end() -> None:
    counted = owed(3, 60)
    assert any(counted.add(EVE, NOW + round_ * 19 * SECOND) for round_ in range(100))


def test_who_waits_as_long_as_he_is_told_is_within_the_limit_again() -> None:
    counted = owed(3, 60)
    for _ in range(10):
        left = counted.add(EVE, NOW)
    assert left
    assert counted.add(EVE, NOW + left) == 0


def test_who_does_not_wait_stays_over_the_limit() -> None:
    counted = owed(3, 60)
    waits = [counted.add(EVE, NOW + round_ * SECOND) for round_ in range(600)]
    assert all(waits[3:])


def test_one_is_not_told_for_another() -> None:
    counted = owed(1)
    assert [counted.add(EVE, NOW) > 0 for _ in range(3)] == [False, True, True]
    assert counted.add(NICK, NOW) == 0


@pytest.mark.parametrize(("count", "seconds"), [(1, 1), (1, 3600), (100, 60), (7, 60), (999_999, 1), (999_999, 3600)])
def test_wait_is_told_within_two_periods_however_much_was_asked(count: int, seconds: int) -> None:
    counted = owed(count, seconds)
    for _ in range(min(count, 1000) + 1000):
        left = counted.add(EVE, NOW)
    assert 0 <= left <= 2 * seconds * SECOND


@bounded
@given(
    count=st.integers(1, 50),
    seconds=st.sampled_from([1, 60, 3600]),
    pauses=st.lists(st.integers(0, 200 * SECOND), min_size=1, max_size=200),
)
def test_no_more_is_within_the_limit_than_the_rate_gives(count: int, seconds: int, pauses: list[int]) -> None:
    counted, now, within = owed(count, seconds), NOW, []
    for pause in pauses:
        now += pause
        if counted.add(EVE, now) == 0:
            within.append(now)
    each = seconds * SECOND // count
    for first, start in enumerate(within):
        for past, end in enumerate(within[first:], 1):
            assert past <= count + (end - start) // each
    assert all(before <= after for before, after in pairwise(within))


@bounded
@given(keys=st.lists(st.integers(0, 60), max_size=300), most=st.integers(1, 20), seed=st.integers(0, 9))
def test_no_more_are_remembered_than_there_is_room_for(keys: list[int], most: int, seed: int) -> None:
    counted = owed(most=most, seed=seed)
    for moment, key in enumerate(keys):
        counted.add(str(key).encode(), NOW + moment)
        assert len(counted) <= most
    assert len(counted) == min(most, len(set(keys)))


def test_many_addresses_do_not_make_be_forgotten_who_is_over_the_limit() -> None:
    """Many peers fill the table: the attacker's own burst is not what he pushes out with them."""
    counted = owed(3, most=100)
    for _ in range(10):
        counted.add(EVE, NOW)
    for other in range(100_000):
        counted.add(str(other).encode(), NOW)
    assert counted.add(EVE, NOW) > 0
    assert len(counted) == 100


def test_newcomer_to_a_full_table_is_not_told_for_who_was_there() -> None:
    """Many peers fill the table: whoever comes after them is not limited for it."""
    counted = owed(3, most=100)
    for other in range(100):
        for _ in range(10):
            counted.add(str(other).encode(), NOW)
    assert [counted.add(NICK, NOW) for _ in range(3)] == [0, 0, 0]


def test_place_in_a_full_table_is_taken_from_whoever_owes_least() -> None:
    counted = owed(3, most=100)
    for other in range(50):
        counted.add(b"once" + str(other).encode(), NOW)
    later = NOW + 30 * SECOND
    over = [str(other).encode() for other in range(50)]
    for key in over * 10:
        counted.add(key, later)
    for other in range(1000):
        counted.add(b"new" + str(other).encode(), later)
    assert all(counted.add(key, later) for key in over)
    assert len(counted) == 100
