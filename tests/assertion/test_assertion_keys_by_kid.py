"""Keys that have an address each: which are fetched while kids are invented, counted at the server that has them.

Most read by hand, round by round, with a clock of their own: what is counted is then the same each time.
"""

from collections.abc import Callable, Iterator

import pytest

from assertion.issuer import Issuer, PemServer
from extauthz.assertion import sources, wanted
from extauthz.assertion.rules import KeySource
from extauthz.assertion.sources import IssuerKeys, open_keys, usual_times
from gateway.servers import until

KNOWN = [f"known-{number}" for number in range(20)]


class Region:
    """A region's keys, what is known of them, and a clock."""

    def __init__(self) -> None:
        pem = Issuer().pem
        self.server = PemServer()
        self.server.keys = dict.fromkeys([*KNOWN, "good"], pem)
        self.now = 1000.0
        source = KeySource(location=self.server.url, keep_seconds=600)
        self.keys: IssuerKeys = open_keys(source, usual_times(source), monotonic=lambda: self.now)
        # No thread begins then: rounds are the test's.
        self.keys.close()

    def round(self, *wanted_kids: str) -> list[str]:
        """Have tokens with these kids, and a round a second after the last; returns what was asked of the server."""
        for kid in wanted_kids:
            self.keys.want(kid)
        before = len(self.server.asked)
        self.keys.read_now()
        self.now += 1
        return self.server.asked[before:]

    def know(self, kids: list[str]) -> None:
        """Have tokens with these until their keys are known."""
        for _ in kids:
            self.round(*(kid for kid in kids if self.keys.find(kid) is None))
        assert all(map(self.keys.find, kids))

    def rounds_until_found(self, tokens: Callable[[], list[str]]) -> int:
        """Have these tokens before each round until the good one's key is there; returns after how many rounds."""
        for number in range(1, 101):
            self.round(*tokens())
            if self.keys.find("good") is not None:
                return number
        pytest.fail("the good key was not fetched in 100 rounds")


@pytest.fixture
def region() -> Iterator[Region]:
    found = Region()
    yield found
    found.server.close()


@pytest.fixture
def invented() -> Callable[[int], list[str]]:
    """Makes kids that nobody ever had, so many."""
    numbers = iter(range(10**9))
    return lambda count: [f"invented-{next(numbers)}" for _ in range(count)]


def test_an_invented_kid_costs_one_fetch_not_one_of_each_known_key(region: Region) -> None:
    region.know(KNOWN)
    assert region.round("invented") == ["invented"]
    assert all(map(region.keys.find, KNOWN))


def test_an_invented_kid_that_comes_again_and_again_costs_one_fetch(region: Region) -> None:
    region.know(KNOWN[:1])
    asked = [kid for _ in range(30) for kid in region.round(*["invented"] * 50)]
    assert asked == ["invented"]
    region.now += wanted.FAILED_KID_SECONDS
    assert "invented" in region.round("invented")  # it may have come about since


def test_a_wanted_key_is_fetched_once_and_alone(region: Region) -> None:
    region.know(KNOWN)
    assert region.round("good", "good", "good") == ["good"]
    assert region.round("good") == []


def test_known_keys_are_read_again_each_in_its_time_while_kids_are_invented(
    region: Region, invented: Callable[[int], list[str]]
) -> None:
    region.know(KNOWN)
    asked = [kid for _ in range(120) for kid in region.round(*invented(300))]
    # In 120 s, every 60 s.
    assert {kid: asked.count(kid) for kid in KNOWN} == dict.fromkeys(KNOWN, 2)


def test_a_round_of_invented_kids_is_bounded(region: Region, invented: Callable[[int], list[str]]) -> None:
    assert len(region.round(*invented(1000))) == 8
    asked = [kid for _ in range(200) for kid in region.round()]
    assert len(asked) <= 512  # those that waited
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("before", [0, 100, 200])
def test_many_invented_kids_for_each_good_one_do_not_crowd_it_out(
    region: Region, invented: Callable[[int], list[str]], before: int
) -> None:
    region.know(KNOWN)
    region.round(*invented(1000))  # as many as can wait do, before it comes
    assert region.rounds_until_found(lambda: [*invented(before), "good", *invented(200 - before)]) <= 3


def test_invented_kids_that_are_asked_for_more_often_do_not_crowd_it_out(
    region: Region, invented: Callable[[int], list[str]]
) -> None:
    region.know(KNOWN)
    # Eight new ones for each round, each asked for 25 times as often as the good one.
    assert region.rounds_until_found(lambda: [*invented(8) * 25, "good"]) <= 3


def test_a_source_that_hangs_holds_a_round_for_the_stated_time(region: Region) -> None:
    region.know(KNOWN)
    region.now += 60

    def hang() -> None:
        region.now += 5

    region.server.on_request = hang
    began, before = region.now, len(region.server.asked)
    assert len(region.round("invented-1", "invented-2", "invented-3")) == 2
    assert region.now - 1 - began == 10 == sources.ROUND_SECONDS
    # All have their turn in the next ones, and the good one among them.
    for _ in range(15):
        region.round("good")
    assert {*KNOWN, "good"} <= set(region.server.asked[before:])


def test_a_source_that_is_busy_is_asked_for_a_good_kid_again_soon(region: Region) -> None:
    del region.server.keys["good"]
    region.server.missing = 503
    assert region.round("good") == ["good"]
    assert region.round("good") == []
    region.server.keys["good"] = region.server.keys[KNOWN[0]]
    region.now += 5
    assert region.round("good") == ["good"]
    assert region.keys.find("good") is not None


def test_an_invented_kid_is_no_fault_of_a_source_whose_keys_are_known(region: Region) -> None:
    region.know(KNOWN[:2])
    failures = region.keys.failures
    region.round("invented")
    assert region.keys.status().fault is None
    assert region.keys.failures == failures
    # Nor does it hide one.
    region.server.keys.clear()
    region.now += 60
    region.round()
    assert region.keys.status().fault is not None
    region.round("invented-2")
    assert region.keys.status().fault is not None


def test_before_any_key_is_known_the_fault_is_told(region: Region) -> None:
    # As where the address is another region's: nobody would else learn why.
    region.round("good-elsewhere")
    assert "answered 403" in str(region.keys.status().fault)


def test_each_key_counts_for_the_stated_time_and_no_longer(region: Region) -> None:
    region.know(KNOWN[:2])
    del region.server.keys[KNOWN[0]]
    for _ in range(10):
        region.now += 60
        region.round()
    assert region.keys.find(KNOWN[0]) is None
    assert region.keys.find(KNOWN[1]) is not None


def test_the_thread_goes_on_with_what_waits_unasked(invented: Callable[[int], list[str]]) -> None:
    server = PemServer(Issuer(kid="good"))
    source = KeySource(location=server.url)
    keys = open_keys(source, usual_times(source, eager=True))
    try:
        for kid in [*invented(40), "good"]:
            keys.want(kid)
        until(lambda: keys.find("good") is not None)
        until(lambda: len(server.asked) == 41)
    finally:
        keys.close()
        server.close()
