"""From the doors to those who look on: whatever these do, decisions go on, memory is bounded, losses are counted."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cases.build import PAIRS, gateway
from cases.messages import check_request
from extauthz.telemetry import tally, telemetry
from extauthz.telemetry.record import Record
from extauthz.telemetry.telemetry import Sink, Telemetry
from extauthz.wire.pb import check_pb2 as pb
from support.build import same_build
from support.logs import captured_logs
from support.process import READY_SECONDS, wait_until
from telemetry.looking import Asking


class Keeping:
    """Keeps the ids it is shown; does something first."""

    def __init__(self, first: Callable[[Sequence[Record]], None] = lambda _: None) -> None:
        self.ids: list[str] = []
        self.batches: list[int] = []
        self.closed = 0
        self._first = first

    def take(self, records: Sequence[Record]) -> None:
        """Look at decisions."""
        self._first(records)
        if records:
            self.batches.append(len(records))
        self.ids += [record.id for record in records]

    def close(self) -> None:
        """Count how often."""
        self.closed += 1


@pytest.fixture(scope="module")
def record() -> Record:
    return Asking({"g": gateway()}).check(PAIRS)


def _tell(looking: Telemetry, record: Record, count: int, begin: int = 0) -> list[str]:
    ids = [f"{number:020x}" for number in range(begin, begin + count)]
    for one in ids:
        looking.decided(one, record.path, record.decision_ns, record.door_ns, record.trace, record.decided)
    return ids


def _started(*sinks: Sink, most_waiting: int = telemetry.MOST_WAITING) -> Telemetry:
    looking = Telemetry(sinks, most_waiting=most_waiting)
    looking.start()
    return looking


def test_everyone_sees_each_decision_once_in_order_and_in_small_portions(record: Record) -> None:
    first, second = Keeping(), Keeping()
    looking = _started(first, second)
    ids = _tell(looking, record, 1000)
    looking.close()
    assert first.ids == second.ids == ids
    assert max(first.batches) <= telemetry.LARGEST_BATCH
    assert (first.closed, second.closed, looking.dropped) == (1, 1, 0)


@pytest.fixture
def quick_turns() -> Iterator[None]:
    """Let threads interrupt each other wherever they may."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("quick_turns")
def test_many_threads_lose_no_count_and_no_decision_while_others_read() -> None:
    asking = Asking({"g": gateway()})
    allowed, recalled, denied = asking.check(PAIRS), asking.check(PAIRS), asking.check([])
    assert [record.decided.kept for record in (allowed, recalled, denied)] == [False, True, False]
    mixed = [denied, allowed, *[recalled] * 30]
    kept, threads, each = Keeping(), range(8), tally.MOST_UNCOUNTED + 100
    looking = _started(kept)
    done = threading.Event()
    totals: list[int] = []

    def tell(thread: int) -> None:
        for number in range(each):
            one = mixed[number % len(mixed)]
            looking.decided(f"{thread} {number}", one.path, 1, 2, None, one.decided)

    def read() -> None:
        while not done.is_set():
            totals.append(looking.tally.total)

    reading = threading.Thread(target=read)
    telling = [threading.Thread(target=tell, args=(thread,)) for thread in threads]
    for thread in (reading, *telling):
        thread.start()
    for thread in telling:
        thread.join()
    done.set()
    reading.join()
    assert looking.tally.total == len(threads) * each
    assert totals == sorted(totals)
    looking.close()
    assert looking.dropped == 0
    assert len(kept.ids) == len(threads) * each
    for number in threads:  # of each all, in its order
        assert [one for one in kept.ids if one.startswith(f"{number} ")] == [f"{number} {n}" for n in range(each)]


def test_one_who_fails_takes_nothing_from_the_others_and_is_said_once(record: Record) -> None:
    def fail(records: Sequence[Record]) -> None:
        if records:  # and not in between, so that "once" is not "until it works again"
            raise RuntimeError("no room")

    good = Keeping()
    with captured_logs() as said:
        looking = _started(Keeping(fail), good)
        ids: list[str] = []
        for batch in range(5):
            ids += _tell(looking, record, 10, begin=batch * 10)
            wait_until(lambda: good.ids == ids, "the batch")  # noqa: B023 - looked at within the loop
        looking.close()
    assert [line["event"] for line in said] == ["a decision could not be shown"]
    assert good.closed == 1


