"""Public keys of issuers: out of a JWKS or a PEM, and what each can verify. Bytes in, keys out; nothing is fetched.

An issuer's keys are not ours: any `kid`, several kinds of key. Which algorithm is accepted is not decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from extauthz.assertion.rules import MAX_KID_CHARACTERS
from extauthz.gateway.keyset import JwksError, entries_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MIN_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""

MAX_RSA_BITS: Final = 8192
"""A longer one would cost a request milliseconds."""

MAX_RSA_EXPONENT: Final = 2**32
"""Of RSA keys in use it is 65537; an enormous one makes each signature slow."""

_HASHES: Final = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EDDSA: Final = frozenset({"EdDSA"})
_MEMBERS: Final[dict[str, tuple[type[ECKey | RSAKey | OKPKey], tuple[str, ...]]]] = {
    "EC": (ECKey, ("kty", "crv", "x", "y")),
    "RSA": (RSAKey, ("kty", "n", "e")),
    "OKP": (OKPKey, ("kty", "crv", "x")),
}

Key: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One public key.

    Attributes:
        kid: What the issuer calls it.
        algorithms: What it can verify.
        fingerprint: SHA-256 of the key itself: the same `kid` may mean another key tomorrow.
    """

    kid: str
    algorithms: frozenset[str]
    fingerprint: bytes
    key: Key = field(repr=False)

    def verify(self, algorithm: str, signature: bytes, data: bytes) -> bool:
        """Tell whether this is the key's signature of the data, in JOSE's form (RFC 7518, section 3; RFC 8037)."""
        if algorithm not in self.algorithms:
            return False
        try:
            _verify(self.key, algorithm, signature, data)
        except InvalidSignature:
            return False
        return True


Keys: TypeAlias = Mapping[str, IssuerKey]


def _verify(key: Key, algorithm: str, signature: bytes, data: bytes) -> None:
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, data)
        return
    digest = _HASHES[algorithm[2:]]
    if isinstance(key, rsa.RSAPublicKey):
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm.startswith("PS"):
            scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        key.verify(signature, data, scheme, digest)
        return
    size = (key.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))


def parse_issuer_jwks(document: bytes) -> Keys:
    """Read the keys of a JWKS that can verify signatures, by `kid`; others are passed over (RFC 7517, section 5).

    Where two different keys have one `kid`, neither is used: which one is meant cannot be told.

    Raises:
        JwksError: This is no JWKS, is too large, holds a private key, or has no key that can be used.
    """
    found: dict[str, IssuerKey | None] = {}
    for key in filter(None, map(_read_entry, entries_of(document))):
        known = found.setdefault(key.kid, key)
        if known is not None and known.fingerprint != key.fingerprint:
            found[key.kid] = None
    keys = {kid: key for kid, key in found.items() if key is not None}
    if not keys:
        raise JwksError("no key in the JWKS that has a kid and can verify signatures (EC, RSA of 2048 bits, Ed25519)")
    return keys


def parse_pem(kid: str, document: bytes) -> IssuerKey:
    """Read one public key in PEM.

    Raises:
        JwksError: It is none, or of a kind that is not used.
    """
    try:
        found = load_pem_public_key(document)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise JwksError("what came is no public key in PEM") from None
    key = _issuer_key(kid, found)
    if key is None:
        raise JwksError("the key is of a kind or a size that is not used")
    return key


def _read_entry(entry: object) -> IssuerKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    key = _issuer_key(kid, _imported(entry))
    if key is None or "alg" not in entry:
        return key
    named = key.algorithms & {entry["alg"]} if isinstance(entry["alg"], str) else frozenset[str]()
    return IssuerKey(kid, named, key.fingerprint, key.key) if named else None


def _imported(entry: dict[str, Any]) -> PublicKeyTypes | None:
    kind = entry.get("kty")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        return None
    make, members = _MEMBERS[kind]
    if kind == "RSA" and not _fits_rsa(entry.get("n")):
        return None
    load: Callable[[dict[str, Any]], Any] = make.import_key
    try:
        found: PublicKeyTypes = load({name: entry[name] for name in members}).public_key
    except (JoseError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    return found


def _fits_rsa(modulus: object) -> bool:
    """Tell whether it has about the right length, before anything is computed with it: base64 has 6 bits a letter."""
    return isinstance(modulus, str) and MIN_RSA_BITS <= len(modulus) * 6 <= MAX_RSA_BITS + 24


def _issuer_key(kid: str, key: PublicKeyTypes | None) -> IssuerKey | None:
    algorithms = _algorithms(key)
    if not algorithms or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey):
        return None
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return IssuerKey(kid, algorithms, hashlib.sha256(encoded).digest(), key)


def _algorithms(key: PublicKeyTypes | None) -> frozenset[str]:
    if isinstance(key, Ed25519PublicKey):
        return _EDDSA
    if isinstance(key, rsa.RSAPublicKey):
        fits = MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and key.public_numbers().e < MAX_RSA_EXPONENT
        return _RSA if fits else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return frozenset({_CURVES[key.curve.name]})
    return frozenset()
