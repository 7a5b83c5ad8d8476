"""The verifier of one gateway's assertion: a token in, what it says or why it is not believed out.

It fetches nothing and waits for nothing: it takes the keys as they are now, and asks for others in the background.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from extauthz.assertion.memory import Remembered, VerifiedTokens
from extauthz.assertion.rules import MAX_KID_CHARACTERS, MAX_TOKEN_BYTES, Rules
from extauthz.core.assertion import Flaw, Refused, Verdict, Verified
from extauthz.core.text import trim
from extauthz.gateway.checks import show
from extauthz.gateway.refusal import StampRefused
from extauthz.gateway.token import Token, parse_object, parse_token
from extauthz.stamp.signer import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extauthz.assertion.keys import IssuerKey
    from extauthz.assertion.sources import IssuerKeys

FORBIDDEN_MEMBERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})
"""Of the header: what would let a token choose the key it is verified with, or be read in another way."""

_MAX_TIME: Final = 10**12  # Unix seconds, in 30,000 years
# A read that was under way when the key was first asked for may have been too early for it.
_PATIENT_LOOKS: Final = 3
# JSON can escape one alone, which is no character: there is no UTF-8 in which anybody could be told of such a user.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UNITS: Final = (("days", 86_400), ("h", 3600), ("min", 60))
# What an issuer says that has verified an email, or says nothing of it; Cognito and others write a text.
_VERIFIED_EMAIL: Final = (None, True, "true", "True")


class AssertionVerifier:
    """Verifies tokens for all gateways that want the same. Threads may share one."""

    def __init__(  # noqa: PLR0913 - what it needs, each by name
        self,
        rules: Rules,
        keys: IssuerKeys,
        *,
        memory: VerifiedTokens | None = None,
        signatures: Signatures | None = None,
        clock: Callable[[], float] = time.time,
        patient: bool = False,
    ) -> None:
        """Prepare the verifier.

        Args:
            rules: What is accepted.
            keys: The issuer's keys.
            memory: Where verified tokens are remembered; shared by many verifiers.
            signatures: Counts the signatures that are verified.
            clock: Unix seconds.
            patient: Wait for a read that may bring the key; for a command, never for a service.
        """
        self.rules: Final = rules
        self.keys: Final = keys
        self._memory: Final = memory if memory is not None else VerifiedTokens()
        self._signatures: Final = signatures if signatures is not None else Signatures()
        self._clock: Final = clock
        self._patient: Final = patient
        # The same token is another one to who wants something else of it.
        self._wanted: Final = hashlib.sha256(repr(rules).encode(errors="surrogatepass"))

    def verify(self, token: str) -> Verdict:
        """Return what a token says, or why it is not believed."""
        if len(token) > MAX_TOKEN_BYTES:
            return _invalid(f"it has more than {MAX_TOKEN_BYTES} bytes")
        digesting = self._wanted.copy()
        digesting.update(token.encode(errors="surrogatepass"))
        digest = digesting.digest()
        known = self._memory.find(digest)
        if known is not None:
            key = self.keys.find(known.verified.key_id)
            if key is not None and key.fingerprint == known.fingerprint:
                now = self._clock()
                return known.verified if now < known.until else _expired(known.until - now)
            self._memory.forget(digest)
        verdict = self._verify(token)
        if isinstance(verdict, Remembered):
            self._memory.add(digest, verdict)
            return verdict.verified
        return verdict

    def describe(self, verified: Verified) -> str:
        """Return what was verified, in words."""
        left = verified.expires_at - self._clock()
        return (
            f"signed with key {show(verified.key_id)} of {show(verified.issuer)} for {show(verified.audience)}, "
            f"expires in {_lasting(left)}"
        )

    def _verify(self, text: str) -> Remembered | Refused:
        rules = self.rules
        try:
            token = parse_token(text, longest=MAX_TOKEN_BYTES, padded=rules.padded)
        except StampRefused as refusal:
            return _invalid(refusal.detail)
        flaw = _flaw_of_header(token.header, rules)
        if flaw is not None:
            return _invalid(flaw)
        kid = token.header["kid"]
        key = self._find(kid)
        if isinstance(key, Refused):
            return key
        self._signatures.add()
        if not key.verify(token.header["alg"], token.signature, token.signed):
            return _invalid(f"it is not signed with key {show(kid)}, or with another algorithm than that key's")
        return self._check_claims(token, key)

    def _find(self, kid: str) -> IssuerKey | Refused:
        keys, reading = self.keys, False
        for _ in range(_PATIENT_LOOKS if self._patient else 1):
            reads = keys.reads
            key = keys.find(kid)
            if key is not None:
                return key
            reading = keys.want(kid)
            if reading and self._patient:
                keys.wait(reads)
        published = keys.current()
        if published is None:
            why = f": {keys.fault}" if keys.fault is not None else "" if keys.reads else " yet"
            return _invalid(f"there are no keys to verify it with{why}")
        soon = "; they are being read again" if reading else ""
        return _invalid(f"key {show(kid)} is none of the {len(published)} that are known{soon}")

    def _check_claims(self, token: Token, key: IssuerKey) -> Remembered | Refused:
        rules = self.rules
        try:
            claims = parse_object(token.payload, "payload")
        except StampRefused as refusal:
            return _invalid(refusal.detail)
        said = _registered(token, claims, in_header=rules.claims_in_header)
        if said.issuer != rules.issuer:
            return _invalid(f"its issuer is {show(said.issuer)}; wanted is {show(rules.issuer)}")
        audience = next((one for one in rules.audiences if one in said.audiences), None)
        if audience is None:
            return Refused(Flaw.AUDIENCE, f"it is for {show(said.audiences)}; wanted is {show(rules.audiences)}")
        until = self._until(said)
        if isinstance(until, Refused):
            return until
        user = claims.get(rules.user_claim)
        if not isinstance(user, str) or not trim(user) or _SURROGATE.search(user):
            return _invalid(f"its claim {show(rules.user_claim)} names nobody")
        if rules.user_claim == "email" and claims.get("email_verified") not in _VERIFIED_EMAIL:
            return _invalid("its issuer does not say that the email is verified (email_verified)")
        ends = until - rules.leeway
        return Remembered(Verified(user, key.kid, rules.issuer, audience, ends), key.fingerprint, until)

    def _until(self, said: _Registered) -> float | Refused:
        """Return when the token's time is over, leeway included, if it is in its time now."""
        rules, now, begins, ends = self.rules, self._clock(), said.begins, said.ends
        if not _is_time(ends):
            return _invalid("its exp is missing, or no time")
        if begins is None and rules.claims_in_header:
            if ends > now + rules.max_age + rules.leeway:
                return _invalid(f"it is good for {_lasting(ends - now)} more; maxAge is {_lasting(rules.max_age)}")
            begins = now
        if not _is_time(begins) or not (said.not_before is None or _is_time(said.not_before)):
            return _invalid("its iat is missing, or it or nbf is no time")
        ahead = max(begins, said.not_before or 0) - now
        if ahead > rules.leeway:
            return _invalid(f"it begins in {_lasting(ahead)}: the clocks differ")
        until = min(ends, begins + rules.max_age) + rules.leeway
        return until if now < until else _expired(until - now)


