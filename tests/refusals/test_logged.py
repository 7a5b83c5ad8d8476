"""What is told of denials over the limit: the first of a kind, then one line for many, and none is lost unsaid."""

import json
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cases.build import gateway
from cases.generated import bounded
from extauthz.core.decision import Deny
from extauthz.telemetry.decision_log import DecisionLog, DecisionLogSettings, open_settings
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Outcome
from extauthz.telemetry.withheld import MOST_KINDS, REST_SECONDS, Withheld
from refusals.limiting import EVE as PAIRS_OF_EVE
from support.logs import captured_logs
from telemetry.looking import Asking
from telemetry.records import changed

EVE = Outcome("g", "deny", "trusted_proxy_user_not_allowed")
OTHER = Outcome("other", "deny", "trusted_proxy_user_not_allowed")


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_first_is_written_and_the_next_tells_of_those_between() -> None:
    clock = Seconds()
    withheld = Withheld(clock)
    assert [withheld.weigh(EVE) for _ in range(4)] == [0, None, None, None]
    clock.now += REST_SECONDS
    assert withheld.weigh(EVE) == 3
    assert withheld.weigh(EVE) is None
    assert withheld.total == 4


def test_kinds_are_told_apart() -> None:
    withheld = Withheld(Seconds())
    assert [withheld.weigh(EVE), withheld.weigh(OTHER)] == [0, 0]
    assert list(withheld.over(at_once=True)) == []


def test_what_no_line_tells_any_more_is_told_once() -> None:
    clock = Seconds()
    withheld = Withheld(clock)
    for _ in range(6):
        withheld.weigh(EVE)
    clock.now += 2 * REST_SECONDS - 1
    assert list(withheld.over()) == []
    clock.now += 1
    assert list(withheld.over()) == [(EVE, 5)]
    assert list(withheld.over()) == []
    assert withheld.weigh(EVE) == 0


def test_kinds_that_are_kept_apart_are_bounded() -> None:
    withheld = Withheld(Seconds())
    for number in range(MOST_KINDS + 5):
        withheld.weigh(EVE._replace(gateway=str(number)))
    assert withheld.weigh(EVE._replace(gateway=str(MOST_KINDS))) == 0  # each has its line
    assert withheld.weigh(EVE._replace(gateway="1")) is None


@bounded
@given(
    events=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 15, allow_nan=False)), max_size=60),
    looks=st.sets(st.integers(0, 59)),
)
def test_every_denial_is_in_a_line_or_counted_by_one_or_told(events: list[tuple[str, float]], looks: set[int]) -> None:
    clock = Seconds()
    withheld = Withheld(clock)
    told: Counter[str] = Counter()
    for number, (name, pause) in enumerate(events):
        clock.now += pause
        found = withheld.weigh(EVE._replace(gateway=name))
        if found is not None:
            told[name] += 1 + found
        if number in looks:
            told.update({outcome.gateway: count for outcome, count in withheld.over()})
    told.update({outcome.gateway: count for outcome, count in withheld.over(at_once=True)})
    assert told == Counter(name for name, _ in events)


def limited(record: Record, retry_after: int = 7) -> Record:
    denial = record.decided.decision
    assert isinstance(denial, Deny)
    return changed(record, decision=denial._replace(retry_after=retry_after))


def test_line_says_that_it_was_limited_and_how_many_were_withheld(tmp_path: Path) -> None:
    asking, clock, path = Asking({"g": gateway()}), Seconds(), tmp_path / "log"
    plain = asking.check(PAIRS_OF_EVE)
    log = DecisionLog(open_settings(DecisionLogSettings(output=path)), clock=clock)
    log.take([plain] * 3 + [limited(plain)] * 10)
    clock.now += REST_SECONDS
    log.take([limited(plain)] * 6)
    clock.now += 5
    with captured_logs() as said:
        log.close()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line.get("limited"), line.get("withheld")) for line in lines] == [(None, None)] * 3 + [
        (True, None),
        (True, 9),
    ]
    assert {line["reason"] for line in lines} == {"trusted_proxy_user_not_allowed"}
    assert (log.written, log.withheld, log.failed) == (5, 14, 0)
    assert [(line["gateway"], line["reason"], line["decisions"]) for line in said] == [
        ("g", "trusted_proxy_user_not_allowed", 5)
    ]


def test_flood_of_peers_does_not_fill_the_log(tmp_path: Path) -> None:
    asking, path = Asking({"g": gateway()}), tmp_path / "log"
    log = DecisionLog(open_settings(DecisionLogSettings(output=path)), clock=Seconds())
    records = [limited(asking.check(PAIRS_OF_EVE, peer=f"198.18.0.{number}")) for number in range(200)]
    log.take(records)
    log.close()
    assert len(path.read_bytes().splitlines()) == 1
    assert log.withheld == 199
