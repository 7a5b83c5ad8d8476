"""From the doors to those who look on: counted at once, everything else later, in a thread of its own.

A door never waits for a log. What it hands over stands in a bounded queue; when that is full, because a disk or a
pipe is slow, decisions go on, are counted, and are missing from the log, and how many is counted too.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from extauthz.logs import get_logger
from extauthz.recall import Decided
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Tally

_log: Final = get_logger(__name__)

# Decisions that wait to be handed on or are, and the memory of the requests they hold; more are dropped and counted.
MOST_WAITING: Final = 8192
MOST_WAITING_BYTES: Final = 16_777_216
# How long the writer rests between two looks at the queue: what a decision waits at most until it is seen.
PAUSE_SECONDS: Final = 0.05
# Decisions handed on together, and how long the writer then rests before the next ones. One thread of Python runs at
# a time: without the rest, a request would wait for a whole turn of the writer (process.SWITCH_SECONDS) to be decided.
# A door that never rests lets the writer have its turn as seldom: where many wait, more are taken at once.
# More than these would hardly be cheaper, and all lines of a batch are in memory, twice.
BATCH: Final = 64
LARGEST_BATCH: Final = 128
_SHARE_OF_WAITING: Final = 8
REST_SECONDS: Final = 0.0002
# How long what waits may take to be written when the service ends.
CLOSE_SECONDS: Final = 5.0
# How often it is said that somebody who looks on fails.
SAY_SECONDS: Final = 60.0

_now_ns: Final[Callable[[], int]] = time.time_ns  # a name of our own is found at once


class Sink(Protocol):
    """Who looks on."""

    def take(self, records: list[Record]) -> None:
        """Look at these decisions, in the order in which they were made; called every `PAUSE_SECONDS`, with none too.

        In one thread, the same for all: who waits for something lets the others wait. What it raises is logged, once
        in SAY_SECONDS, and nobody else misses anything for it.
        """

    def close(self) -> None:
        """Write what is left, and let go of everything."""


class Telemetry:
    """Counts decisions, and hands them to those who look on.

    Attributes:
        tally: The counts.
        sinks: Who looks on; set before `start`.
        dropped: Decisions that nobody but the counts saw, because the queue was full or was closed.
    """

    def __init__(
        self, sinks: Sequence[Sink] = (), *, most_waiting: int = MOST_WAITING, close_seconds: float = CLOSE_SECONDS
    ) -> None:
        self.tally: Final = Tally()
        self.sinks: Final[tuple[Sink, ...]] = tuple(sinks)
        self.dropped = 0
        self._most_waiting: Final = most_waiting
        self._close_seconds: Final = close_seconds
        # Added to without the lock: a list grows at its end, and loses what is at its beginning, in one step each.
        self._queue: Final[list[Record]] = []
        self._in_hand = 0  # taken from the queue, and not yet handed on
        self._lock: Final = threading.Lock()  # of what follows
        self._waiting_bytes = 0
        self._closed = False
        self._ended: Final = threading.Event()
        self._said: Final[dict[int, float]] = {}
        self._worker: threading.Thread | None = None  # as C, "_thread" would be a keyword

    def start(self) -> None:
        """Begin to hand on."""
        self._worker = threading.Thread(target=self._run, name="extauthz-telemetry", daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Hand on what waits, and end; not longer than `close_seconds`."""
        if self._worker is None:
            return
        self._ended.set()
        self._worker.join(self._close_seconds)
        with self._lock:
            self._closed = True  # whatever still comes is dropped
            left = len(self._queue) + self._in_hand
            self.dropped += left
        if left:
            _log.error("decisions were not handed on before the end", decisions=left)

    def decided(  # noqa: PLR0913, PLR0917 - a record's parts; by position, because a keyword costs time here
        self,
        decision_id: str,
        path: str,
        decision_ns: int,
        door_ns: int,
        trace: tuple[str, str] | None,
        decided: Decided,
    ) -> None:
        """Count a decision and hand it on; the arguments are those of `Record`. Never waits for anything slow."""
        record = Record(_now_ns(), decision_id, path, decision_ns, door_ns, trace, decided)
        self.tally.count(record)
        if self._worker is None:
            return
        # One more or less, where several threads come to the last places at once, is no matter: the bound is of memory.
        room = len(self._queue) + self._in_hand < self._most_waiting and not self._closed
        if room and decided.kept:
            self._queue.append(record)  # small, and bounded by number alone
            return
        size = record.size
        with self._lock:
            if not room or self._waiting_bytes + size > MOST_WAITING_BYTES:
                self.dropped += 1
                return
            self._waiting_bytes += size
            self._queue.append(record)

    def _run(self) -> None:
        while not self._ended.wait(PAUSE_SECONDS):
            self._hand_on()
        self._hand_on()
        for sink in self.sinks:
            try:
                sink.close()
            except Exception:  # noqa: BLE001 - the service ends all the same
                _log.exception("what was seen of the decisions could not all be written", sink=type(sink).__name__)

    def _hand_on(self) -> None:
        while True:
            waiting = len(self._queue)
            most = min(max(BATCH, waiting // _SHARE_OF_WAITING), LARGEST_BATCH)
            batch = self._queue[:most]
            with self._lock:  # so that who ends this counts none of them twice
                self._in_hand = len(batch)
                del self._queue[: len(batch)]
            self.tally.add_up()
            for sink in self.sinks:
                self._give(sink, batch)
            # Only now they are gone: who hangs holds this one batch, and it counts.
            self._in_hand = 0
            if self._waiting_bytes:  # it was counted before a record stood in the queue
                size = sum([record.size for record in batch if not record.decided.kept])
                with self._lock:
                    self._waiting_bytes -= size
            if waiting <= len(batch):
                return
            time.sleep(REST_SECONDS)

    def _give(self, sink: Sink, batch: list[Record]) -> None:
        try:
            sink.take(batch)
        except Exception:  # noqa: BLE001 - it concerns nobody else
            # A sink that fails for each decision would otherwise fill the service's own log.
            now = time.monotonic()
            if now >= self._said.get(id(sink), -SAY_SECONDS) + SAY_SECONDS:
                self._said[id(sink)] = now
                _log.exception("a decision could not be shown", sink=type(sink).__name__)
