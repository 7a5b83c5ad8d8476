"""The decision log: who looks on and writes a line per decision. What a line says is lines.py, where it goes output.py.

Denials are always written, and what shadow mode let pass; of the allows a share; of denials over the limit as many as
withheld.py says. What cannot be written now waits, in a bounded buffer; what does not fit into that is counted, and
decisions go on.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from extauthz.core.decision import Allow, Decision, Shadowed
from extauthz.core.explain import explain
from extauthz.core.steps import ALLOWED_USER, WEIGHED
from extauthz.core.text import fold, trim
from extauthz.logs import get_logger
from extauthz.telemetry.lines import LineMaker, encode
from extauthz.telemetry.output import Output, open_output, open_stdout
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import is_limited, outcome_of
from extauthz.telemetry.withheld import Withheld

_log: Final = get_logger(__name__)

STDOUT: Final = "stdout"
NONE: Final = "none"

# Lines that wait for a slow reader or a full disk; more are not written, and counted.
MOST_WAITING_BYTES: Final = 4_194_304
# How long one look at the decisions may wait for a reader. Others look on in the same thread; one who did not read
# during the last look is not waited for.
PATIENCE_SECONDS: Final = 0.02
# After a fault, how long nothing is tried.
RETRY_SECONDS: Final = 0.5
# How long what waits may take to be written when the service ends.
CLOSE_SECONDS: Final = 2.0
# A fault that lasts, or comes and goes, is said so often at most.
SAY_SECONDS: Final = 60.0
# A hint stands in the first line of its gateway and reason, and so long after that in the next. It takes some
# microseconds, a search in a long list of users milliseconds: above this many there is none.
HINT_SECONDS: Final = 60.0
MOST_USERS_SEARCHED: Final = 1000
# Pairs of gateway and reason of which it is known when they had their hint.
REMEMBERED_HINTS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLogSettings:
    """What is written, and where to.

    Attributes:
        output: The path of a file; or STDOUT or NONE.
        allows: The share of allows that is written, from 0 to 1.
        redact: Headers whose values never appear.
        rotate_bytes: The size at which a file is moved away; 0: never.
        keep: How many of those are kept.
    """

    output: Path | str
    allows: float = 1.0
    redact: tuple[str, ...] = ()
    rotate_bytes: int = 0
    keep: int = 1

    @property
    def place(self) -> tuple[object, ...]:
        """What an output is opened by."""
        return (self.output, self.rotate_bytes, self.keep)


class Opened(NamedTuple):
    """Settings, with the output that they name."""

    settings: DecisionLogSettings
    output: Output | None


def open_settings(settings: DecisionLogSettings) -> Opened:
    """Open what settings name.

    Raises:
        OutputError: It cannot be opened.
    """
    if settings.output == NONE:
        return Opened(settings, None)
    if settings.output == STDOUT:
        return Opened(settings, open_stdout())
    return Opened(settings, open_output(Path(settings.output), rotate_bytes=settings.rotate_bytes, keep=settings.keep))


def is_sampled(decision_id: str, share: float) -> bool:
    """Tell whether an allow with this id is of the share that is written: the same for everyone who asks."""
    return crc32(decision_id.encode()) < share * 0x1_0000_0000


class DecisionLog:
    """Writes decisions, a line each. `take` and `close` are called in one thread, `follow` in any.

    Attributes:
        written: Lines written.
        failed: Lines that could not be: no room in the buffer, or left in it at the end.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_waiting_bytes: int = MOST_WAITING_BYTES,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self.written = 0
        self.failed = 0
        self._clock: Final = clock
        self._most_waiting_bytes: Final = most_waiting_bytes
        self._close_seconds: Final = close_seconds
        self._lock: Final = threading.Lock()
        self._next: Opened | None = None
        self._used = opened
        self._maker = LineMaker(opened.settings.redact)
        self._hints = _Hints(opened.settings.redact, clock)
        self._waiting: Final[list[bytes]] = []
        self._waiting_bytes = 0
        self._flows = True
        self._retry_at = 0.0
        self._broken = False
        self._said: Final[dict[str, float]] = {}
        self._limited: Final = Withheld(clock)

    @property
    def withheld(self) -> int:
        """Denials over the limit that have no line."""
        return self._limited.total

    def prepare(self, settings: DecisionLogSettings) -> Opened:
        """Open what settings name; what is open already stays so.

        Raises:
            OutputError: It cannot be opened; nothing has changed.
        """
        with self._lock:
            latest = self._next or self._used
        if settings.place == latest.settings.place:
            return Opened(settings, latest.output)
        return open_settings(settings)

    def follow(self, opened: Opened) -> None:
        """Write by other settings from the next look on."""
        with self._lock:
            passed_over, self._next = self._next, opened
            used = {id(self._used.output), id(opened.output)}
        if passed_over is not None and passed_over.output is not None and id(passed_over.output) not in used:
            passed_over.output.close()

    def take(self, records: list[Record]) -> None:
        """Write these decisions, and what waits; called again and again, with none too."""
        self._turn()
        if self._used.output is None:
            return
        allows = self._used.settings.allows
        for record in records:
            allowed = isinstance(record.decided.decision, Allow)
            if allowed and allows < 1 and not is_sampled(record.id, allows):
                continue
            alike = 0 if allowed else self._alike(record.decided.decision)
            if alike is None:
                continue
            try:
                line = self._maker.written(record) if allowed else self._denial_line(record, alike)
            except Exception as error:  # noqa: BLE001 - one decision that cannot be told is no reason to lose the others
                self.failed += 1
                self._say("a decision cannot be told", error)
                continue
            if self._waiting_bytes + len(line) > self._most_waiting_bytes:
                self.failed += 1
            else:
                self._waiting.append(line)
                self._waiting_bytes += len(line)
        self._tell_withheld()
        self._write(PATIENCE_SECONDS if self._flows else 0.0)

    def close(self) -> None:
        """Write what waits, for `close_seconds` at most, and let go of the output."""
        self._turn()
        self._tell_withheld(at_once=True)
        self._leave(self._close_seconds)
        with self._lock:
            # What comes after this is opened and closed by whoever made it.
            self._used = Opened(self._used.settings, None)

    def _alike(self, decision: Decision) -> int | None:
        """Return how many denials like this one had no line; None if this one is to have none either."""
        return self._limited.weigh(outcome_of(decision)) if is_limited(decision) else 0

    def _denial_line(self, record: Record, alike: int) -> bytes:
        hint = self._hints.hint(record)
        if not hint and not alike:
            return self._maker.written(record)
        told = self._maker.line(record)
        if alike:
            told["withheld"] = alike
        if hint:
            told["hint"] = hint
        return encode(told)

    def _tell_withheld(self, *, at_once: bool = False) -> None:
        for outcome, count in self._limited.over(at_once=at_once):
            _log.info(
                "denials over the limit have no line in the decision log",
                gateway=outcome.gateway or None,
                reason=outcome.reason,
                decisions=count,
            )

    def _turn(self) -> None:
        """Go over to the settings that are to be followed, if there are others."""
        with self._lock:
            following, self._next = self._next, None
        if following is None:
            return
        if following.output is not self._used.output:
            self._leave(PATIENCE_SECONDS)
            self._flows, self._retry_at = True, 0.0
        with self._lock:
            self._used = following
        self._maker = LineMaker(following.settings.redact)
        self._hints = _Hints(following.settings.redact, self._clock)

    def _leave(self, seconds: float) -> None:
        """Write what waits, for so long at most, and close the output."""
        output = self._used.output
        if output is None:
            return
        self._retry_at = 0.0
        self._write(seconds)
        if self._waiting:
            self.failed += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            _log.error("decisions are missing from the log", output=str(self._used.settings.output), failed=self.failed)
        output.close()

    def _write(self, patience: float) -> None:
        output = self._used.output
        if output is None or not self._waiting or self._clock() < self._retry_at:
            return
        end = self._clock() + patience
        try:
            while self._waiting:
                data = self._portion(output.portion)
                done = output.write(data, max(0.0, end - self._clock()))
                self._wrote(done)
                self._flows = done == len(data)
                if not self._flows:
                    break
        except OSError as error:
            self._retry_at = self._clock() + RETRY_SECONDS
            self._broken = True
            self._say("decisions cannot be written", error=error.strerror or str(error))
        else:
            if self._broken and self._flows:
                self._broken = False
                self._say("decisions can be written again")

    def _portion(self, most: int) -> bytes:
        """Return the first of the lines that wait, as many as are best written together."""
        if self._waiting_bytes <= most:
            return b"".join(self._waiting)
        size, count = 0, 0
        for line in self._waiting:
            size += len(line)
            if count and size > most:
                break
            count += 1
        return b"".join(self._waiting[:count])

    def _wrote(self, size: int) -> None:
        """Forget what was written; of a line that was written in part, the rest comes first."""
        self._waiting_bytes -= size
        if not self._waiting_bytes:
            self.written += len(self._waiting)
            self._waiting.clear()
            return
        count = 0
        for line in self._waiting:
            if size < len(line):
                if size:
                    self._waiting[count] = line[size:]
                break
            size -= len(line)
            count += 1
        del self._waiting[:count]
        self.written += count

    def _say(self, event: str, raised: BaseException | None = None, **about: str) -> None:
        """Say what went wrong, in the service's own log; the same not again for a while."""
        now = self._clock()
        if now >= self._said.get(event, -SAY_SECONDS) + SAY_SECONDS:
            self._said[event] = now
            _log.error(event, output=str(self._used.settings.output), failed=self.failed, exc_info=raised, **about)