def test_one_who_hangs_costs_what_does_not_fit_and_what_does_is_shown_later(record: Record) -> None:
    going = threading.Event()
    slow = Keeping(lambda records: None if not records else (going.wait(), None)[1])
    looking = _started(slow, most_waiting=100)
    _tell(looking, record, 1000)
    assert looking.tally.total == 1000  # counted all the same
    assert looking.dropped == 900
    going.set()
    # Not before the last of them are out of its hands is there room: that it saw them is a moment earlier.
    wait_until(lambda: len(slow.ids) == 100 and looking._in_hand == 0, "what had waited")
    # Room again, for as many as before.
    ids = _tell(looking, record, 100, begin=5000)
    looking.close()
    assert slow.ids[100:] == ids
    assert looking.dropped == 900


def test_end_waits_for_nobody_for_ever_and_says_what_was_lost(record: Record) -> None:
    begun, going = threading.Event(), threading.Event()

    def hang(records: Sequence[Record]) -> None:
        if records:
            begun.set()
            going.wait()

    looking = Telemetry([Keeping(hang)], close_seconds=0.1)
    looking.start()
    _tell(looking, record, 100)
    assert begun.wait(READY_SECONDS)
    with captured_logs() as said:
        looking.close()
    assert (looking.dropped, said[0]["decisions"]) == (100, 100)
    _tell(looking, record, 5)
    assert looking.dropped == 105
    going.set()


@pytest.mark.only_pure  # what is compiled takes no list but its own
def test_decisions_that_are_taken_in_hand_at_the_end_are_counted_once(record: Record) -> None:
    taken, ended = threading.Event(), threading.Event()

    class Slow(list[Record]):
        """Takes its time to lose what it holds."""

        def __delitem__(self, place: Any) -> None:
            if self:
                taken.set()
                ended.wait(0.5)
            super().__delitem__(place)

    looking = Telemetry([Keeping(lambda records: None if not records else (ended.wait(), None)[1])], close_seconds=0)
    vars_of: Any = looking
    vars_of._queue = Slow()
    looking.start()
    _tell(looking, record, 5)
    assert taken.wait(READY_SECONDS)
    looking.close()
    assert looking.dropped == 5
    ended.set()


def test_decisions_before_the_start_are_counted_and_kept_for_nobody(record: Record) -> None:
    looking = Telemetry([Keeping()])
    _tell(looking, record, 10)
    looking.close()
    assert (looking.tally.total, looking.dropped) == (10, 0)


def test_large_requests_do_not_wait_in_any_number() -> None:
    asking = Asking({"g": gateway()})
    large = asking.check([*PAIRS, ("x-large", "a" * 500_000)])
    going = threading.Event()
    looking = _started(Keeping(lambda records: None if not records else (going.wait(), None)[1]))
    _tell(looking, large, 100)
    assert looking.dropped == 100 - telemetry.MOST_WAITING_BYTES // large.size
    going.set()
    looking.close()


def _without_http() -> bytes:
    message = pb.CheckRequest()
    message.attributes.context_extensions["gateway"] = "g" * 1_000_000
    return message.SerializeToString()


ODD: dict[str, Callable[[], bytes]] = {
    "many small headers": lambda: check_request([(f"h{number}", "") for number in range(200)], form="raw"),
    "many small headers, joined": lambda: check_request([(f"h{number}", "") for number in range(200)], form="map"),
    "many more than the limit": lambda: check_request([(f"h{number}", "") for number in range(5000)], form="map"),
    "a path of wide characters": lambda: check_request([], path="/\U0001f600" + "a" * 200_000),
    "nothing but a gateway of a megabyte": _without_http,
}

_FLOOD = """
import sys, threading
from cases.build import LOOPBACK, gateway
from extauthz.authorizer import Authorizer
from extauthz.telemetry import tally, telemetry
from telemetry.looking import Asking
from telemetry.test_telemetry import ODD, Keeping

def resident():
    with open("/proc/self/statm") as found:
        return int(found.read().split()[1]) * 4096

going = threading.Event()
looking = telemetry.Telemetry([Keeping(lambda records: going.wait() if records else None)])
looking.start()
authorizer = Authorizer(Asking({"g": gateway()}).authorizer.snapshot, looking)
message = ODD[sys.argv[1]]()
before = resident()
for _ in range(100_000):
    authorizer.check(message, LOOPBACK)
    if looking.dropped > 50:
        break
print(looking.dropped, (resident() - before) // 1_048_576)
going.set()
looking.close()
"""


@pytest.mark.parametrize("odd", ODD)
def test_flood_of_odd_requests_takes_no_more_memory_than_is_said(odd: str) -> None:
    # In a process of its own, of which the memory is known. The limit counts what is held; beside it the allocator
    # keeps some, and the answers' caches.
    argv = [sys.executable, "-c", _FLOOD, odd]
    ended = subprocess.run(argv, env=same_build(), capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    dropped, megabytes = map(int, ended.stdout.split())
    assert dropped > 0
    assert megabytes < 3 * telemetry.MOST_WAITING_BYTES // 1_048_576
