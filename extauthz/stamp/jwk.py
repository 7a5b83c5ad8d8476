"""Our keys as JSON Web Keys (RFC 7517): P-256 (RFC 7518, section 6.2) and Ed25519 (RFC 8037), and nothing else.

For keys of our own only. A JWKS that somebody else wrote is read by `gateway.keyset`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from extauthz.stamp.claims import decode_segment, encode_segment

if TYPE_CHECKING:
    from collections.abc import Mapping

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | Ed25519PublicKey

COORDINATE_BYTES: Final = 32
_P256: Final = ("EC", "P-256")
_ED25519: Final = ("OKP", "Ed25519")


def public_members(key: PublicKey) -> dict[str, str]:
    """Return the members that make up a public key, and no other."""
    if isinstance(key, Ed25519PublicKey):
        return {"crv": "Ed25519", "x": encode_segment(key.public_bytes_raw()), "kty": "OKP"}
    point = key.public_numbers()
    return {"crv": "P-256", "x": _encoded(point.x), "y": _encoded(point.y), "kty": "EC"}


def private_members(key: PrivateKey) -> dict[str, str]:
    """Return the members that make up a private key: those of its public one, and the secret."""
    secret = (
        encode_segment(key.private_bytes_raw())
        if isinstance(key, Ed25519PrivateKey)
        else _encoded(key.private_numbers().private_value)
    )
    return {**public_members(key.public_key()), "d": secret}


def thumbprint(members: Mapping[str, str]) -> str:
    """Return the RFC 7638 thumbprint of a public key, by `public_members`."""
    return encode_segment(hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest())


def read_private(document: Mapping[str, Any]) -> PrivateKey | None:
    """Read a private key; None for one of another kind.

    Raises:
        ValueError: A member is missing or no such value, or the public part is not that of the secret. What is raised
            may have been made of the secret, and is for nobody's eyes.
    """
    match document.get("kty"), document.get("crv"):
        case kind if kind == _P256:
            d, x, y = (int.from_bytes(_decoded(document, name), "big") for name in ("d", "x", "y"))
            return ec.EllipticCurvePrivateNumbers(d, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())).private_key()
        case kind if kind == _ED25519:
            key = Ed25519PrivateKey.from_private_bytes(_decoded(document, "d"))
            if key.public_key().public_bytes_raw() != _decoded(document, "x"):
                raise ValueError("the public key is another's")
            return key
    return None


def _encoded(number: int) -> str:
    return encode_segment(number.to_bytes(COORDINATE_BYTES, "big"))


def _decoded(document: Mapping[str, Any], name: str) -> bytes:
    value = document.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing")  # noqa: TRY004 - the type of a value in a file
    data = decode_segment(value)
    if len(data) > COORDINATE_BYTES:
        raise ValueError(f"{name} is too long")
    return data
