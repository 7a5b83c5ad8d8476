"""The stamp's format: names, limits, and how what it is bound to is written.

Both sides import this file, the signer and the Gateway's verifier, so that they cannot drift apart. Only names and
pure functions of the standard library may live here: no keys, no clock, no I/O.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final, Literal, TypeAlias, get_args

Algorithm: TypeAlias = Literal["ES256", "EdDSA"]
Binding: TypeAlias = Literal["method", "host", "path"]

TYPE: Final = "authz-stamp+jwt"
"""The header's `typ` (RFC 8725, section 3.11): a token of any other use of the same keys is no stamp."""

ALGORITHMS: Final[frozenset[str]] = frozenset(get_args(Algorithm))
"""Signatures only (RFC 7518, section 3.4; RFC 8037, section 3.1): with a shared secret, who can verify could sign."""

BINDINGS: Final[dict[str, str]] = {"method": "htm", "host": "hth", "path": "pth"}
"""What a stamp can be bound to, by its name in the configuration, and the claim that holds it."""

DEFAULT_ISSUER: Final = "extauthz"

MAX_LIFETIME_SECONDS: Final = 3600
"""The longest `exp - iat` that is signed or accepted: a stamp speaks for one request, not for a day."""

LEEWAY_SECONDS: Final = 10
"""How far `iat` may lie ahead of, and `exp` behind, the verifier's clock."""

SKEW_SECONDS: Final = 10
"""How far two replicas' clocks may lie apart."""

MAX_STAMP_BYTES: Final = 8 * 1024
"""The longest stamp that is read at all; a real one has about 500 bytes."""

_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")

_HOST: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")


def encode_segment(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515, section 2)."""
    return encode_bytes(data).decode("ascii")


def encode_bytes(data: bytes) -> bytes:
    """Encode as `encode_segment`, to bytes; what `base64` does, without its calls in between."""
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=")


def decode_segment(text: str) -> bytes:
    """Decode base64url without padding, in its one canonical form.

    Raises:
        ValueError: for padding, any other character, or unused bits that are not zero. Two texts of one value would
            be two tokens of one signature.
    """
    raw = text.encode("ascii")
    try:
        data = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    # Python's decoder skips what it does not know; writing the value again shows it.
    if base64.urlsafe_b64encode(data).rstrip(b"=") != raw:
        raise ValueError("not canonical base64url")
    return data


def is_kid(kid: object) -> bool:
    """Whether this has the form of one of our key ids: an RFC 7638 thumbprint."""
    return isinstance(kid, str) and _KID.fullmatch(kid) is not None


def normal_host(host: str) -> str:
    """Return the `hth` value of a Host or :authority (RFC 3986, section 3.2.2): ASCII lower-case, without its port.

    An IPv6 literal keeps its brackets. Nothing else is changed: a final dot stays, an IDN is its A-label, as sent. What
    is no host with at most a port stays whole, so that `gateway.example.com:evil` is not `gateway.example.com`.
    """
    if ":" not in host and host.isascii():  # most hosts: there is no port to be told from the rest
        return host.lower()
    found = _HOST.fullmatch(host)
    name = host if found is None else found[1]
    # str.lower() would also fold non-ASCII letters, some of them into two characters.
    return name.lower() if name.isascii() else _to_bytes(name).lower().decode("utf-8", "surrogateescape")


def path_hash(target: str | bytes) -> str:
    """Return the `pth` value: base64url(SHA-256(path and query)), of the bytes of the request target as sent.

    Text is taken as UTF-8. Nothing is decoded, normalised or sorted. A lone `?` at the end, an empty query, does not
    count: ASGI servers do not tell `/a?` from `/a`.
    """
    raw = target if isinstance(target, bytes) else _to_bytes(target)
    return encode_segment(hashlib.sha256(raw.removesuffix(b"?") if raw.count(b"?") == 1 else raw).digest())


def _to_bytes(text: str) -> bytes:
    # "surrogatepass" cannot fail, and a text with surrogates has no equal on the wire.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
