"""Counts are exact: each decision once, each time in its bucket, however often they are read."""

from bisect import bisect_left
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, gateway
from cases.generated import bounded
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import BUCKETS_NS, Outcome, Tally
from telemetry.looking import Asking
from telemetry.records import changed

_asking = Asking({"a": gateway(), "b": gateway()})
_recalled = {name: [_asking.check(PAIRS, gateway=name) for _ in range(2)][1] for name in "ab"}
_denied = _asking.check([])
_records = [*_recalled.values(), _denied]

_near_bounds = st.sampled_from(BUCKETS_NS).flatmap(lambda bound: st.integers(bound - 1, bound + 1))
_times = _near_bounds | st.integers(0, 2 * BUCKETS_NS[-1]) | st.just(10**18)


def test_allow_that_is_asked_for_again_is_recalled() -> None:
    assert [record.decided.kept for record in _records] == [True, True, False]


@bounded
@given(st.lists(st.tuples(st.sampled_from(_records), _times, _times), max_size=60), st.integers(1, 9))
def test_each_time_is_in_its_bucket_and_each_decision_in_its_outcome(
    told: list[tuple[Record, int, int]], read_each: int
) -> None:
    tally = Tally()
    for number, (record, decision_ns, door_ns) in enumerate(told):
        tally.count(changed(record, decision_ns=decision_ns, door_ns=door_ns))
        if number % read_each == 0:
            assert tally.total == number + 1
    counted = tally.read()
    expected = Counter(_outcome(record) for record, _, _ in told)
    assert {outcome: count for outcome, count in counted.decisions.items() if count} == expected
    for found, position in ((counted.decision, 1), (counted.door, 2)):
        taken: list[int] = [one[position] for one in told]  # type: ignore[misc]
        buckets = Counter(bisect_left(BUCKETS_NS, time) for time in taken)
        if told:
            assert found["grpc"].counts == [buckets[bucket] for bucket in range(len(BUCKETS_NS) + 1)]
            assert found["grpc"].sum_ns == sum(taken)
        else:
            assert found == {}


def _outcome(record: Record) -> Outcome:
    for name, recalled in _recalled.items():
        if record is recalled:
            return Outcome(name, "allow", "")
    return Outcome("", "deny", "gateway_unknown")


def test_what_was_read_does_not_change_any_more() -> None:
    tally = Tally()
    tally.count(_recalled["a"])
    before = tally.read()
    tally.count(_recalled["a"])
    assert sum(before.door["grpc"].counts) == sum(before.decisions.values()) == 1
