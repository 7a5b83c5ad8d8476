"""One signature in the form that JOSE wants. Apart, because it is made while a request waits."""

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from extauthz.stamp.jwk import COORDINATE_BYTES, PrivateKey

_SHA256: Final = ec.ECDSA(hashes.SHA256())


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Sign as JOSE does: EdDSA (RFC 8037), or ES256 as R and S of 32 bytes each (RFC 7518, section 3.4)."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    return jose_signature(key.sign(data, _SHA256))


def jose_signature(signature: bytes) -> bytes:
    """Return R and S of 32 bytes each, from a signature on P-256 in DER: SEQUENCE {INTEGER, INTEGER} (RFC 3279, 2.2.3).

    Of what this process's library has just written, where every length is one byte: numbers below 2**256 have 33 bytes
    at most, with the zero that keeps them positive. Nothing that comes from elsewhere is read so.
    """
    end = 4 + signature[3]
    r, s = signature[4:end], signature[end + 2 :]
    return r[-COORDINATE_BYTES:].rjust(COORDINATE_BYTES, b"\0") + s[-COORDINATE_BYTES:].rjust(COORDINATE_BYTES, b"\0")
