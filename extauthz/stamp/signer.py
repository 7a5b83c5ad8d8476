"""The signer: one stamp per allowed request, or the same one again for a few seconds. No files, no HTTP, no decisions.

The compact JWS is put together here, over `cryptography`, because the protected header is the same for every stamp of
a key; a test holds the result against joserfc.
"""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Final, Protocol

from extauthz.stamp.claims import (
    BINDINGS,
    DEFAULT_ISSUER,
    MAX_STAMP_BYTES,
    Algorithm,
    Binding,
    encode_bytes,
    normal_host,
    path_hash,
)
from extauthz.stamp.keyfile import KeyDirectoryError
from extauthz.stamp.keyset import KeySet, SigningKey
from extauthz.stamp.signature import signing

MAX_REUSED_STAMPS: Final = 4_000
"""How many stamps are kept for reuse; about 4 MB when full. No stamp and no key of this cache is longer than
`MAX_STAMP_BYTES`, so that it cannot grow beyond 16 KiB a stamp, whatever hosts and methods are sent."""

MAX_REMEMBERED_CLAIMS: Final = 512
"""How many users of Gateways, and as many requests as they are bound, have their claims kept as JSON."""

JTI_BYTES: Final = 16
"""Random bytes of a stamp's `jti`."""

SIGNATURE_BYTES: Final = 64
"""Of ES256 (RFC 7518, section 3.4) as of Ed25519 (RFC 8032, section 5.1.6)."""

# No clock says this one.
_NO_SECOND: Final = -(1 << 62)

_SIGNATURE_CHARACTERS: Final = (SIGNATURE_BYTES * 4 + 2) // 3

_DEFAULT_BIND: Final[frozenset[Binding]] = frozenset({"method", "host"})


class StampTooLargeError(ValueError):
    """The request would need a stamp that no verifier reads: its method, host or user is too long."""


class KeySource(Protocol):
    """Where the signer finds its keys: a `KeyDirectory`, or anything with the keys of the moment."""

    @property
    def keys(self) -> KeySet:
        """The keys of this moment; another object when they have changed."""


class Issued:
    """A stamp, and for what it may be handed out again.

    Attributes:
        text: The compact JWS.
        any_path: It is as good for another path.
        since: From when on, in Unix seconds: before that it would not be valid yet, by a clock that was set back.
        until: Until when, in Unix seconds; not at all where this is no later than `since`.
        keys: The keys of which the active one signed it.
    """

    __slots__ = ("any_path", "keys", "since", "text", "until")

    def __init__(self, text: str, any_path: bool, since: float, until: float, keys: KeySet) -> None:
        self.text: Final = text
        self.any_path: Final = any_path
        self.since: Final = since
        self.until: Final = until
        self.keys: Final = keys


class Signatures:
    """Counts signatures, for whoever measures. Exact, from any thread."""

    def __init__(self) -> None:
        # Taking the next number is one step of the interpreter, and needs no lock. To read takes one too.
        self._numbers: Final = itertools.count()
        self._read = 0
        self._lock: Final = threading.Lock()

    def add(self) -> None:
        """Count one."""
        next(self._numbers)

    @property
    def total(self) -> int:
        """How many were made; may be read at any time."""
        with self._lock:
            taken = next(self._numbers) - self._read
            self._read += 1
        return taken


class _Epoch:
    """What holds while one key signs: the key, until when, and the stamps that may be handed out again.

    `times` are the claims of the last second in which one was signed, and which that was.
    """

    __slots__ = ("ends", "fresh", "head", "key", "keys", "older", "sign", "times")

    def __init__(self, keys: KeySet, key: SigningKey, ends: float) -> None:
        self.keys = keys
        self.key = key
        self.ends = ends
        self.head: Final = key.header_segment + b"."
        self.sign: Final = signing(key.private_key)
        self.times = (_NO_SECOND, b"")
        # Two generations, so that a full cache forgets its older half.
        self.fresh: dict[tuple[str, ...], Issued] = {}
        self.older: dict[tuple[str, ...], Issued] = {}


