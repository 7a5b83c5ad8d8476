"""Public keys out of a JWKS document. Bytes in, keys out: where the bytes come from is `sources.py`'s business."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

if TYPE_CHECKING:
    from extauthz.stamp.claims import Algorithm

MAX_JWKS_BYTES: Final = 64 * 1024
"""The longest JWKS document that is read; ours has about 250 bytes a key."""

MAX_JWKS_KEYS: Final = 64
"""The most entries of a JWKS document."""

_SIGNATURE_BYTES: Final = 64
_SHA256: Final = ec.ECDSA(hashes.SHA256())


class JwksError(Exception):
    """The JWKS source, or what it answered, is not fit for use: the operator's to mend."""


class JwksUnavailableError(JwksError):
    """The source did not answer, or cannot now (429, 5xx): asked again in a while, it may."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of a JWKS."""

    kid: str
    algorithm: Algorithm
    key: ec.EllipticCurvePublicKey | Ed25519PublicKey = field(repr=False)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether this is the key's signature of the data, in JOSE's form (RFC 7518, section 3.4; RFC 8037)."""
        if len(signature) != _SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, data)
            else:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self.key.verify(encode_dss_signature(r, s), data, _SHA256)
        except InvalidSignature:
            return False
        return True


Keys: TypeAlias = Mapping[str, PublicKey]


def parse_jwks(document: bytes | Mapping[str, Any]) -> Keys:
    """Read the keys that can verify stamps, by `kid`; entries of other kinds are passed over, as RFC 7517 wants.

    A `kid` must be the key's RFC 7638 thumbprint: so a `kid` always means the same key.

    Raises:
        JwksError: if this is no JWKS, is too large, holds a private key, or has no key for a stamp.
    """
    keys = [key for key in map(_read_key, entries_of(document)) if key is not None]
    if not keys:
        raise JwksError("no ES256 or EdDSA key in the JWKS whose kid is its RFC 7638 thumbprint")
    return {key.kid: key for key in keys}


def entries_of(document: bytes | Mapping[str, Any]) -> list[Any]:
    """Return the entries of a JWKS, unread.

    Raises:
        JwksError: if this is no JWKS, is too large, or holds a private key.
    """
    if isinstance(document, bytes):
        document = _read_json(document)
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise JwksError('not a JWKS: it has no list "keys"')
    if len(entries) > MAX_JWKS_KEYS:
        raise JwksError(f"{len(entries)} keys in the JWKS, at most {MAX_JWKS_KEYS}")
    if any(isinstance(entry, dict) and "d" in entry for entry in entries):
        raise JwksError("the JWKS holds a private key, which is public now: replace that key")
    return entries


def _read_json(document: bytes) -> Mapping[str, Any]:
    if len(document) > MAX_JWKS_BYTES:
        raise JwksError(f"the JWKS is longer than {MAX_JWKS_BYTES} bytes")
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        raise JwksError("the JWKS is not JSON") from None
    if not isinstance(value, dict):
        raise JwksError("the JWKS is not a JSON object")
    return value


def _read_key(entry: object) -> PublicKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    try:
        match entry.get("kty"), entry.get("crv"):
            case "EC", "P-256":
                algorithm: Algorithm = "ES256"
                jwk: ECKey | OKPKey = ECKey.import_key({name: entry[name] for name in ("kty", "crv", "x", "y")})
            case "OKP", "Ed25519":
                algorithm = "EdDSA"
                jwk = OKPKey.import_key({name: entry[name] for name in ("kty", "crv", "x")})
            case _:
                return None
        kid = jwk.thumbprint()
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    key = jwk.public_key
    if entry.get("alg", algorithm) != algorithm or entry.get("kid") != kid:
        return None
    return PublicKey(kid, algorithm, key) if isinstance(key, ec.EllipticCurvePublicKey | Ed25519PublicKey) else None
