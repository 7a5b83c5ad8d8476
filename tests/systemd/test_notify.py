"""What systemd hears over a real socket; and that nothing of it can hurt a service that works."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extauthz.notify import LONGEST_STATUS_CHARACTERS, Notifier
from support.process import READY_SECONDS, wait_until
from support.systemd import Listener, listening

WATCHED = {"WATCHDOG_USEC": "40000"}


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """Both kinds of socket that systemd may name."""
    where = tmp_path / "notify" if request.param == "path" else f"extauthz-test-{os.getpid()}-{time.monotonic_ns()}"
    with listening(where) as found:
        yield found


@pytest.fixture
def notifiers() -> Iterator[list[Notifier]]:
    """Those made in a test, so that no thread of theirs outlives it."""
    made: list[Notifier] = []
    yield made
    for one in made:
        one.close()
    wait_until(lambda: not feeders(), "the feeders to end")


def notifier(made: list[Notifier], systemd: Listener, **environ: str) -> Notifier:
    made.append(Notifier.from_environment({"NOTIFY_SOCKET": systemd.address, **environ}))
    return made[-1]


def test_systemd_hears_the_life_of_a_service(systemd: Listener, notifiers: list[Notifier]) -> None:
    told = notifier(notifiers, systemd)
    told.ready("serving 2 gateways")
    assert systemd.heard() == {"READY": "1", "STATUS": "serving 2 gateways"}
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    told.reloading()
    heard = systemd.heard()
    assert before <= int(heard.pop("MONOTONIC_USEC")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert heard == {"RELOADING": "1"}
    told.ready()
    assert systemd.heard() == {"READY": "1"}
    told.status("1 key waits")
    assert systemd.heard() == {"STATUS": "1 key waits"}
    told.stopping("draining, at most 10 s")
    assert systemd.heard() == {"STOPPING": "1", "STATUS": "draining, at most 10 s"}
    assert systemd.hears_nothing()


def test_a_status_cannot_say_anything_else(systemd: Listener, notifiers: list[Notifier]) -> None:
    told = notifier(notifiers, systemd)
    told.status("gateway\nMAINPID=1\nREADY=1\x00")
    assert systemd.heard() == {"STATUS": "gateway MAINPID=1 READY=1 "}
    told.status("x" * 10_000)
    assert systemd.heard() == {"STATUS": "x" * LONGEST_STATUS_CHARACTERS}
    told.status("")
    assert systemd.hears_nothing()


def test_the_watchdog_is_fed_while_the_service_is_alive(systemd: Listener, notifiers: list[Notifier]) -> None:
    told = notifier(notifiers, systemd, **WATCHED)
    told.feed_watchdog(lambda: True)
    for _ in range(3):
        assert systemd.heard() == {"WATCHDOG": "1"}


def test_a_service_that_does_not_answer_itself_is_not_kept_alive(systemd: Listener, notifiers: list[Notifier]) -> None:
    asked = threading.Semaphore(0)
    answers = [True, False, False, True]

    def alive() -> bool:
        asked.release()
        return answers.pop(0) if answers else False

    notifier(notifiers, systemd, **WATCHED).feed_watchdog(alive)
    for _ in range(7):  # asked again and again, whatever it said
        assert asked.acquire(timeout=READY_SECONDS)
    assert systemd.heard() == {"WATCHDOG": "1"}
    assert systemd.heard() == {"WATCHDOG": "1"}
    assert systemd.hears_nothing()


def test_a_question_that_raises_feeds_nothing_and_is_asked_again(systemd: Listener, notifiers: list[Notifier]) -> None:
    asked = threading.Semaphore(0)

    def alive() -> bool:
        asked.release()
        raise RuntimeError

    notifier(notifiers, systemd, **WATCHED).feed_watchdog(alive)
    for _ in range(3):
        assert asked.acquire(timeout=READY_SECONDS)
    assert systemd.hears_nothing()


def test_a_question_that_hangs_feeds_nothing(systemd: Listener, notifiers: list[Notifier]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def alive() -> bool:
        asked.set()
        return go_on.wait(READY_SECONDS)

    told = notifier(notifiers, systemd, **WATCHED)
    told.feed_watchdog(alive)
    assert asked.wait(READY_SECONDS)
    assert systemd.hears_nothing()
    told.close()
    go_on.set()
    wait_until(lambda: not feeders(), "the feeder to end")
    assert systemd.hears_nothing()


def test_a_service_that_stops_is_no_longer_asked(systemd: Listener, notifiers: list[Notifier]) -> None:
    # Seldom: a socket that nobody reads meanwhile holds ten signs of life, and no word more.
    told = notifier(notifiers, systemd, WATCHDOG_USEC="600000000")
    told.feed_watchdog(lambda: True)
    assert systemd.heard() == {"WATCHDOG": "1"}
    told.stopping()
    wait_until(lambda: not feeders(), "the feeder to end")
    assert systemd.heard() == {"STOPPING": "1"}
    told.feed_watchdog(lambda: True)
    assert feeders() == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "²"},
        {**WATCHED, "WATCHDOG_PID": "1"},
    ],
)
def test_no_watchdog_is_fed_where_systemd_wants_none(
    systemd: Listener, notifiers: list[Notifier], environ: dict[str, str]
) -> None:
    told = notifier(notifiers, systemd, **environ)
    told.feed_watchdog(lambda: True)
    assert told.watchdog_seconds is None
    assert feeders() == []


def test_the_watchdog_of_this_process_is_fed(systemd: Listener, notifiers: list[Notifier]) -> None:
    assert notifier(notifiers, systemd, **WATCHED, WATCHDOG_PID=str(os.getpid())).watchdog_seconds == pytest.approx(
        0.04
    )


@pytest.mark.parametrize("address", [None, "", "@", "notify.sock", "vsock:2:1234", "/nowhere/notify", "/" + "x" * 200])
def test_a_service_works_where_systemd_cannot_be_told(address: str | None) -> None:
    environ = WATCHED if address is None else {**WATCHED, "NOTIFY_SOCKET": address}
    told = Notifier.from_environment(environ)
    told.ready("serving")
    told.reloading()
    told.status("well")
    told.feed_watchdog(lambda: True)
    told.stopping()
    wait_until(lambda: not feeders(), "the feeder to end")


def feeders() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "extauthz-watchdog"]
