"""Text as the rules read it: what white space is, what is blank, how header names compare.

Pure functions on strings; nothing here knows what a header is for.
"""

import re
from typing import Final

# The set of JavaScript's String.prototype.trim (rules.md, "Terms"); str.strip() without arguments is another set.
WHITE_SPACE: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_BLANK: Final = WHITE_SPACE + ","
# Code points in ASCII.
_SPACE: Final = 0x20
_COMMA: Final = 0x2C
_DELETE: Final = 0x7F
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_LETTER_OR_DIGIT: Final = re.compile(r"[^a-z0-9]")
_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def trim(text: str) -> str:
    """Return `text` without the white space around it, as the rules mean white space."""
    # What begins and ends visibly has none, and most texts do.
    if text and _SPACE < ord(text[0]) < _DELETE and _SPACE < ord(text[-1]) < _DELETE:
        return text
    return text.strip(WHITE_SPACE)


def is_blank(value: str) -> bool:
    """Tell whether a header value is nothing but commas and white space."""
    # Most values begin with a visible character above the comma, and so are not.
    if value and _COMMA < ord(value[0]) < _DELETE:
        return False
    return not value.strip(_BLANK)


def has_control(text: str) -> bool:
    """Tell whether `text` holds a control character (C0, DEL or C1), which no header may carry."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def fold(name: str) -> str:
    """Return a header name in the form in which names compare: ASCII letters in lower case, nothing else changed.

    Not `str.lower()`: that turns U+212A (the Kelvin sign) into "k", so that a name no proxy would strip
    becomes one that the policy reads.
    """
    return name.lower() if name.isascii() else name.translate(_ASCII_LOWER)


def canonical(name: str) -> str:
    """Return what a folded header name becomes in servers that map names to variables (CGI, WSGI, PHP).

    Every character that is no ASCII letter or digit becomes "-". Two names with the same canonical form are
    the same header to such a server.
    """
    return _NO_LETTER_OR_DIGIT.sub("-", name)


def all_plain(together: str, count: int) -> bool:
    """Tell whether `count` folded names, each after a newline in `together`, are made of letters, digits and "-"."""
    return len(together.encode().translate(None, _PLAIN)) == count
