"""The signer: one stamp per allowed request, or the same one again for a few seconds. No files, no HTTP, no decisions.

The compact JWS is put together here, over `cryptography`, because the protected header is the same for every stamp of
a key; a test holds the result against joserfc.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from extauthz.stamp.claims import (
    BINDINGS,
    DEFAULT_ISSUER,
    MAX_STAMP_BYTES,
    Algorithm,
    Binding,
    encode_segment,
    normal_host,
    path_hash,
)
from extauthz.stamp.keyfile import KeyDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from extauthz.stamp.keyset import KeySet, SigningKey

MAX_REUSED_STAMPS: Final = 4_000
"""How many stamps are kept for reuse; about 4 MB when full. No stamp and no key of this cache is longer than
`MAX_STAMP_BYTES`, so that it cannot grow beyond 16 KiB a stamp, whatever hosts and methods are sent."""

JTI_BYTES: Final = 16
"""Random bytes of a stamp's `jti`."""

SIGNATURE_BYTES: Final = 64
"""Of ES256 (RFC 7518, section 3.4) as of Ed25519 (RFC 8032, section 5.1.6)."""

_SIGNATURE_CHARACTERS: Final = (SIGNATURE_BYTES * 4 + 2) // 3

_DEFAULT_BIND: Final[frozenset[Binding]] = frozenset({"method", "host"})


class StampTooLargeError(ValueError):
    """The request would need a stamp that no verifier reads: its method, host or user is too long."""


class KeySource(Protocol):
    """Where the signer finds its keys: a `KeyDirectory`, or anything with the keys of the moment."""

    @property
    def keys(self) -> KeySet:
        """The keys of this moment; another object when they have changed."""


class Signatures:
    """Counts signatures, for whoever measures. Exact, from any thread: beside a signature a lock costs nothing.

    Attributes:
        total: How many were made; may be read at any time.
    """

    def __init__(self) -> None:
        self.total = 0
        self._lock: Final = threading.Lock()

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self.total += 1


class _Epoch:
    """What holds while one key signs: the key, until when, and the stamps that may be handed out again."""

    __slots__ = ("ends", "fresh", "key", "keys", "older")

    def __init__(self, keys: KeySet, key: SigningKey, ends: float) -> None:
        self.keys = keys
        self.key = key
        self.ends = ends
        # (when made, good until, stamp); two generations, so that a full cache forgets its older half.
        self.fresh: dict[tuple[str, ...], tuple[float, float, str]] = {}
        self.older: dict[tuple[str, ...], tuple[float, float, str]] = {}


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
            return self._sign(epoch.key, int(now), gateway, user, peer, method, host, path)
        wanted = (gateway, user, peer, method, host, path)
        kept = epoch.fresh.get(wanted) or epoch.older.get(wanted)
        # The lower bound is for a clock that was set back: such a stamp would not be valid yet.
        if kept is not None and kept[0] <= now < kept[1]:
            return kept[2]
        issued = int(now)
        stamp = self._sign(epoch.key, issued, gateway, user, peer, method, host, path)
        if len(epoch.fresh) >= self._generation_size:
            epoch.older, epoch.fresh = epoch.fresh, {}
        # From `iat`, not from now: the fraction of a second that `iat` drops counts against the lifetime.
        epoch.fresh[wanted] = (now, min(issued + self._reuse, epoch.ends), stamp)
        return stamp

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
        self, key: SigningKey, issued: int, gateway: str, user: str, peer: str, method: str, host: str, path: str
    ) -> str:
        claims: dict[str, str | int] = {
            "iss": self._issuer,
            "aud": gateway,
            "sub": user,
            "iat": issued,
            "exp": issued + self._lifetime,
            "jti": encode_segment(os.urandom(JTI_BYTES)),
            "prx": peer,
        }
        if self._by_method:
            claims["htm"] = method
        if self._by_host:
            claims["hth"] = host
        if self._by_path:
            claims["pth"] = path
        signed = f"{key.header_segment}.{encode_segment(_to_json(claims))}"
        if len(signed) + 1 + _SIGNATURE_CHARACTERS > MAX_STAMP_BYTES:
            raise StampTooLargeError(
                f"the stamp would be longer than {MAX_STAMP_BYTES} bytes: the method has {len(method)} characters, "
                f"the host {len(host)}, the user {len(user)}"
            )
        signature = key.sign(signed.encode("ascii"))
        self._signatures.add()
        return f"{signed}.{encode_segment(signature)}"


def _to_json(claims: dict[str, str | int]) -> bytes:
    try:
        return json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; escaped, it equals nothing that a verifier sees.
        return json.dumps(claims, separators=(",", ":")).encode("ascii")
