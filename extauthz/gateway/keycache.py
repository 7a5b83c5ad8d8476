"""The keys that a verifier has now, and the one thread that keeps them fresh. Checks no stamps.

There is one fetch at a time because there is one thread that fetches. Requests only ask it to look again, and only as
often as the limits below allow: stamps with invented kids cannot make us hammer the source.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from extauthz.gateway.keyset import JwksError, Keys, PublicKey, parse_jwks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Key = TypeVar("Key")

REFRESH_SECONDS: Final = 60.0
"""How often the source is read where nothing asks for it."""

RETRY_SECONDS: Final = 5.0
"""How often it is read while it fails."""

UNKNOWN_KID_SECONDS: Final = 10.0
"""The least time between two reads that unknown kids ask for."""

MAX_STALE_SECONDS: Final = 24 * 3600.0
"""How long the last good keys are used after the source was last read well."""

WAIT_SECONDS: Final = 6.0
"""How long a request waits for a read that may bring its key: a little longer than a fetch may take."""

MAX_WAITERS: Final = 64
"""How many requests wait for a read at a time. Stamps with invented kids would else hold every thread of a server while
the source is slow; who comes when so many wait already is refused at once."""

_POLL_SECONDS: Final = 0.01

_caches: weakref.WeakSet[RefreshedKeys[Any]] = weakref.WeakSet()
_log = logging.getLogger("extauthz.gateway")


@dataclass(frozen=True, slots=True)
class Times:
    """The limits of a key cache, in seconds."""

    refresh: float = REFRESH_SECONDS
    retry: float = RETRY_SECONDS
    unknown_kid: float = UNKNOWN_KID_SECONDS
    max_stale: float = MAX_STALE_SECONDS
    wait: float = WAIT_SECONDS


class FixedKeys:
    """Keys that were given as a value and never change: the same methods as a `KeyCache` has."""

    reads = 1

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def current(self) -> Keys:
        """Return the keys."""
        return self._keys

    def look_again(self, reads: int) -> bool:
        """Tell whether there is more to see than at that read; there never is."""
        return self.reads > reads

    def wait(self, reads: int) -> None:
        """Return at once."""

    async def wait_async(self, reads: int) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""


class RefreshedKeys(ABC, Generic[Key]):
    """The last good keys of a source, whatever kind of keys these are."""

    def __init__(self, times: Times | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Prepare the cache; the source is read when keys are first asked for.

        Args:
            times: The limits.
            monotonic: Seconds of a clock that never goes back.
        """
        self._times = times or Times()
        self._monotonic = monotonic
        self._keys: Mapping[str, Key] | None = None
        self._read_well = -math.inf
        self._asked = -math.inf
        self.fault: str | None = None
        """Why the last read failed; None where it was good."""
        self.reads = 0
        """How often the source was read, well or not."""
        self.failures = 0
        """How many of these reads failed."""
        self.reset()
        _caches.add(self)

    def reset(self) -> None:
        """Begin anew without a thread, as in a forked worker, which has neither it nor its locks' true state."""
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._read = threading.Condition()
        self._thread: threading.Thread | None = None
        self._waiting = 0

    @abstractmethod
    def fetch_keys(self) -> Mapping[str, Key]:
        """Read the source, in the background thread.

        Raises:
            JwksError: It cannot be read, or what it says is of no use.
        """

    @property
    def age(self) -> float:
        """Seconds since the source was last read well; infinite if it never was."""
        return self._monotonic() - self._read_well

    def current(self) -> Mapping[str, Key] | None:
        """Return the keys as they are known now, without waiting; None where there are none that may be used."""
        if self._thread is None:
            self._start()
        if self.age > self._times.max_stale:
            return None
        return self._keys

    def look_again(self, reads: int) -> bool:
        """Ask for a read, because of an unknown kid or for want of keys. Never waits.

        Args:
            reads: What `reads` was when the keys were looked at.

        Returns:
            Whether the source was read since, or is being read; False where it was read too short a while ago.
        """
        self.current()
        now = self._monotonic()
        between = self._times.retry if self._keys is None else self._times.unknown_kid
        with self._read:
            if self.reads > reads:
                return True
            if self._closed.is_set():
                return False
            if self._wake.is_set():
                return True
            if now - self._asked < between:
                return False
            self._asked = now
            self._wake.set()
            return True

    def wait(self, reads: int, seconds: float | None = None) -> None:
        """Wait, for a while, until the source was read more often than this; not where too many wait already."""
        with self._read, self._place() as free:
            if free:
                self._read.wait_for(lambda: self.reads > reads, self._times.wait if seconds is None else seconds)

    async def wait_async(self, reads: int) -> None:
        """Do as `wait` does, without holding up the event loop."""
        deadline = self._monotonic() + self._times.wait
        with self._place() as free:
            while free and self.reads <= reads and self._monotonic() < deadline:  # noqa: ASYNC110 (a thread reads)
                await asyncio.sleep(_POLL_SECONDS)

    @contextmanager
    def _place(self) -> Iterator[bool]:
        with self._read:
            free = self._waiting < MAX_WAITERS
            self._waiting += free
        try:
            yield free
        finally:
            with self._read:
                self._waiting -= free

    def read_now(self) -> None:
        """Read the source once. The background thread's own step; never raises."""
        failed = True
        try:
            keys = self.fetch_keys()
        except JwksError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 (the thread must outlive whatever a source does)
            self._failed(f"unforeseen: {type(error).__name__}")
        else:
            failed = False
            if self.fault is not None:
                self.say_back()
            self._keys, self._read_well, self.fault = keys, self._monotonic(), None
        with self._read:
            # Together: whoever looks in between would see fewer good reads than a moment before.
            self.reads += 1
            self.failures += failed
            self._wake.clear()
            self._read.notify_all()

    def pause(self) -> float:
        """Return the seconds until the next read, where nothing asks for one."""
        return self._times.refresh if self.fault is None else self._times.retry

    def counts(self) -> tuple[int, int]:
        """Return `reads` and `failures` of one moment."""
        with self._read:
            return self.reads, self.failures

    def _failed(self, fault: str) -> None:
        if fault != self.fault:
            self.say_failed(fault, kept=bool(self._keys))
        self.fault = fault

    def say_failed(self, fault: str, *, kept: bool) -> None:
        """Log that the source cannot be read, once for each cause."""
        _log.warning("JWKS source: %s; %s", fault, "the last good keys are kept" if kept else "no keys yet")

    def say_back(self) -> None:
        """Log that the source can be read again."""
        _log.warning("JWKS source is back")

    def close(self) -> None:
        """End the background thread, at once or after the fetch that it is at."""
        self._closed.set()
        self._wake.set()

    def _start(self) -> None:
        with self._read:
            if self._thread is not None or self._closed.is_set():
                return
            self._asked = self._monotonic()
            self._wake.set()
            thread = threading.Thread(
                target=_keep_fresh,
                args=(weakref.ref(self), self._wake, self._closed),
                name="extauthz-jwks",
                daemon=True,
            )
            thread.start()
            # Not before: where no thread can be started now, the next request tries again.
            self._thread = thread


class KeyCache(RefreshedKeys[PublicKey]):
    """The last good keys for stamps."""

    def __init__(
        self, fetch: Callable[[], bytes], times: Times | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare the cache.

        Args:
            fetch: Reads the source; raises `JwksError`.
            times: As in `RefreshedKeys`.
            monotonic: As in `RefreshedKeys`.
        """
        super().__init__(times, monotonic=monotonic)
        self._fetch = fetch

    def fetch_keys(self) -> Keys:
        """Read the source."""
        return parse_jwks(self._fetch())


def _keep_fresh(cache: weakref.ref[RefreshedKeys[Any]], wake: threading.Event, closed: threading.Event) -> None:
    # By a weak reference, so that a verifier that nobody holds any more takes its thread along.
    pause = 0.0
    while True:
        wake.wait(pause)
        alive = cache()
        if alive is None or closed.is_set():
            return
        alive.read_now()
        pause = alive.pause()
        del alive


def _reset_all() -> None:
    for cache in list(_caches):
        cache.reset()


os.register_at_fork(after_in_child=_reset_all)
