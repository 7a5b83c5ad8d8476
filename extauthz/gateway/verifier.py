"""The verifier: a stamp and the request it came with in, an identity or a refusal out.

It ties the parts together (form, keys, checks, memory of what was verified) and knows nothing of ASGI or WSGI.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from extauthz.gateway.checks import (
    Check,
    Policy,
    Seen,
    binding_checks,
    claim_checks,
    header_checks,
    signature_checks,
    time_checks,
)
from extauthz.gateway.keycache import FixedKeys, KeyCache, Times
from extauthz.gateway.keyset import JwksError, Keys, parse_jwks
from extauthz.gateway.refusal import StampRefused
from extauthz.gateway.sources import FETCH_SECONDS, open_source
from extauthz.gateway.token import parse_object, parse_token
from extauthz.stamp.claims import ALGORITHMS, BINDINGS, DEFAULT_ISSUER, LEEWAY_SECONDS, Binding

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

MAX_VERIFIED_STAMPS: Final = 4096
"""How many verified stamps are remembered, so that one that comes again costs no second look at its signature."""

MAX_LEEWAY_SECONDS: Final = 300

_log = logging.getLogger("extauthz.gateway")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the stamp says is there, verified."""

    user: str
    """`sub`"""
    gateway: str
    """`aud`: this Gateway's id."""
    peer: str
    """`prx`: the address whose word about the user was taken."""
    issuer: str
    stamp_id: str
    """`jti`: the same where a stamp was handed out again."""
    issued_at: int
    """Unix seconds."""
    expires_at: int
    """Unix seconds."""
    key_id: str
    claims: Mapping[str, Any] = field(repr=False, hash=False)
    """All claims, read only."""


