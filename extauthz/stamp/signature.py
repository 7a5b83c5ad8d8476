"""One signature in the form that JOSE wants. Apart, because it is made while a request waits."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from extauthz.stamp.jwk import COORDINATE_BYTES, PrivateKey

_SHA256: Final = ec.ECDSA(hashes.SHA256())


def signing(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return what signs with a key as JOSE does: EdDSA (RFC 8037), or ES256 as R and S of 32 bytes (RFC 7518, 3.4)."""
    # Of which kind a key is, is asked once: to ask takes a microsecond.
    return key.sign if isinstance(key, Ed25519PrivateKey) else partial(_sign_es256, key.sign)


def _sign_es256(sign: Callable[[bytes, Any], bytes], data: bytes) -> bytes:
    return jose_signature(sign(data, _SHA256))


def jose_signature(signature: bytes) -> bytes:
    """Return R and S of 32 bytes each, from a signature on P-256 in DER: SEQUENCE {INTEGER, INTEGER} (RFC 3279, 2.2.3).

    Of what this process's library has just written, where every length is one byte: numbers below 2**256 have 33 bytes
    at most, with the zero that keeps them positive. Nothing that comes from elsewhere is read so.
    """
    end = 4 + signature[3]
    if end - 4 >= COORDINATE_BYTES and signature[end + 1] >= COORDINATE_BYTES:  # of 254 in 256, in half of the time
        return signature[end - COORDINATE_BYTES : end] + signature[-COORDINATE_BYTES:]
    r, s = signature[4:end], signature[end + 2 :]
    return r[-COORDINATE_BYTES:].rjust(COORDINATE_BYTES, b"\0") + s[-COORDINATE_BYTES:].rjust(COORDINATE_BYTES, b"\0")
