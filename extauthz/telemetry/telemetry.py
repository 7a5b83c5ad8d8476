"""From the doors to those who look on: counted at once, everything else later, in a thread of its own.

A door never waits for a log. What it hands over stands in a bounded queue; when that is full, because a disk or a
pipe is slow, decisions go on, are counted, and are missing from the log, and how many is counted too.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from extauthz.core.decision import Decision
from extauthz.core.policy import Policy
from extauthz.core.request import Request
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Tally

_log: Final = structlog.get_logger()

# Decisions that wait to be written, and the bytes of the requests they hold; more are dropped and counted.
MOST_WAITING: Final = 8192
MOST_WAITING_BYTES: Final = 8_388_608
# How long the writer rests between two looks at the queue: what a decision waits at most until it is seen.
PAUSE_SECONDS: Final = 0.05
# Decisions handed on together.
BATCH: Final = 512
# How long what waits may take to be written when the service ends.
CLOSE_SECONDS: Final = 5.0


class Sink(Protocol):
    """Who looks on."""

    def take(self, records: Sequence[Record]) -> None:
        """Look at these decisions, in the order in which they were made; called every `PAUSE_SECONDS`, with none too.

        In one thread. What it raises is logged once, and nobody else misses anything for it.
        """

    def close(self) -> None:
        """Write what is left, and let go of everything."""


class Telemetry:
    """Counts decisions, and hands them to those who look on.

    Attributes:
        tally: The counts.
        sinks: Who looks on; set before `start`.
        dropped: Decisions that nobody but the counts saw, because the queue was full.
    """

    def __init__(self, sinks: Sequence[Sink] = (), *, most_waiting: int = MOST_WAITING) -> None:
        self.tally: Final = Tally()
        self.sinks: Final[tuple[Sink, ...]] = tuple(sinks)
        self.dropped = 0
        self._most_waiting: Final = most_waiting
        self._queue: Final[deque[Record]] = deque()
        self._lock: Final = threading.Lock()
        self._waiting_bytes = 0
        self._ended: Final = threading.Event()
        self._failed: Final[set[Sink]] = set()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to hand on."""
        self._thread = threading.Thread(target=self._run, name="extauthz-telemetry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hand on what waits, and end; not longer than CLOSE_SECONDS."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def decided(  # noqa: PLR0913, PLR0917 - a record's parts; by position, because a keyword costs time here
        self,
        decision_id: str,
        door: str,
        version: str,
        policy: Policy,
        request: Request,
        decision: Decision,
        decision_ns: int,
        door_ns: int,
        trace: tuple[str, str] | None = None,
    ) -> None:
        """Count a decision and hand it on; the arguments are those of `Record`. Never waits for anything slow."""
        self.tally.count(decision, door, decision_ns, door_ns)
        if self._thread is None:
            return
        record = Record(
            time.time_ns(), decision_id, door, version, policy, request, decision, decision_ns, door_ns, trace
        )
        size = record.size
        with self._lock:
            if len(self._queue) >= self._most_waiting or self._waiting_bytes + size > MOST_WAITING_BYTES:
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
            with self._lock:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
                self._waiting_bytes -= sum(record.size for record in batch)
            for sink in self.sinks:
                self._give(sink, batch)
            if len(batch) < BATCH:
                return

    def _give(self, sink: Sink, batch: Sequence[Record]) -> None:
        try:
            sink.take(batch)
        except Exception:  # noqa: BLE001 - it concerns nobody else
            # Said once: a sink that fails for each decision would otherwise fill the service's own log.
            if sink not in self._failed:
                self._failed.add(sink)
                _log.exception("a decision could not be shown", sink=type(sink).__name__)
        else:
            self._failed.discard(sink)
