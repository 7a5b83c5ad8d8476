"""What the names of a request's headers come to at a forward-auth door, found out once for all requests that have them.

Browsers and programs send few different sets of names, each in one order. Nothing here sees a value's meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extauthz.wire.forward_auth import Dialect

# The sets of names that are remembered, up to a length.
REMEMBERED_NAME_SETS: Final = 512
LONGEST_REMEMBERED_NAMES_BYTES: Final = 4096


class HeaderNames:
    """What the names of a request's headers come to at one door: the same for every request that has these names.

    Attributes:
        readable: The names are names.
        fault: Why a request with these names cannot be read; "" if it can.
        all: Those that came, folded, each once.
        copies: Where each of `all` stands among those that came; None where each came once.
        names: Those of them that the rules see.
        repeated: Those of `names` that came more than once.
    """

    __slots__ = ("all", "copies", "fault", "names", "readable", "repeated")

    def __init__(self, dialect: Dialect, raw_names: Sequence[bytes]) -> None:
        places: dict[str, list[int]] = {}
        for place, name in enumerate(raw_names):
            places.setdefault(name.decode("latin-1").lower(), []).append(place)
        self.readable: Final = all(map(bytes.isascii, raw_names))
        # The proxy sets these headers: a second one is the client's, and nothing says which.
        twice = [f"{name} came more than once" for name in dialect.once if len(places.get(name, ())) > 1]
        self.fault: Final = "a header's name is no ASCII" if not self.readable else twice[0] if twice else ""
        self.all: Final = tuple(places)
        self.copies: Final = tuple(places.values()) if len(places) < len(raw_names) else None
        self.names: Final = tuple(name for name in places if name not in dialect.own)
        self.repeated: Final = frozenset(name for name in self.names if len(places[name]) > 1)

    def values(self, raw_values: Sequence[bytes]) -> dict[str, bytes]:
        """Return each header's value, copies joined."""
        if self.copies is None:
            return dict(zip(self.all, raw_values, strict=True))
        return {
            name: b",".join([raw_values[place] for place in places])
            for name, places in zip(self.all, self.copies, strict=True)
        }


def names_of(dialect: Dialect, raw_names: tuple[bytes, ...]) -> HeaderNames:
    """Return what these names come to; kept for the next request with the same, in the same order."""
    key = (dialect, raw_names)
    found = _known.get(key)
    if found is None:
        found = HeaderNames(dialect, raw_names)
        if sum(map(len, raw_names)) <= LONGEST_REMEMBERED_NAMES_BYTES:
            if len(_known) >= REMEMBERED_NAME_SETS:
                _known.clear()
            _known[key] = found
    return found


_known: Final[dict[tuple[Dialect, tuple[bytes, ...]], HeaderNames]] = {}
# The dialects and names that are remembered, for whoever looks.
remembered_names: Final = _known.keys
