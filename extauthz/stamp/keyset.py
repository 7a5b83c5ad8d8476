"""The keys of one moment: which signs, which are published, as a pure function of the keys, the time and the margins.

No files, no clock, no configuration: `keys.py` reads the directory and knows the time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from extauthz.stamp.claims import (
    LEEWAY_SECONDS,
    MAX_LIFETIME_SECONDS,
    SKEW_SECONDS,
    TYPE,
    Algorithm,
    encode_bytes,
)
from extauthz.stamp.jwk import PrivateKey, public_members, thumbprint

State: TypeAlias = Literal["next", "active", "previous", "retired"]

PUBLICATION_SECONDS: Final = 300
"""How long a key is published before it signs. It covers what lies between a new file and the last verifier that knows
it: the service's look at the directory (seconds), a Kubernetes Secret's way to the node (about two minutes), JWKS
caches (60 s), the verifier's refresh (60 s), and the clocks."""

WITHDRAWAL_SLACK_SECONDS: Final = 30
"""Added to how long a previous key stays published, for a replica that was slow to look at its directory."""


@dataclass(frozen=True)
class Schedule:
    """The margins of a rotation, in seconds."""

    lifetime: int = 60
    """How long a stamp lives."""
    publication: int = PUBLICATION_SECONDS
    """How long a new key is published before it signs."""
    skew: int = SKEW_SECONDS
    """How far the clocks of two replicas, or of a replica and a verifier, may lie apart."""
    leeway: int = LEEWAY_SECONDS
    """How long after its end a verifier still takes a stamp."""
    slack: int = WITHDRAWAL_SLACK_SECONDS
    """What is added against slow reloads."""

    def __post_init__(self) -> None:
        """Check the lifetime.

        Raises:
            ValueError: for a lifetime that no verifier would accept, or a negative margin.
        """
        if not 1 <= self.lifetime <= MAX_LIFETIME_SECONDS:
            raise ValueError(f"a stamp's lifetime is 1 to {MAX_LIFETIME_SECONDS} seconds, not {self.lifetime}")
        if min(self.publication, self.skew, self.leeway, self.slack) < 0:
            raise ValueError("a margin cannot be negative")

    @property
    def withdrawal(self) -> int:
        """How long after its successor began to sign a key is still published, in seconds.

        A replica whose clock is late signs with it for up to `skew` longer; that stamp lives `lifetime`, is taken
        for `leeway` more, by a verifier whose clock may be late too.
        """
        return self.lifetime + self.leeway + 2 * self.skew + self.slack


@dataclass(frozen=True, eq=False)
class SigningKey:
    """One private key, with what does not change from stamp to stamp prepared once."""

    private_key: PrivateKey = field(repr=False)
    activates_at: int
    """When it begins to sign, in Unix seconds."""
    created_at: int
    """When it was made, in Unix seconds."""
    file: str = ""
    """The name of its file in the directory."""
    mode: int = 0o600
    """The permission bits of that file."""

    @cached_property
    def algorithm(self) -> Algorithm:
        """ES256 for a P-256 key, EdDSA for an Ed25519 key."""
        return "ES256" if isinstance(self.private_key, ec.EllipticCurvePrivateKey) else "EdDSA"

    @cached_property
    def public_jwk(self) -> dict[str, str]:
        """The public key as its JWKS has it (RFC 7517, section 4)."""
        members = public_members(self.private_key.public_key())
        return {**members, "use": "sig", "alg": self.algorithm, "kid": thumbprint(members)}

    @cached_property
    def kid(self) -> str:
        """The RFC 7638 thumbprint of the public key."""
        return self.public_jwk["kid"]

    @cached_property
    def header_segment(self) -> bytes:
        """The protected header of every stamp that this key signs, encoded."""
        header = {"alg": self.algorithm, "kid": self.kid, "typ": TYPE}
        return encode_bytes(json.dumps(header, separators=(",", ":")).encode())

    @property
    def group_readable(self) -> bool:
        """Whether others of the file's group can read or change it, as Kubernetes mounts Secrets."""
        return bool(self.mode & 0o070)


@dataclass(frozen=True, eq=False)
class KeySet:
    """The keys of a directory, oldest first, and the margins they are turned over by."""

    keys: tuple[SigningKey, ...]
    schedule: Schedule
    ignored: tuple[str, ...] = ()
    """Names in the directory that are no key files."""

    def __post_init__(self) -> None:
        """Order the keys by the time at which they begin to sign, so that each has its successor after it."""
        ordered = tuple(sorted(self.keys, key=lambda key: (key.activates_at, key.created_at, key.file, key.kid)))
        object.__setattr__(self, "keys", ordered)

    @cached_property
    def _begins(self) -> tuple[float, ...]:
        # The oldest key signs whatever a late clock says: without it nothing would.
        return (-math.inf, *(float(key.activates_at) for key in self.keys[1:]))

    def states(self, now: float) -> list[tuple[SigningKey, State]]:
        """Tell the state of every key at this time, oldest key first."""
        ends = (*self._begins[1:], math.inf)
        return [
            (key, self._state(begin, end, now)) for key, begin, end in zip(self.keys, self._begins, ends, strict=False)
        ]

    def _state(self, begin: float, end: float, now: float) -> State:
        if now < begin:
            return "next"
        if now < end:
            return "active"
        return "previous" if now < end + self.schedule.withdrawal else "retired"

    def active(self, now: float) -> SigningKey | None:
        """Return the key that signs at this time: the last one that has begun to; None where there is no key."""
        return next((key for key, state in self.states(now) if state == "active"), None)

    def next_change(self, now: float) -> float:
        """Return when another key begins to sign, in Unix seconds; infinity where none is waiting."""
        return next((begin for begin in self._begins if begin > now), math.inf)

    def published(self, now: float) -> list[SigningKey]:
        """Return the keys that verifiers must know at this time: all but the retired."""
        return [key for key, state in self.states(now) if state != "retired"]
