"""Asks about names when it is time to, in a few threads of its own: nobody who decides ever waits for an answer."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from extauthz.logs import get_logger
from extauthz.peers.answers import Answer, Kind, LookupFailedError
from extauthz.peers.known import Bounds, KnownName, Moment, Outcome, PeerStatus

_log: Final = get_logger(__name__)

# Names that are asked about at once.
MOST_AT_ONCE: Final = 4


class Lookup(Protocol):
    """Asks one question."""

    def __call__(self, name: str, kind: Kind, /) -> Answer:
        """Return the answer, within a bounded time; raises LookupFailedError."""


def now() -> Moment:
    """Return this moment."""
    return Moment(time.monotonic(), time.time())


class Resolver:
    """Keeps what names stand for. May be called by any thread; nothing here waits for a name server but `ask`."""

    def __init__(self, news: Callable[[], None], clock: Callable[[], Moment] = now) -> None:
        """Begin with no names.

        Args:
            news: Called by a thread of this when something came that was not known.
            clock: This moment.
        """
        self._news: Final = news
        self._clock: Final = clock
        self._changed: Final = threading.Condition()
        self._names: dict[str, KnownName] = {}
        self._asking: Final[set[KnownName]] = set()
        self._lookup: Lookup | None = None
        self._bounds = Bounds(min_ttl=0, max_ttl=0, keep=0)
        self._threads: Final[list[threading.Thread]] = []
        self._runs = False

    def want(self, names: Iterable[str], lookup: Lookup, bounds: Bounds) -> None:
        """Ask about these names from now on, in this way; what is known of names that were wanted before stays."""
        with self._changed:
            ticks = self._clock().ticks
            other = lookup is not self._lookup
            self._names = {name: self._names.get(name) or KnownName(name, ticks) for name in names}
            for known in self._names.values() if other else ():
                known.due = ticks
            self._lookup, self._bounds = lookup, bounds
            self._start_threads()
            self._changed.notify_all()

    def start(self) -> None:
        """Ask from now on."""
        with self._changed:
            self._runs = True
            self._start_threads()

    def close(self) -> None:
        """Ask no more. A question that is under way ends by itself."""
        with self._changed:
            self._runs = False
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until each name was asked about once, for so long at most; returns whether that is so."""
        with self._changed:
            return self._changed.wait_for(self._is_asked, timeout=seconds if self._runs else 0)

    def statuses(self) -> tuple[PeerStatus, ...]:
        """Return what is known of each name at this moment."""
        with self._changed:
            moment = self._clock()
            return tuple(known.status(moment) for known in self._names.values())

    def ask(self) -> bool:
        """Ask about the name that is due for longest, in this thread; returns whether one was."""
        with self._changed:
            known = self._next()
            lookup = self._lookup
            if known is None or lookup is None or known.due > self._clock().ticks:
                return False
            self._asking.add(known)
        outcomes = {kind: _ask(lookup, known.name, kind) for kind in Kind}
        with self._changed:
            self._asking.discard(known)
            # By now it may be wanted no longer, or others be asked instead: then nobody believes this answer.
            wanted = self._names.get(known.name) is known and lookup is self._lookup
            if wanted:
                moment = self._clock()
                before = known.status(moment)
                known.take(outcomes, self._bounds, moment)
                after = known.status(moment)
            self._changed.notify_all()
        if wanted and (before.addresses, before.fault) != (after.addresses, after.fault):
            self._news()
        return True

    def _is_asked(self) -> bool:
        return all(known.asked for known in self._names.values())

    def _next(self) -> KnownName | None:
        idle = (known for known in self._names.values() if known not in self._asking)
        return min(idle, key=lambda known: known.due, default=None)

    def _start_threads(self) -> None:
        if not self._runs:
            return
        for number in range(len(self._threads), min(MOST_AT_ONCE, len(self._names))):
            thread = threading.Thread(target=self._run, name=f"extauthz-names-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        while self._await_due():
            try:
                self.ask()
            except Exception:  # noqa: BLE001 - whatever it is, the other names are asked about
                _log.exception("a name could not be looked up")

    def _await_due(self) -> bool:
        """Wait until a name is due; False when this is closed."""
        with self._changed:
            while self._runs:
                known = self._next()
                left = known.due - self._clock().ticks if known is not None else None
                if left is not None and left <= 0:
                    return True
                self._changed.wait(left)
            return False


def _ask(lookup: Lookup, name: str, kind: Kind) -> Outcome:
    try:
        return lookup(name, kind)
    except LookupFailedError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever an answer does to who reads it, it is no answer
        _log.exception("an answer could not be read", name=name, kind=kind.value)
        return LookupFailedError(f"unforeseen: {type(error).__name__}")