class Stamper:
    """Signs stamps. Threads may share one: nothing is locked, and a race costs one signature more at the worst."""

    def __init__(  # noqa: PLR0913 (the stamp's configuration)
        self,
        source: KeySource,
        *,
        issuer: str = DEFAULT_ISSUER,
        algorithm: Algorithm | None = None,
        lifetime: int = 60,
        bind: Collection[Binding] = _DEFAULT_BIND,
        reuse: float = 0,
        cache_size: int = MAX_REUSED_STAMPS,
        signatures: Signatures | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare what does not come from the request.

        Args:
            source: The keys.
            issuer: The `iss` of every stamp.
            algorithm: What the configuration wants. The active key decides what is signed with; that no key in
                use is of this algorithm is an error.
            lifetime: Seconds from `iat` to `exp`; at most the one that the keys' schedule counts on.
            bind: What stamps are bound to, of "method", "host" and "path".
            reuse: Seconds for which a stamp may be handed out again for the same values; 0 signs each.
            cache_size: How many stamps are kept for that.
            signatures: Where each is counted; the same for a stamper and the one that takes its place.
            clock: Unix seconds.

        Raises:
            ValueError: for values that contradict each other.
            KeyDirectoryError: if no key of `algorithm` is in use.
        """
        planned = source.keys.schedule.lifetime
        if not 1 <= lifetime <= planned:
            raise ValueError(f"lifetime: {lifetime} s; the keys are kept for stamps of 1 to {planned} s")
        if not 0 <= reuse < lifetime:
            raise ValueError(f"reuse: {reuse} s; at least 0 and less than the lifetime, {lifetime} s")
        if cache_size < 2:
            raise ValueError(f"cache_size: {cache_size}; at least 2")
        if unknown := set(bind) - BINDINGS.keys():
            raise ValueError(f"bind: {', '.join(sorted(unknown))}; known are {', '.join(BINDINGS)}")
        if not issuer:
            raise ValueError("issuer: empty")
        self._source = source
        self._issuer = issuer
        self._lifetime = lifetime
        self._by_method, self._by_host, self._by_path = (name in bind for name in ("method", "host", "path"))
        self._reuse = reuse
        self._generation_size = cache_size // 2
        self._signatures = signatures or Signatures()
        self._clock = clock
        # Of the claims, what comes before and behind the three that are new in each stamp.
        self._before = lru_cache(MAX_REMEMBERED_CLAIMS)(partial(_claims_before, issuer))
        self._behind = lru_cache(MAX_REMEMBERED_CLAIMS)(_claims_behind)
        now = clock()
        if algorithm and all(key.algorithm != algorithm for key in source.keys.published(now)):
            raise KeyDirectoryError(
                f"no {algorithm} key is in use. Add one: extauthz keys rotate --algorithm {algorithm}; "
                "or set stamp.algorithm to that of the keys."
            )
        self._epoch = self._begin(now)

    @property
    def active_kid(self) -> str:
        """The id of the key that signs now."""
        return self._current(self._clock()).key.kid

    def stamp(  # noqa: PLR0913 (the claims)
        self, *, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> str:
        """Return the text of what `issue` issues."""
        return self.issue(gateway, user, peer, method, host, path).text

    def issue(  # noqa: PLR0913, PLR0917 (the claims)
        self, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> Issued:
        """Return the stamp of one allowed request: a compact JWS (RFC 7515, section 7.1).

        A stamp that is handed out again has more than `lifetime - reuse` seconds left, and is signed by the key that
        is active now.

        Args:
            gateway: The Gateway's id.
            user: The verified user.
            peer: The address whose word about the user was taken.
            method: The request's method, as sent.
            host: Its Host or :authority, as sent: with a port, in any case.
            path: Its path and query, as sent.

        Raises:
            KeyDirectoryError: if no key is active.
            StampTooLargeError: if the stamp would be longer than `MAX_STAMP_BYTES`; nothing is signed or kept then.
        """
        # As it is bound: what differs only in spelling has one stamp, and a long path takes no more room than a short.
        method = method if self._by_method else ""
        host = normal_host(host) if self._by_host else ""
        path = path_hash(path) if self._by_path else ""
        now = self._clock()
        epoch = self._epoch
        if epoch.keys is not self._source.keys or now >= epoch.ends:
            epoch = self._current(now)
        if not self._reuse:
            text = self._sign(epoch, int(now), gateway, user, peer, method, host, path)
            return Issued(text, not self._by_path, now, now, epoch.keys)
        wanted = (gateway, user, peer, method, host, path)
        kept = epoch.fresh.get(wanted) or epoch.older.get(wanted)
        if kept is not None and kept.since <= now < kept.until:
            return kept
        issued = int(now)
        text = self._sign(epoch, issued, gateway, user, peer, method, host, path)
        if len(epoch.fresh) >= self._generation_size:
            epoch.older, epoch.fresh = epoch.fresh, {}
        # From `iat`, not from now: the fraction of a second that `iat` drops counts against the lifetime.
        until = min(issued + self._reuse, epoch.ends)
        made = epoch.fresh[wanted] = Issued(text, not self._by_path, now, until, epoch.keys)
        return made

    def is_good(self, issued: Issued, now: float) -> bool:
        """Tell whether a stamp may be handed out again at this time (Unix seconds), as `issue` would."""
        return issued.since <= now < issued.until and issued.keys is self._source.keys

    def _current(self, now: float) -> _Epoch:
        epoch = self._epoch
        if epoch.keys is not self._source.keys or epoch.keys.active(now) is not epoch.key:
            epoch = self._epoch = self._begin(now)
        return epoch

    def _begin(self, now: float) -> _Epoch:
        keys = self._source.keys
        key = keys.active(now)
        if key is None:
            raise KeyDirectoryError("no key to sign with. Make one: extauthz keys generate")
        return _Epoch(keys, key, keys.next_change(now))

    def _sign(  # noqa: PLR0913, PLR0917 (the claims)
        self, epoch: _Epoch, issued: int, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> str:
        if len(user) + len(method) + len(host) > MAX_STAMP_BYTES:
            raise _too_large(method, host, user)  # before anything is made of it, or remembered
        second, times = epoch.times
        if second != issued:
            times = b'"iat":%d,"exp":%d,"jti":"' % (issued, issued + self._lifetime)
            epoch.times = (issued, times)
        behind = self._behind(
            peer,
            method if self._by_method else None,
            host if self._by_host else None,
            path if self._by_path else None,
        )
        jti = encode_bytes(os.urandom(JTI_BYTES))
        signed = epoch.head + encode_bytes(b"".join((self._before(gateway, user), times, jti, behind)))
        if len(signed) + 1 + _SIGNATURE_CHARACTERS > MAX_STAMP_BYTES:
            raise _too_large(method, host, user)
        signature = epoch.sign(signed)
        self._signatures.add()
        return b"".join((signed, b".", encode_bytes(signature))).decode("ascii")


def _too_large(method: str, host: str, user: str) -> StampTooLargeError:
    return StampTooLargeError(
        f"the stamp would be longer than {MAX_STAMP_BYTES} bytes: the method has {len(method)} characters, "
        f"the host {len(host)}, the user {len(user)}"
    )


def _claims_before(issuer: str, gateway: str, user: str) -> bytes:
    """Return a stamp's claims as JSON, up to those that are new in each."""
    return _to_json({"iss": issuer, "aud": gateway, "sub": user})[:-1] + b","


def _claims_behind(peer: str, method: str | None, host: str | None, path: str | None) -> bytes:
    """Return a stamp's claims as JSON, behind the text that is new in each; None is what it is not bound to."""
    claims = {"prx": peer, "htm": method, "hth": host, "pth": path}
    return b'",' + _to_json({name: value for name, value in claims.items() if value is not None})[1:]


def _to_json(claims: dict[str, str]) -> bytes:
    try:
        return json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; escaped, it equals nothing that a verifier sees.
        return json.dumps(claims, separators=(",", ":")).encode("ascii")
