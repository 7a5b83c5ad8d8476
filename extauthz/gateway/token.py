"""The form of a stamp: text in, header, claims and signature out. Nothing here knows keys, time or the request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from extauthz.gateway.refusal import StampRefused
from extauthz.stamp.claims import MAX_STAMP_BYTES, decode_segment

_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Token:
    """A compact JWS taken apart; nothing in it is verified yet."""

    header: dict[str, Any]
    payload: bytes
    signature: bytes
    signed: bytes
    """The bytes that the signature is of."""


def parse_token(text: str, *, longest: int = MAX_STAMP_BYTES, padded: bool = False) -> Token:
    """Take a compact JWS apart (RFC 7515, section 7.1).

    Args:
        text: The token.
        longest: The most bytes that are read at all.
        padded: Parts may end in the padding that JOSE leaves out, as an AWS load balancer writes them.

    Raises:
        StampRefused: stamp_missing, stamp_repeated, stamp_too_large or stamp_malformed.
    """
    if not text:
        raise StampRefused("stamp_missing")
    if len(text) > longest:
        raise StampRefused("stamp_too_large", f"{len(text)} bytes, at most {longest}")
    if "," in text:
        raise StampRefused("stamp_repeated")
    parts = text.split(".")
    if len(parts) != _PARTS:
        raise StampRefused("stamp_malformed", f"{len(parts)} parts between dots, not {_PARTS}")
    try:
        header, payload, signature = map(decode_segment, map(_without_padding, parts) if padded else parts)
    except ValueError:
        raise StampRefused("stamp_malformed", "a part is not canonical base64url") from None
    return Token(parse_object(header, "header"), payload, signature, text[: text.rindex(".")].encode("ascii"))


def _without_padding(part: str) -> str:
    # Padding fills up to four characters and no further; any other is left for the decoder to refuse.
    return part.removesuffix("=").removesuffix("=") if len(part) % 4 == 0 else part


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object in which no name comes twice (RFC 7515, section 5.2) and every number is one of JSON's.

    Raises:
        StampRefused: stamp_malformed.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise StampRefused("stamp_malformed", f"the {what} is not JSON, or has a name twice") from None
    if not isinstance(value, dict):
        raise StampRefused("stamp_malformed", f"the {what} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name comes twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
