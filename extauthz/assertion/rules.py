"""What a gateway accepts as its proxy's assertion, complete and checked: plain values, and the limits beside them.

Nothing is verified here, and nothing is read. The standard library only, so that the configuration may know it.
"""

from dataclasses import dataclass
from typing import Final

MAX_TOKEN_BYTES: Final = 12 * 1024
"""The longest token that is read at all; a real one has one or two thousand bytes, with 200 groups ten thousand."""

MAX_KID_CHARACTERS: Final = 256
"""The longest `kid` that is looked for."""

MAX_SOURCES: Final = 64
"""Different JWKS sources in one configuration: each is read by a thread of its own."""

MAX_LEEWAY_SECONDS: Final = 300
MIN_MAX_AGE_SECONDS: Final = 10
MAX_MAX_AGE_SECONDS: Final = 400 * 86_400
MIN_KEYS_KEPT_SECONDS: Final = 60
MAX_KEYS_KEPT_SECONDS: Final = 30 * 86_400

ALGORITHMS: Final = ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA")
"""Signatures only (RFC 7518, section 3; RFC 8037): with a shared secret, who can verify could sign."""

KID: Final = "{kid}"
"""In a source: it has one key at a time, as PEM, and a token's `kid` stands here in its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where the keys come from.

    Attributes:
        location: An https URL, an http URL of this host, or a path; with `KID` in it, one key at a time.
        ca: A PEM file with the authority of an https source; None for those that the host trusts.
        keep_seconds: How long the last good keys are used while the source cannot be read.
    """

    location: str
    ca: str | None = None
    keep_seconds: float = 86_400.0

    @property
    def name(self) -> str:
        """The source as logs, metrics and the console name it: without a query, in which there could be a secret."""
        return self.location.partition("?")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is accepted. Equal rules accept the same tokens, so that gateways may share what verifies these.

    Attributes:
        source: Where the keys come from.
        issuer: The only `iss`.
        audiences: One of them is in `aud`.
        user_claim: The claim that names the user.
        algorithms: The only values of `alg`.
        token_type: The only value of `typ`, where a token has one; its case does not count.
        max_age: Seconds since `iat`; of a token without that, seconds until `exp`.
        leeway: Seconds that this host's clock may differ from the issuer's.
        signer: The only value of `signer` in the token's header; "" where none is wanted.
        claims_in_header: `iss` and `exp` stand in the token's header, `client` is its audience, and there is no `iat`:
            so an AWS load balancer writes it.
        padded: The parts may end in "=".
    """

    source: KeySource
    issuer: str
    audiences: tuple[str, ...]
    user_claim: str
    algorithms: frozenset[str]
    token_type: str = "JWT"  # noqa: S105 - the name of a format
    max_age: float = 86_400.0
    leeway: float = 30.0
    signer: str = ""
    claims_in_header: bool = False
    padded: bool = False
