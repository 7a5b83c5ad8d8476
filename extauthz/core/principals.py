"""Principals of client certificates: what may stand in a list of trusted ones, and whether one is in it.

A principal is the name that the proxy takes from a certificate that it verified: text without a type. It is compared
as it is, by every character; nothing is normalised, decoded or resolved.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from extauthz.core.text import trim

# No SPIFFE ID is longer (SPIFFE-ID, section 2.4), and no longer principal is anybody's.
LONGEST_PRINCIPAL_CHARACTERS: Final = 2048
# At the end of an entry it stands for whatever follows, and it stands nowhere else.
WILDCARD: Final = "*"
# What Envoy writes in the place of each byte that is no UTF-8: two names may have become one.
SUBSTITUTE: Final = "!"


def is_plain(principal: str) -> bool:
    """Tell whether a principal can be somebody's: printable ASCII, without what stands for unreadable bytes.

    URIs and DNS names are ASCII (RFC 5280, section 4.2.1.6), and of a subject Envoy escapes what is not. A control
    character, a NUL above all, is in a certificate to have its name read in two ways.
    """
    return (
        principal.isascii()
        and principal.isprintable()
        and SUBSTITUTE not in principal
        and len(principal) <= LONGEST_PRINCIPAL_CHARACTERS
    )


def check_entry(entry: str) -> str:
    """Check one entry of `trustedPrincipals`: a principal, or how principals begin and a "*".

    Raises:
        ValueError: Saying what is wrong and what is wanted instead.
    """
    wanted = "write a principal such as spiffe://cluster.local/ns/ingress/sa/pomerium or proxy.example.com"
    if not trim(entry):
        raise ValueError(f"is blank: {wanted}")
    if trim(entry) != entry:
        raise ValueError(f"{entry!r} has white space around it, and no principal has: {wanted}")
    if len(entry) > LONGEST_PRINCIPAL_CHARACTERS:
        raise ValueError(f"{entry[:40]!r}... is longer than {LONGEST_PRINCIPAL_CHARACTERS} characters: no principal is")
    if not entry.isascii() or not entry.isprintable():
        raise ValueError(
            f"{entry!a} is not printable ASCII, and no such principal is ever trusted: write the xn-- form of a "
            "DNS name, the %-escapes of a URI, or the escapes of a subject as Envoy tells it"
        )
    if SUBSTITUTE in entry:
        raise ValueError(
            f"{entry!r} has {SUBSTITUTE!r}, which Envoy writes in place of what it cannot read in a certificate: no "
            "such principal is ever trusted"
        )
    if entry == WILDCARD:
        raise ValueError(f"{entry!r} would trust every certificate: write how the trusted principals begin, then *")
    if WILDCARD in entry[:-1]:
        raise ValueError(f"{entry!r}: a * stands at the end alone, for whatever follows; write each principal out")
    return entry


class Principals:
    """An immutable list of trusted principals. Asking takes the same time for ten entries and for ten thousand.

    Exact entries are a hash set. Of the others the beginnings are sorted, without those that begin with another of
    them: then only the last one that does not come after a text can be its beginning, and it is found by bisection.
    """

    __slots__ = ("_exact", "_prefixes", "entries")

    def __init__(self, entries: Iterable[str]) -> None:
        """Sort the entries.

        Raises:
            ValueError: One is none; see `check_entry`.
        """
        self.entries: Final = tuple(map(check_entry, entries))
        self._exact: Final = frozenset(entry for entry in self.entries if not entry.endswith(WILDCARD))
        prefixes: list[str] = []
        for prefix in sorted(entry[:-1] for entry in self.entries if entry.endswith(WILDCARD)):
            if not prefixes or not prefix.startswith(prefixes[-1]):
                prefixes.append(prefix)
        self._prefixes: Final = tuple(prefixes)

    def match(self, principal: str) -> str | None:
        """Return the entry by which a principal is trusted, as in the file; None if it is not.

        Where several do, it is the exact one, or else the widest.
        """
        if principal in self._exact:
            return principal
        position = bisect_right(self._prefixes, principal)
        if not position or not principal.startswith(self._prefixes[position - 1]) or not is_plain(principal):
            return None
        return self._prefixes[position - 1] + WILDCARD

    def nearest(self, principal: str) -> str | None:
        """Return the entry that has most of its beginning in common with a principal: what a hint would point at."""

        def common(entry: str) -> int:
            return next((n for n, (a, b) in enumerate(zip(entry, principal, strict=False)) if a != b), len(entry))

        return max(self.entries, key=common, default=None)

    def __contains__(self, principal: str) -> bool:
        return self.match(principal) is not None

    def __len__(self) -> int:
        return len(self.entries)