class _Hints:
    """What to do about a denial: in the first line of its kind, and once in a while. A hint in each would be noise.

    It quotes what the rules weigh, so that there is none where one of these values is redacted.
    """

    def __init__(self, redact: Sequence[str], clock: Callable[[], float]) -> None:
        self._redact: Final = frozenset(fold(trim(name)) for name in redact)
        self._none: Final = not self._redact.isdisjoint({*WEIGHED, "host"})
        self._clock: Final = clock
        self._given: Final[dict[tuple[str, str], float]] = {}

    def hint(self, record: Record) -> str:
        """Return the hint for a denial; "" where there is to be none."""
        decision = record.decided.decision
        if self._none or isinstance(decision, Allow):
            return ""
        denial = decision.denial if isinstance(decision, Shadowed) else decision
        gateway = denial.gateway
        key = (gateway.id if gateway is not None else "", denial.reason.code)
        now = self._clock()
        if now < self._given.get(key, -HINT_SECONDS) + HINT_SECONDS:
            return ""
        if gateway is not None and (
            gateway.user_header in self._redact
            or (denial.step == ALLOWED_USER.name and len(gateway.allow_users) > MOST_USERS_SEARCHED)
        ):
            return ""
        if len(self._given) >= REMEMBERED_HINTS:
            self._given.clear()
        self._given[key] = now
        return explain(record.decided.policy, record.request).hint
