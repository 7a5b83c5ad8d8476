"""Where issuers' keys are kept while the service runs: read again and again in the background, never for a decision.

How often, and for how long the last good ones count, is `gateway/keycache.py`'s; how they are fetched is
`gateway/sources.py`'s. Here is what is fetched, and what is told of it.
"""

from __future__ import annotations

import re
import ssl
import time
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from extauthz.assertion.keys import IssuerKey, Keys, parse_issuer_jwks, parse_pem
from extauthz.assertion.rules import KID, KeySource
from extauthz.gateway.keycache import RefreshedKeys, Times
from extauthz.gateway.keyset import JwksError
from extauthz.gateway.sources import open_source
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

MAX_WANTED_KIDS: Final = 4
"""Kids not seen before that are asked for in one read, where each key has an address of its own."""

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
        keys, read = self.current(), self.reads > self.failures
        return SourceStatus(
            name=self._source.name,
            keys=len(keys or ()),
            usable=keys is not None,
            fault=self.fault,
            age=self.age if read else None,
            reads=self.reads,
            failures=self.failures,
        )

    def say_failed(self, fault: str, *, kept: bool) -> None:
        """Log that the source cannot be read, once for each cause."""
        until = f"the last good keys count for {self._source.keep_seconds:.0f} s" if kept else "nobody is let in by it"
        _log.error("the keys for assertions cannot be read", source=self._source.name, error=fault, note=until)

    def say_back(self) -> None:
        """Log that the source can be read again."""
        _log.info("the keys for assertions can be read again", source=self._source.name)

    def _fetch(self, location: str) -> bytes:
        where: str | Path = location if "://" in location else Path(location)
        # Made for each read, so that a new authority in the file counts.
        tls = _trusting(self._source.ca) if self._source.ca is not None else None
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
        return parse_issuer_jwks(self._fetch(self._source.location))

    def want(self, kid: str) -> bool:
        """Ask for a read, whatever the key."""
        del kid
        return self.look_again(self.reads)


class KeysByKid(IssuerKeys):
    """Keys that have an address each, in PEM, as an AWS load balancer's. Which there are is known by tokens alone."""

    def __init__(self, source: KeySource, times: Times, monotonic: Callable[[], float]) -> None:
        super().__init__(source, times, monotonic)
        self._wanted: dict[str, None] = {}
        self._read_at: dict[str, float] = {}

    def want(self, kid: str) -> bool:
        """Ask for this key. One that cannot be part of a path is not asked for."""
        if not _PLAIN_KID.fullmatch(kid):
            return False
        if len(self._wanted) < MAX_WANTED_KIDS:
            self._wanted[kid] = None
        return kid in self._wanted and self.look_again(self.reads)

    def fetch_keys(self) -> Keys:
        """Read every key that is known or asked for; what cannot be read again is kept as long as may be."""
        known = dict(self._keys or {})
        wanted = list(self._wanted)
        faults = []
        for kid in dict.fromkeys((*known, *wanted)):
            try:
                known[kid] = parse_pem(kid, self._fetch(self._source.location.replace(KID, quote(kid, safe=""))))
                self._read_at[kid] = self._monotonic()
            except JwksError as error:
                faults.append(str(error))
        for kid in wanted:
            self._wanted.pop(kid, None)
        if faults and len(faults) == len(known.keys() | set(wanted)):
            raise JwksError(faults[0])
        oldest = self._monotonic() - self._times.max_stale
        fresh = [kid for kid in known if self._read_at[kid] >= oldest][-MAX_KEYS_BY_KID:]
        self._read_at = {kid: self._read_at[kid] for kid in fresh}
        return {kid: known[kid] for kid in fresh}


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
