"""The checks of a stamp, in their order, as data that comes one by one: what was looked at, and whether it passed.

`StampVerifier.verify` stops at the first that fails, `explain` shows them all: one list, so that they cannot differ.
No keys are fetched here and no clock is read.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from extauthz.stamp.claims import BINDINGS, MAX_LIFETIME_SECONDS, TYPE, is_kid, normal_host, path_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extauthz.gateway.keyset import Keys
    from extauthz.gateway.token import Token

HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
"""All that a stamp's header has. Anything else is refused, above all what names a key: jku, jwk, x5u, x5c, crit."""

_TEXT_CLAIMS: Final = ("iss", "aud", "sub", "jti", "prx")
_NO_HEADER_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_SHOWN: Final = 120
_MAX_TIME: Final = 10**12  # Unix seconds, in 30,000 years


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    passed: bool | None
    """None: it was not checked, because there was nothing to compare it with."""
    reason: str
    """Why the stamp is refused if it did not pass; a key of `REASONS`."""
    template: str
    values: tuple[object, ...] = ()

    @property
    def detail(self) -> str:
        """What was seen and what was wanted, safe for a log. Written out only when asked for: most checks pass."""
        return self.template.format(*map(show, self.values))


@dataclass(frozen=True, slots=True)
class Policy:
    """What a Gateway accepts."""

    audience: str
    issuer: str
    algorithms: frozenset[str]
    require: frozenset[str]
    leeway: int
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The request that the stamp came with; None is what the server does not tell."""

    method: str | None
    host: str | None
    path: str | bytes | None


def header_checks(token: Token, policy: Policy) -> Iterator[Check]:
    """Look at the protected header, before any key is chosen by it."""
    header = token.header
    strange = header.keys() - HEADER_MEMBERS
    yield Check("header", not strange, "stamp_header", "alg, kid and typ only; also there: {}", (strange,))
    algorithm = header.get("alg")
    pinned = isinstance(algorithm, str) and algorithm in policy.algorithms
    yield Check("alg", pinned, "stamp_algorithm", "{}; accepted: {}", (algorithm, policy.algorithms))
    kind = header.get("typ")
    yield Check("typ", kind == TYPE, "stamp_type", "{}; wanted {}", (kind, TYPE))
    kid = header.get("kid")
    yield Check("kid", is_kid(kid), "stamp_header", "{}; wanted an RFC 7638 thumbprint", (kid,))


def signature_checks(token: Token, keys: Keys | None) -> Iterator[Check]:
    """Choose the key by its `kid` among the published ones, and check the signature. Ends where there is no key."""
    if keys is None:
        yield Check("key", passed=False, reason="stamp_keys_unavailable", template="there are no keys to verify with")
        return
    kid = token.header.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        yield Check("key", passed=False, reason="stamp_key_unknown", template="{}; published: {}", values=(kid, keys))
        return
    same = token.header.get("alg") == key.algorithm
    yield Check("key", same, "stamp_algorithm", "published, for {}", (key.algorithm,))
    yield Check("signature", same and key.verify(token.signature, token.signed), "stamp_signature", "of this key")


def claim_checks(claims: Mapping[str, Any], policy: Policy) -> Iterator[Check]:
    """Look at what the stamp says, whoever asks and whenever."""
    wrong = [name for name in _TEXT_CLAIMS if not _is_header_text(claims.get(name))]
    wrong += [name for name in ("iat", "exp") if not _is_time(claims.get(name))]
    wrong += [name for name in BINDINGS.values() if not isinstance(claims.get(name, ""), str)]
    wrong += [] if _is_time(claims.get("nbf", 0)) else ["nbf"]
    yield Check("claims", not wrong, "stamp_claims", "missing or not of its type: {}", (wrong,))
    issuer, audience = claims.get("iss"), claims.get("aud")
    yield Check("iss", issuer == policy.issuer, "stamp_issuer", "{}; wanted {}", (issuer, policy.issuer))
    yield Check("aud", audience == policy.audience, "stamp_audience", "{}; wanted {}", (audience, policy.audience))
    begin, end = claims.get("iat"), claims.get("exp")
    if _is_time(begin) and _is_time(end):
        lives = 0 < end - begin <= MAX_LIFETIME_SECONDS
        yield Check("lifetime", lives, "stamp_lifetime", "{} s; at most {}", (end - begin, MAX_LIFETIME_SECONDS))
    missing = [name for name in policy.require if BINDINGS[name] not in claims]
    yield Check("bindings", not missing, "stamp_binding_missing", "required but not bound: {}", (missing,))


def time_checks(claims: Mapping[str, Any], policy: Policy, now: float) -> Iterator[Check]:
    """Look at the clock; `now` is in Unix seconds."""
    age = now - max(claims["iat"], claims.get("nbf", 0))
    leeway = policy.leeway
    yield Check("iat", age >= -leeway, "stamp_not_yet_valid", "signed {} s ago; leeway {} s", (age, leeway))
    left = claims["exp"] - now
    yield Check("exp", left > -leeway, "stamp_expired", "ends in {} s; leeway {} s", (left, leeway))


def binding_checks(claims: Mapping[str, Any], seen: Seen) -> Iterator[Check]:
    """Compare what is bound with the request. `passed` is None where the request's value is not known."""
    if "htm" in claims:
        yield _compare("htm", claims["htm"], seen.method, "stamp_method")
    if "hth" in claims:
        yield _compare("hth", claims["hth"], None if seen.host is None else normal_host(seen.host), "stamp_host")
    if "pth" in claims:
        yield _compare("pth", claims["pth"], None if seen.path is None else path_hash(seen.path), "stamp_path")


def _compare(name: str, bound: str, actual: str | None, reason: str) -> Check:
    passed = None if actual is None else bound == actual
    return Check(name, passed, reason, "{}; the request's: {}", (bound, actual))


def show(value: object) -> str:
    """Write a value that came from outside so that it is safe in a log: short, and ASCII without control characters."""
    if isinstance(value, str):
        safe = value.encode("unicode_escape").decode("ascii")
        return safe if len(safe) <= _MAX_SHOWN else f"{safe[:_MAX_SHOWN]}..."
    if isinstance(value, Collection) and all(isinstance(item, str) for item in value):
        return show(", ".join(sorted(value))) if value else "none"
    # Python refuses to write a very long number out.
    if isinstance(value, int | float) and abs(value) < _MAX_TIME:
        return f"{value:.0f}"
    return "none" if value is None else f"a {type(value).__name__}"


def _is_time(value: object) -> TypeGuard[int]:
    # Whole seconds, and no bool, which Python takes for an int. Beyond this a number is no time, and no float either.
    return type(value) is int and 0 <= value < _MAX_TIME


def _is_header_text(value: object) -> bool:
    # What can be written into a header: not blank, no control characters, and nothing that UTF-8 does not have.
    return isinstance(value, str) and not _NO_HEADER_TEXT.search(value) and not value.isspace() and value != ""