class StampVerifier:
    """Accepts stamps for one Gateway. Threads and tasks may share one."""

    def __init__(  # noqa: PLR0913 (a Gateway's whole policy, by name)
        self,
        jwks: str | Path | Mapping[str, Any],
        *,
        audience: str,
        issuer: str = DEFAULT_ISSUER,
        algorithms: Collection[str] = ALGORITHMS,
        require: Collection[Binding] = (),
        leeway: int = LEEWAY_SECONDS,
        timeout: float = FETCH_SECONDS,
        tls: ssl.SSLContext | None = None,
        times: Times | None = None,
        cache_size: int = MAX_VERIFIED_STAMPS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the verifier. A URL or file is read when the first stamp comes, or by `load()`.

        Args:
            jwks: The public keys: an https URL, an http URL of this host, a path or file URL, or the JWKS itself.
            audience: This Gateway's id, as extauthz's configuration has it.
            issuer: The `stamp.issuer` of that configuration.
            algorithms: What is accepted, of ES256 and EdDSA.
            require: What a stamp must be bound to, of "method", "host" and "path". What is bound is checked anyway.
            leeway: Seconds that this host's clock may differ from extauthz's.
            timeout: Seconds that one fetch of the JWKS may take.
            tls: For a JWKS URL with a certificate authority of one's own.
            times: How often the JWKS is read, and how long the last good one is used.
            cache_size: How many verified stamps are remembered; 0 checks every signature.
            clock: Unix seconds.

        Raises:
            ValueError: for a policy that would accept too much or nothing.
            JwksError: for a source that is refused, or a JWKS value that is none.
        """
        if not audience or not issuer:
            raise ValueError("audience and issuer: neither may be empty")
        if not algorithms or isinstance(algorithms, str) or set(algorithms) - ALGORITHMS:
            raise ValueError(f"algorithms: some of {', '.join(sorted(ALGORITHMS))}")
        if isinstance(require, str) or set(require) - BINDINGS.keys():
            raise ValueError(f"require: some of {', '.join(BINDINGS)}")
        if not 0 <= leeway <= MAX_LEEWAY_SECONDS:
            raise ValueError(f"leeway: 0 to {MAX_LEEWAY_SECONDS} seconds")
        self._policy = Policy(audience, issuer, frozenset(algorithms), frozenset(require), leeway)
        self._keys: KeyCache | FixedKeys
        if isinstance(jwks, Mapping):
            self._keys = FixedKeys(parse_jwks(jwks))
        else:
            self._keys = KeyCache(open_source(jwks, timeout=timeout, tls=tls), times)
        self._clock = clock
        # Two generations, as in the signer: a full memory forgets its older half.
        self._generation_size = cache_size // 2
        self._fresh: dict[str, Identity] = {}
        self._older: dict[str, Identity] = {}

    @property
    def audience(self) -> str:
        """The Gateway's id that stamps must name."""
        return self._policy.audience

    def load(self) -> None:
        """Read the JWKS now, if that was not done yet, so that a wrong source shows at start.

        Raises:
            JwksError: if there are no keys.
        """
        reads = self._keys.reads
        if self._keys.current() is None and self._keys.look_again(reads):
            self._keys.wait(reads)
        if self._keys.current() is None:
            raise JwksError(getattr(self._keys, "fault", None) or "the JWKS cannot be read")

    def verify(
        self,
        stamp: str,
        *,
        method: str | None = None,
        host: str | None = None,
        path: str | bytes | None = None,
    ) -> Identity:
        """Accept a stamp, or raise. May wait some seconds for a read of the JWKS if its `kid` is unknown.

        Args:
            stamp: The value of the stamp header; "" where it did not come.
            method: The request's method.
            host: The request's Host or :authority.
            path: The request's path and query, raw.

        Raises:
            StampRefused: whatever is wrong, and nothing else.
        """
        seen = Seen(method, host, path)
        reads = self._keys.reads
        try:
            return self._verify(stamp, seen)
        except StampRefused as refusal:
            if not self._may_help(refusal, reads):
                raise
        self._keys.wait(reads)
        return self._verify(stamp, seen)

    async def verify_async(
        self,
        stamp: str,
        *,
        method: str | None = None,
        host: str | None = None,
        path: str | bytes | None = None,
    ) -> Identity:
        """Do as `verify` does, without holding up asyncio's event loop while the JWKS is read.

        Raises:
            StampRefused: whatever is wrong, and nothing else.
        """
        seen = Seen(method, host, path)
        reads = self._keys.reads
        try:
            return self._verify(stamp, seen)
        except StampRefused as refusal:
            if not self._may_help(refusal, reads):
                raise
        await self._keys.wait_async(reads)
        return self._verify(stamp, seen)

    def explain(
        self,
        stamp: str,
        *,
        method: str | None = None,
        host: str | None = None,
        path: str | bytes | None = None,
    ) -> list[Check]:
        """List every check of a stamp, for a person to read; what the request's values are not given for is open.

        The claims are shown even if the signature is wrong, so believe them only if every check passed. Checks that
        cannot be made, as without a key, are missing after the one that failed.
        """
        checks: list[Check] = []
        try:
            self.load()
        except JwksError as error:
            checks.append(Check("jwks", None, "stamp_keys_unavailable", "{}", (str(error),)))
        try:
            token = parse_token(stamp)
            checks += header_checks(token, self._policy)
            checks += signature_checks(token, self._keys.current())
            claims = parse_object(token.payload, "payload")
            checks += claim_checks(claims, self._policy)
            if not any(check.reason == "stamp_claims" and not check.passed for check in checks):
                checks += time_checks(claims, self._policy, self._clock())
                checks += binding_checks(claims, Seen(method, host, path))
        except StampRefused as refusal:
            checks.append(Check("form", passed=False, reason=refusal.reason, template="{}", values=(refusal.detail,)))
        return checks

    def close(self) -> None:
        """End the background thread."""
        self._keys.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _may_help(self, refusal: StampRefused, reads: int) -> bool:
        return refusal.reason in {"stamp_key_unknown", "stamp_keys_unavailable"} and self._keys.look_again(reads)

    def _verify(self, stamp: str, seen: Seen) -> Identity:
        try:
            keys = self._keys.current()
            identity = self._fresh.get(stamp) or self._older.get(stamp)
            # A kid is the thumbprint of its key, so that the same kid published is the same key.
            if identity is None or keys is None or identity.key_id not in keys:
                identity = self._check_signed(stamp, keys)
                self._remember(stamp, identity)
            _require(time_checks(identity.claims, self._policy, self._clock()))
            _require(binding_checks(identity.claims, seen))
        except StampRefused:
            raise
        except Exception as error:
            _log.exception("a stamp could not be checked")
            raise StampRefused("stamp_internal_error", type(error).__name__) from error
        return identity

    def _check_signed(self, stamp: str, keys: Keys | None) -> Identity:
        token = parse_token(stamp)
        _require(header_checks(token, self._policy))
        _require(signature_checks(token, keys))
        claims = parse_object(token.payload, "payload")
        _require(claim_checks(claims, self._policy))
        return Identity(
            user=claims["sub"],
            gateway=claims["aud"],
            peer=claims["prx"],
            issuer=claims["iss"],
            stamp_id=claims["jti"],
            issued_at=claims["iat"],
            expires_at=claims["exp"],
            key_id=token.header["kid"],
            claims=MappingProxyType(claims),
        )

    def _remember(self, stamp: str, identity: Identity) -> None:
        if not self._generation_size:
            return
        if len(self._fresh) >= self._generation_size:
            self._older, self._fresh = self._fresh, {}
        self._fresh[stamp] = identity


def _require(checks: Iterable[Check]) -> None:
    for check in checks:
        if not check.passed:
            raise StampRefused(check.reason, f"{check.name}: {check.detail}")