class _Registered(NamedTuple):
    """What a token says of itself (RFC 7519, section 4.1), as it stands there; times are Unix seconds."""

    issuer: object
    audiences: tuple[str, ...]
    begins: object
    not_before: object
    ends: object


def _flaw_of_header(header: Mapping[str, Any], rules: Rules) -> str | None:
    """Return what is wrong with the header, before any key is chosen by it; None if nothing is."""
    strange = header.keys() & FORBIDDEN_MEMBERS
    if strange:
        return f"its header has {show(strange)}, which is never heeded"
    algorithm, kind, kid = header.get("alg"), header.get("typ", rules.token_type), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        return f"its algorithm is {show(algorithm)}; accepted: {show(rules.algorithms)}"
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") != rules.token_type.lower():
        return f"its typ is {show(kind)}; wanted is {show(rules.token_type)}"
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        return "its header has no kid"
    if rules.signer and header.get("signer") != rules.signer:
        return f"its signer is {show(header.get('signer'))}; wanted is {show(rules.signer)}"
    return None


def _registered(token: Token, claims: Mapping[str, Any], *, in_header: bool) -> _Registered:
    """Return what the token says of itself."""
    begins, not_before, ends = claims.get("iat"), claims.get("nbf"), claims.get("exp")
    issuer, audience = claims.get("iss"), claims.get("aud")
    if in_header:
        header = token.header
        audience = header.get("client")
        # Where the payload says it too, it says the same.
        issuer = header.get("iss") if issuer is None or issuer == header.get("iss") else [str(issuer), "in its payload"]
        ends = header.get("exp") if ends is None or ends == header.get("exp") else None
    audiences = audience if isinstance(audience, list) else [audience]
    return _Registered(issuer, tuple(one for one in audiences if isinstance(one, str)), begins, not_before, ends)


def _is_time(value: object) -> TypeGuard[float]:
    # RFC 7519, section 2, "NumericDate"; no bool, which Python takes for a number, and no NaN.
    return type(value) in {int, float} and 0 <= value < _MAX_TIME  # type: ignore[operator]


def _invalid(detail: str) -> Refused:
    return Refused(Flaw.INVALID, detail)


def _expired(left: float) -> Refused:
    return Refused(Flaw.EXPIRED, f"its time was over {_lasting(-left)} ago, leeway included")


def _lasting(seconds: float) -> str:
    """Return a time in its largest unit that has more than one in it, for people."""
    left = max(seconds, 0.0)
    return next((f"{left // size:.0f} {unit}" for unit, size in _UNITS if left >= 2 * size), f"{left:.0f} s")
