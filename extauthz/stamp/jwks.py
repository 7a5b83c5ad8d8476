"""The public keys as a JWKS document (RFC 7517, section 5), with what HTTP needs to cache it. No server lives here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extauthz.stamp.keyset import SigningKey

JWKS_PATH: Final = "/.well-known/jwks.json"
CONTENT_TYPE: Final = "application/jwk-set+json"
MAX_AGE_SECONDS: Final = 60
"""How long a cache may keep the document; a key is published much longer than this before it signs."""
CACHE_CONTROL: Final = f"public, max-age={MAX_AGE_SECONDS}"


@dataclass(frozen=True, slots=True)
class Jwks:
    """A JWKS document as it goes over the wire."""

    body: bytes
    etag: str
    """A strong entity tag, with its quotes (RFC 9110, section 8.8.3): the same for the same keys on every replica."""

    def headers(self) -> list[tuple[str, str]]:
        """Return the header fields of an answer with this document, or of a 304 (RFC 9110, section 15.4.5)."""
        return [("content-type", CONTENT_TYPE), ("cache-control", CACHE_CONTROL), ("etag", self.etag)]

    def not_modified(self, if_none_match: str | None) -> bool:
        """Whether a request with this If-None-Match is answered by 304 (RFC 9110, section 13.1.2)."""
        if not if_none_match:
            return False
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return "*" in tags or self.etag in tags


def build(keys: Iterable[SigningKey]) -> Jwks:
    """Write the document of these keys: what is public of them, `alg`, `use: sig` and `kid`, in the order given."""
    body = json.dumps({"keys": [key.public_jwk for key in keys]}, separators=(",", ":"), sort_keys=True).encode()
    return Jwks(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
