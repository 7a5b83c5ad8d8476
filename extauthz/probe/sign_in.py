"""The headers with which a probe signs in, read from text. What is wrong is said without a word of them: secrets."""

import re
from typing import Final

from extauthz.probe.forgeries import Headers

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These are how a request is framed, and where it goes.
_NOT_THEIRS: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def parse_sign_in(text: str) -> Headers:
    """Read lines of `name: value`; empty ones are left out.

    Raises:
        ValueError: a line is not of that form, or would change how the request is read; it is named by its number.
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, colon, value = line.removesuffix("\r").partition(":")
        if not colon or not _NAME.fullmatch(name.strip()):
            raise ValueError(f"number {number} has no name before a colon: write 'name: value'")
        if name.strip().lower() in _NOT_THEIRS:
            raise ValueError(f"number {number} is {name.strip().lower()}, which signs nobody in")
        if _CONTROL.search(value):
            raise ValueError(f"number {number} has a control character in its value")
        # On the wire it is UTF-8, told here byte by byte.
        found.append((name.strip(), value.strip(" \t").encode().decode("latin-1")))
    return tuple(found)
