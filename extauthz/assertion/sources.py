"""Where issuers' keys are kept while the service runs: read again and again in the background, never for a decision.

How often, and for how long the last good ones count, is `gateway/keycache.py`'s; how they are fetched is
`gateway/sources.py`'s. Here is what is fetched, and what is told of it.
"""

from __future__ import annotations

import math
import re
import ssl
import time
from abc import abstractmethod
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from extauthz.assertion.keys import IssuerKey, Keys, parse_issuer_jwks, parse_pem
from extauthz.assertion.rules import KID, KeySource
from extauthz.assertion.wanted import WantedKids
from extauthz.gateway.keycache import RefreshedKeys, Times
from extauthz.gateway.keyset import JwksError, JwksUnavailableError
from extauthz.gateway.sources import FETCH_SECONDS, open_source
from extauthz.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = get_logger(__name__)

REFRESH_SECONDS: Final = 60.0
"""How often a URL is read where nothing asks for it: as long as that, a key that its issuer withdrew still counts."""

FILE_REFRESH_SECONDS: Final = 5.0
"""How often a file is."""

RETRY_SECONDS: Final = 5.0
"""How often either is read while it fails."""

UNKNOWN_KID_SECONDS: Final = 10.0
"""The least time between two reads of a JWKS that unknown kids ask for."""

KEY_BY_KID_SECONDS: Final = 1.0
"""The same where each key has an address of its own: there every key is unknown before its first token."""

ROUND_SECONDS: Final = 10.0
"""How long one round of fetches may take there: none begins that could end later. The rest has its turn in the next."""

MAX_KEYS_BY_KID: Final = 32
"""Keys that are kept there; the one that was found first goes first."""

_PLAIN_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """How one source is.

    Attributes:
        name: Where it is.
        keys: How many keys may be used now.
        usable: Whether there are any that may be used, or none is known to be needed.
        fault: Why the last read failed; None where it was good, or none was made yet.
        age: Seconds since it was last read well; None if it never was.
        reads: How often it was read.
        failures: How many of these reads failed.
    """

    name: str
    keys: int
    usable: bool
    fault: str | None
    age: float | None
    reads: int
    failures: int


class IssuerKeys(RefreshedKeys[IssuerKey]):
    """The keys of one source."""

    def __init__(self, source: KeySource, times: Times, monotonic: Callable[[], float]) -> None:
        super().__init__(times, monotonic=monotonic)
        self._source: Final = source

    def find(self, kid: str) -> IssuerKey | None:
        """Return the key with this id, if it may be used now. Never waits."""
        keys = self.current()
        return keys.get(kid) if keys is not None else None

    @abstractmethod
    def want(self, kid: str) -> bool:
        """Ask for a read because of a key that is not there. Never waits. Returns whether one is under way."""

    def status(self) -> SourceStatus:
        """Return how the source is."""
        keys, (reads, failures) = self.current(), self.counts()
        return SourceStatus(
            name=self._source.name,
            keys=len(keys or ()),
            usable=keys is not None,
            fault=self.fault,
            age=self.age if reads > failures else None,
            reads=reads,
            failures=failures,
        )

    def say_failed(self, fault: str, *, kept: bool) -> None:
        """Log that the source cannot be read, once for each cause."""
        until = f"the last good keys count for {self._source.keep_seconds:.0f} s" if kept else "nobody is let in by it"
        _log.error("the keys for assertions cannot be read", source=self._source.name, error=fault, note=until)

    def say_back(self) -> None:
        """Log that the source can be read again."""
        _log.info("the keys for assertions can be read again", source=self._source.name)

    def _trust(self) -> ssl.SSLContext | None:
        # Made for each read, so that a new authority in the file counts.
        return _trusting(self._source.ca) if self._source.ca is not None else None

    @staticmethod
    def _fetch(location: str, tls: ssl.SSLContext | None) -> bytes:
        where: str | Path = location if "://" in location else Path(location)
        return open_source(where, tls=tls)()


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise JwksError(f"{ca}: no authority can be read from it: {type(error).__name__}") from error


