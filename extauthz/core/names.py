"""What the names of a request's headers say by themselves, whatever the values: found out once for all that have them.

Browsers and programs send few different sets of names. No value is looked at, and no policy.
"""

from collections.abc import Collection
from typing import Final

from extauthz.core.request import Headers
from extauthz.core.text import all_plain

# The sets of names that are remembered, up to a length: a megabyte at most, four where hardly a character is ASCII.
REMEMBERED_NAME_SETS: Final = 512
LONGEST_REMEMBERED_NAMES_CHARACTERS: Final = 2048

_FORWARDED: Final = frozenset({"forwarded", "x-real-ip"})
_FORWARDED_PREFIX: Final = "\nx-forwarded-"
_TAILSCALE_PREFIX: Final = "\ntailscale-"
_TAILSCALE: Final = frozenset(
    {
        "tailscale-funnel-request",
        "tailscale-headers-info",
        "tailscale-user-login",
        "tailscale-user-name",
        "tailscale-user-profile-pic",
    }
)


class NameSet:
    """The names of a request's headers, as rules look at all of them at once.

    Attributes:
        count: How many.
        plain: Each is made of letters, digits and "-".
        forwarded: Forwarded evidence (rules.md, "Step 3 and 11"): a header that proxies add is among them.
        tailscale: Tailscale evidence: a header that Tailscale's proxy adds is among them.
    """

    __slots__ = ("count", "forwarded", "plain", "tailscale")

    def __init__(self, names: Collection[str], together: str) -> None:
        self.count: Final = len(names)
        self.plain: Final = all_plain(together, len(names))
        self.forwarded: Final = _FORWARDED_PREFIX in together or not _FORWARDED.isdisjoint(names)
        self.tailscale: Final = _TAILSCALE_PREFIX in together and not _TAILSCALE.isdisjoint(names)


_known: Final[dict[str, NameSet]] = {}


def names_of(headers: Headers) -> NameSet:
    """Return what the names of these headers say; remembered for the next request that has them."""
    names, together = headers.names, headers.together
    found = _known.get(together)
    # A name with a newline in it makes the text of two other names: the numbers tell these from each other.
    if found is None or found.count != len(names):
        found = NameSet(names, together)
        if len(together) <= LONGEST_REMEMBERED_NAMES_CHARACTERS and together.count("\n") == found.count:
            if len(_known) >= REMEMBERED_NAME_SETS:
                _known.clear()
            _known[together] = found
    return found
