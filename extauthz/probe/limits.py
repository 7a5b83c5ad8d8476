"""What a probe may cost, itself and the other side: every limit with its unit and its default. Data only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one probe."""

    requests: int = 250
    """Requests in all, connections that only try TLS among them."""
    total_seconds: float = 300.0
    """All of the probe; what is then left is not tested."""
    request_seconds: float = 10.0
    """One request, from connecting to the last byte of its answer, however slowly that comes."""
    message_seconds: float = 3.0
    """How long a WebSocket that was accepted may take for its first message."""
    silences: int = 3
    """Requests in a row without an answer, after which nothing more is sent."""
    head_bytes: int = 65_536
    """The head of an answer."""
    body_bytes: int = 262_144
    """The body of an answer, or a WebSocket's first message; what is beyond is not read."""
    interim_answers: int = 10
    """Answers with a 1xx status before the answer."""


EXPIRY_DAYS = 14.0
"""A certificate that ends earlier than in so many days ends soon, if less than a third of its life is left as well."""

HSTS_SECONDS = 15_552_000
"""Half a year: the least max-age of Strict-Transport-Security that outlives a user's absence."""

CRUDE_TLS_SECONDS = 10.0
"""The handshake that tries an old version of TLS."""