def file_faults(source: KeySource) -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of each file of a source that cannot be used. Nothing is fetched."""
    try:
        if "://" not in source.location:
            parse_issuer_jwks(open_source(Path(source.location))())
    except JwksError as error:
        yield "jwks", str(error)
    try:
        if source.ca is not None:
            _trusting(source.ca)
    except JwksError as error:
        yield "jwksCa", str(error)


class KeysTogether(IssuerKeys):
    """A JWKS."""

    def fetch_keys(self) -> Keys:
        """Read it."""
        return parse_issuer_jwks(self._fetch(self._source.location, self._trust()))

    def want(self, kid: str) -> bool:
        """Ask for a read, whatever the key."""
        del kid
        return self.look_again(self.reads)


class KeysByKid(IssuerKeys):
    """Keys that have an address each, in PEM, as an AWS load balancer's. Which there are is known by tokens alone.

    A round fetches the known keys that are due and a few that tokens want, in turn: neither holds up the other.
    """

    def __init__(self, source: KeySource, times: Times, monotonic: Callable[[], float]) -> None:
        super().__init__(source, times, monotonic)
        self._read_at: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def reset(self) -> None:
        """Begin anew without a thread; who is wanted is wanted again by the next token."""
        super().reset()
        self._wanted = WantedKids(self._monotonic)

    def find(self, kid: str) -> IssuerKey | None:
        """Return the key with this id, if it may be used now: each has an age of its own. Never waits."""
        key = super().find(kid)
        return key if key is not None and self._counts(kid) else None

    def want(self, kid: str) -> bool:
        """Ask for this key. One that cannot be part of a path, or failed a while ago, is not asked for."""
        return _PLAIN_KID.fullmatch(kid) is not None and self._wanted.add(kid) and self.look_again(self.reads)

    def pause(self) -> float:
        """Return the seconds until the next round: soon while a kid waits, else when the first known key is due."""
        if self._wanted:
            return self._times.unknown_kid
        least = self._times.unknown_kid if self.fault is None else self._times.retry
        now = self._monotonic()
        return max(least, min(self._due.values(), default=now + self._times.refresh) - now)

    def fetch_keys(self) -> Keys:
        """Read the keys of one round; a known one that cannot be read again is kept as long as may be."""
        known, read = dict(self._keys or {}), False
        faults: list[str] = []
        absent: list[str] = []
        turns = self._turns(known)
        tls = self._trust() if turns else None
        last_start = self._monotonic() + ROUND_SECONDS - FETCH_SECONDS
        for kid in turns:
            if self._monotonic() > last_start:
                break
            try:
                key = parse_pem(kid, self._fetch(self._source.location.replace(KID, quote(kid, safe="")), tls))
            except JwksError as error:
                there = kid in known or isinstance(error, JwksUnavailableError)
                (faults if there else absent).append(str(error))
                self._note_failure(kid, error)
            else:
                known[kid], read = key, True
                self._note_read(kid)
        if not read:
            # That the source does not have what somebody invented is no fault of it, nor a sign that a fault is over.
            why = next(iter(faults if known else faults + absent), self.fault if known else None)
            if why is not None:
                raise JwksError(why)
        return self._fresh(known)

    def _turns(self, known: Keys) -> list[str]:
        """Return the kids of a round, wanted ones and due ones by turns: both come first where time is short."""
        wanted = self._wanted.next_round()
        for kid in known.keys() & set(wanted):  # wanted once more while it was fetched
            self._wanted.found(kid)
        now = self._monotonic()
        due = sorted((kid for kid in known if self._due[kid] <= now), key=self._due.__getitem__)
        turns = zip_longest((kid for kid in wanted if kid not in known), due)
        return [kid for kid in chain.from_iterable(turns) if kid is not None]

    def _note_read(self, kid: str) -> None:
        now = self._monotonic()
        self._read_at[kid], self._due[kid] = now, now + self._times.refresh
        self._wanted.found(kid)

    def _note_failure(self, kid: str, error: JwksError) -> None:
        if kid in self._due:
            self._due[kid] = self._monotonic() + self._times.retry
        elif isinstance(error, JwksUnavailableError):
            self._wanted.failed(kid, self._times.retry)
        else:
            self._wanted.failed(kid)

    def _counts(self, kid: str) -> bool:
        return self._read_at.get(kid, -math.inf) >= self._monotonic() - self._times.max_stale

    def _fresh(self, known: Keys) -> Keys:
        kept = [kid for kid in known if self._counts(kid)][-MAX_KEYS_BY_KID:]
        self._read_at = {kid: self._read_at[kid] for kid in kept}
        self._due = {kid: self._due[kid] for kid in kept}
        return {kid: known[kid] for kid in kept}


def usual_times(source: KeySource, *, eager: bool = False) -> Times:
    """Return how often a source is read.

    Args:
        source: The source.
        eager: Whoever misses a key may have it read at once: for a command, in which nobody floods.
    """
    by_kid = KID in source.location
    return Times(
        refresh=REFRESH_SECONDS if "://" in source.location else FILE_REFRESH_SECONDS,
        retry=RETRY_SECONDS,
        unknown_kid=0.0 if eager else KEY_BY_KID_SECONDS if by_kid else UNKNOWN_KID_SECONDS,
        max_stale=source.keep_seconds,
    )


def open_keys(
    source: KeySource, times: Times | None = None, *, monotonic: Callable[[], float] = time.monotonic
) -> IssuerKeys:
    """Return the keys of a source; nothing is read before somebody asks for them.

    Args:
        source: Where they are.
        times: How often it is read; None for `usual_times`.
        monotonic: Seconds of a clock that never goes back.
    """
    kind = KeysByKid if KID in source.location else KeysTogether
    return kind(source, times or usual_times(source), monotonic)
