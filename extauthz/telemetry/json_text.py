"""What the client sent, as JSON (RFC 8259) that every reader reads and that steers no terminal."""

import json
from collections.abc import Callable, Mapping
from typing import Final

# What the encoder below does with a text.
quote: Final[Callable[[str], str]] = json.encoder.encode_basestring


def is_harmless(text: str) -> bool:
    """Tell whether a text can be printed as it is: nothing in it steers a terminal, all of it is text in UTF-8."""
    return (text.isascii() and "\x7f" not in text) or text.isprintable()


def json_line(told: Mapping[str, object]) -> bytes:
    """Write an object as a line of JSON, with the newline that ends it: valid UTF-8, and harmless.

    What can be printed stays as it is; in a line with anything else, whatever is no ASCII is escaped.
    """
    text = _write(told)
    if not is_harmless(text):
        # A lone surrogate is no text that every reader takes: it is replaced before it is written.
        text = _write_ascii(json.loads(text.encode(errors="replace")))
    return text.encode() + b"\n"


_write: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_write_ascii: Final = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":")).encode
