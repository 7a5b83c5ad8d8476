"""Paths and hosts without what may be a secret in them. Pure functions on the client's text; nothing is decoded."""

import re
from typing import Final

LONGEST_PATH_CHARACTERS: Final = 1024
_MOST_READ_CHARACTERS: Final = 2 * LONGEST_PATH_CHARACTERS
# Stands where something was left out.
CUT: Final = "…"

# Without any of these, a path that lost its query is told as it is.
_SUSPECT: Final = re.compile(r"[#%;@]")
# Where what belongs to a query begins, written out or percent-encoded.
_QUERY: Final = re.compile(r"[?#]|%3f|%23", re.IGNORECASE)
# Parameters of one segment (RFC 3986, section 3.3): where ";jsessionid=" stands. The ";" stays, to show that one was.
_PARAMETERS: Final = re.compile(r"(;|%3b)(?:(?!%2f)[^/])*", re.IGNORECASE)
# User information (RFC 3986, section 3.2.1): in an absolute target, behind "//", in a URL that stands in a path.
_USER_INFORMATION: Final = re.compile(r"(^(?:/|%2f){2}|(?::|%3a)(?:/|%2f)+|^)(?:(?!%2f)[^/])*(?:@|%40)", re.IGNORECASE)


def shown_path(path: str) -> str:
    """Return a path without what may be a secret: query, fragment, parameters of segments, user information."""
    shown = path.partition("?")[0]
    if len(shown) > _MOST_READ_CHARACTERS:
        # A path may have a megabyte. The last segment goes too: of a part of it nobody knows what it is.
        shown = shown[:_MOST_READ_CHARACTERS].rpartition("/")[0] + f"/{CUT}"
    if _SUSPECT.search(shown) is not None:
        shown = _QUERY.split(shown, maxsplit=1)[0]
        shown = _USER_INFORMATION.sub(rf"\1{CUT}@", shown)
        shown = _PARAMETERS.sub(r"\1", shown)
    return cut(shown, LONGEST_PATH_CHARACTERS)


def host_without_user_information(host: str) -> str:
    """Return a host without what stands before an "@", where a password may be; that something did is told."""
    return host if "@" not in host else f"{CUT}@{host.rpartition('@')[2]}"


def cut(text: str, longest: int) -> str:
    """Return a text of `longest` characters at most; one that was cut ends with CUT."""
    return text if len(text) <= longest else text[: longest - 1] + CUT
