"""Tokens that were verified, so that one that comes again costs no second look at its signature. Bounded in all.

A token is known by a digest of all of it and of what was wanted of it. The token itself is not kept.
"""

from typing import Final, NamedTuple

from extauthz.core.assertion import Verified

MAX_REMEMBERED_TOKENS: Final = 16_384
"""Tokens of all gateways together."""

MAX_REMEMBERED_BYTES: Final = 8 * 1024 * 1024
"""What these cost together, by an estimate."""

_ENTRY_BYTES: Final = 400


class Remembered(NamedTuple):
    """One token that was verified.

    Attributes:
        verified: What it says.
        fingerprint: Of the key that signed it: while the issuer does not publish that key, it is not believed.
        until: When its time is over, in Unix seconds, with leeway.
    """

    verified: Verified
    fingerprint: bytes
    until: float


class VerifiedTokens:
    """The memory. Threads may share one: each step is one operation on a dictionary, and a lost entry costs a look."""

    def __init__(self, most: int = MAX_REMEMBERED_TOKENS, most_bytes: int = MAX_REMEMBERED_BYTES) -> None:
        """Prepare an empty memory.

        Args:
            most: How many tokens are remembered; with 0, none.
            most_bytes: What they cost at most.
        """
        # Two generations: a full memory forgets its older half.
        self._most: Final = most // 2
        self._most_bytes: Final = most_bytes // 2
        self._fresh: dict[bytes, Remembered] = {}
        self._older: dict[bytes, Remembered] = {}
        self._bytes = 0

    def find(self, digest: bytes) -> Remembered | None:
        """Return what is known of a token."""
        return self._fresh.get(digest) or self._older.get(digest)

    def add(self, digest: bytes, remembered: Remembered) -> None:
        """Remember a token, if it is not too large for that."""
        cost = _ENTRY_BYTES + len(remembered.verified.user) * 4
        if cost > self._most_bytes or not self._most:
            return
        if len(self._fresh) >= self._most or self._bytes + cost > self._most_bytes:
            self._older, self._fresh, self._bytes = self._fresh, {}, 0
        self._fresh[digest] = remembered
        self._bytes += cost

    def forget(self, digest: bytes) -> None:
        """Forget a token."""
        self._fresh.pop(digest, None)
        self._older.pop(digest, None)

    def __len__(self) -> int:
        return len(self._fresh) + len(self._older)
