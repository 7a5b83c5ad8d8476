"""Why a stamp is refused: the table of reasons, the exception, and the answer that a client gets. Data, no checks."""

from __future__ import annotations

import json
from typing import Final

REASONS: Final[dict[str, str]] = {
    "stamp_missing": "the request carries no stamp: it did not come through the authorizer, or a hop removed it",
    "stamp_repeated": "the stamp header came more than once, or two were joined by a comma",
    "stamp_too_large": "the stamp is longer than a stamp can be",
    "stamp_malformed": "not a compact JWS of JSON objects in canonical base64url",
    "stamp_algorithm": "the algorithm is none of the pinned ones, or not that of the key",
    "stamp_type": "the header's typ is not that of a stamp",
    "stamp_header": "the header has what no stamp has (jku, jwk, x5u, x5c, crit), or its kid is no thumbprint",
    "stamp_key_unknown": "no published key has this kid",
    "stamp_keys_unavailable": "there are no keys to verify with: the JWKS source cannot be had, and none were kept",
    "stamp_signature": "the signature is not that of the key",
    "stamp_claims": "a claim is missing or not of its type",
    "stamp_issuer": "stamped by another issuer",
    "stamp_audience": "stamped for another Gateway",
    "stamp_lifetime": "it lives longer than a stamp may, or ends before it begins",
    "stamp_not_yet_valid": "stamped in the future: the clocks differ",
    "stamp_expired": "its time is over: a replay, a slow hop, or clocks that differ",
    "stamp_binding_missing": "it is not bound to what this Gateway requires",
    "stamp_method": "stamped for another method",
    "stamp_host": "stamped for another host",
    "stamp_path": "stamped for another path or query",
    "stamp_internal_error": "the check itself failed; see the Gateway's log",
}
"""Every reason that a `StampRefused` can have. The names are stable; more may be added."""

STATUS: Final = 401
CHALLENGE: Final = "authz-stamp"
"""The scheme of `WWW-Authenticate`, which a 401 must have (RFC 9110, section 15.5.2)."""


class StampRefused(Exception):  # noqa: N818 (a refusal is an answer, not an error)
    """The stamp is not accepted.

    Attributes:
        reason: A key of `REASONS`.
        detail: What was seen and what was wanted, for the Gateway's own log; never the stamp itself.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail or REASONS[reason]
        super().__init__(f"{reason}: {self.detail}")


def answer(reason: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return the header fields and the body of the 401 that a client gets: the reason, and no more."""
    body = json.dumps({"error": reason}).encode() + b"\n"
    fields = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("www-authenticate", f'{CHALLENGE} error="{reason}"'),
    ]
    return fields, body
