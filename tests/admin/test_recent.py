"""What is remembered of decisions: the newest, bounded in number and in bytes, and never an old policy with them."""

import gc
import json
from typing import Any

import pytest

from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.config.load import loads
from extauthz.core.address import Address
from extauthz.core.policy import Policy
from extauthz.core.request import Caller
from extauthz.telemetry.frequent import LONGEST_COUNTED_CHARACTERS, WINDOW_SECONDS, FrequentTexts
from extauthz.telemetry.history import MINUTES_KEPT, SECONDS_KEPT, History, Point
from extauthz.telemetry.recent import MOST_KEPT_BYTES, Filter, Recent
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Counted, Outcome
from extauthz.wire.forward_auth import HttpMessage
from forward_auth.opening import USER, gateway

LOOPBACK = Caller(Address(4, 0x7F000001, "", loopback=True))


class Clock:
    """A clock that a test sets."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Onlooker:
    """Keeps the records of what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def decided(self, *parts: Any) -> None:
        self.records.append(Record(1, *parts))


def records(count: int, *more: tuple[bytes, bytes], policy: str = "10.0.0.7") -> list[Record]:
    """Return decisions as the authorizer makes them."""
    onlooker = Onlooker()
    loaded = loads(json.dumps({"gateways": {"openclaw": gateway(trustedProxies=[policy])}}))
    authorizer = Authorizer(make_snapshot(loaded), onlooker)
    pairs = [(b"x-forwarded-user", USER.encode()), (b"x-forwarded-for", b"10.0.0.7"), *more]
    for _ in range(count):
        authorizer.forward(HttpMessage.of("GET", b"/forward-auth/traefik/openclaw", pairs), LOOPBACK)
    return onlooker.records


def recent(most: int = 1000) -> Recent:
    """Return an onlooker of this kind."""
    return Recent(lambda: Counted({}, {}, {}, {}, {}), lambda: ["cookie"], clock=Clock(), most=most)


def test_only_so_many_are_kept_and_the_oldest_go() -> None:
    found = recent(most=3)
    found.take(records(5))
    given = found.after(0, Filter())
    assert [number for number, _ in given.decisions] == [5, 4, 3]
    assert (given.last, given.missed) == (5, False)
    assert found.after(1, Filter()).missed
    assert not found.after(2, Filter()).missed


def test_large_requests_are_kept_by_their_bytes() -> None:
    found = recent()
    large = records(1, (b"x-large", b"a" * (MOST_KEPT_BYTES // 4)))
    found.take(large * 10)
    assert 1 <= len(found.after(0, Filter()).decisions) <= 4
    found.take(records(1, (b"x-large", b"a" * (2 * MOST_KEPT_BYTES))))
    assert len(found.after(0, Filter()).decisions) == 1


def test_policy_that_was_replaced_is_not_kept_by_what_it_decided() -> None:
    found = recent()
    old = records(3)
    replaced = id(old[0].decided.policy)
    found.take(old)
    found.after(0, Filter())
    found.take(old)
    del old
    assert replaced in _policies()
    found.take(records(1, policy="10.0.0.8"))
    assert replaced not in _policies()
    results = [line["result"] for _, line in found.after(0, Filter()).decisions]
    assert results == ["deny", *["allow"] * 6]


def _policies() -> set[int]:
    gc.collect()
    return {id(one) for one in gc.get_objects() if type(one) is Policy}  # asking a proxy of another test may raise


def test_most_frequent_is_found_among_more_than_are_counted() -> None:
    counted = FrequentTexts(Clock(), most=10)
    for number in range(1000):
        counted.add(f"noise-{number}")
        if number % 5 == 0:
            counted.add("often")
    first = counted.top(1)[0]
    assert first.text == "often"
    assert first.count - first.over <= 200 <= first.count
    assert len(counted.top(1000)) == 10


def test_what_is_counted_is_cut_and_forgotten_in_time() -> None:
    clock = Clock()
    counted = FrequentTexts(clock)
    counted.add("a" * 10_000)
    assert len(counted.top(1)[0].text) == LONGEST_COUNTED_CHARACTERS
    clock.now += WINDOW_SECONDS
    counted.add("b")
    assert {one.text[0] for one in counted.top(9)} == {"a", "b"}
    clock.now += WINDOW_SECONDS
    counted.add("b")
    assert [(one.text, one.count) for one in counted.top(9)] == [("b", 2)]
    clock.now += 5 * WINDOW_SECONDS
    counted.add("c")
    assert [one.text for one in counted.top(9)] == ["c"]
    assert counted.since == clock.now


def test_counts_over_time_are_differences_and_are_forgotten() -> None:
    decisions: dict[Outcome, int] = {}
    history = History(lambda: Counted(decisions, {}, {}, {}, {}))
    allowed, denied = Outcome("g", "allow", ""), Outcome("g", "deny", "r")
    history.sample(1000.2)
    decisions[allowed] = 5
    history.sample(1000.7)
    history.sample(1001.1)
    decisions[denied] = 2
    history.sample(1002.0)
    history.sample(1003.0)
    assert history.seconds(1003) == [Point(1000, 5, 0, 0), Point(1001, 0, 2, 0)]
    assert history.minutes(1003) == [Point(960, 5, 2, 0)]
    assert history.seconds(1001 + SECONDS_KEPT) == []
    assert history.minutes(960 + MINUTES_KEPT * 60) == []


@pytest.mark.parametrize("result", ["allow", "deny"])
def test_nothing_is_asked_of_what_is_not_wanted(result: str) -> None:
    found = recent()
    found.take(records(2))
    given = found.after(0, Filter(result=result))
    assert (len(given.decisions), given.last) == (2 if result == "allow" else 0, 2)
