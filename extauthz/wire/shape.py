"""What tells one request from another before any of it is read: the names of its headers, the values at their places.

Two requests of the same shape and with equal values are equal to every rule. Nothing is decoded, joined or judged.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

from extauthz.core.policy import Gateway
from extauthz.core.steps import WEIGHED
from extauthz.core.text import fold
from extauthz.wire.unread import Unread

# The sets of header names that are kept: browsers and programs send few different ones.
MOST_SHAPES: Final = 512
# Of one set: the names, and what Python takes for each beside its characters. A usual request has 2 KB.
LONGEST_NAMES_BYTES: Final = 8192
_NAME_BYTES: Final = 60
# Headers that are kept in the places where they came: of so many shapes most begin alike. 250 bytes each, and a key.
MOST_HEADERS: Final = 8192
# Requests that found no room there before all of them are forgotten: what is kept may be asked no more.
FORGET_AFTER: Final = 8192

# What is longer is read anew each time.
LONGEST_MESSAGE_BYTES: Final = 16_384
LONGEST_PATH_CHARACTERS: Final = 1024

# The names of a request's headers in a form that tells one wire form from another.
Names = bytes | frozenset[bytes] | frozenset[str] | tuple[bytes, bytes]
N = TypeVar("N", bytes, frozenset[bytes], frozenset[str], tuple[bytes, bytes])

# What tells one request from those that the rules cannot tell from it.
Question = tuple[Hashable, ...]


class Shape:
    """The names of a request's headers, and which of them are read; compared by identity.

    Attributes:
        gateway: Whose rules read them.
        names: All, as they arrived.
        read: Those whose value a rule or the log reads, in the order of `names`.
        at: Where these stand in `names`.
        pick: What a wire form makes of it, once; None before that.
        told: The names that a rule is told of, all but Envoy's pseudo-headers; None before a wire form says which.
    """

    __slots__ = ("at", "gateway", "names", "pick", "read", "told")

    def __init__(self, gateway: Gateway, names: tuple[str, ...]) -> None:
        reads = {*gateway.reads, *WEIGHED}
        self.gateway: Final = gateway
        self.names: Final = names
        self.at: Final = tuple(position for position, name in enumerate(names) if name in reads)
        self.read: Final = tuple(names[position] for position in self.at)
        self.pick: Any = None
        self.told: tuple[str, ...] | None = None


class Header:
    """A header in its place, behind those that came before it. What comes before the first is held as one too.

    Attributes:
        key: Its name, as it is written; of what comes before the first, what names the gateway.
        read: Its value is read.
        usual: The one that was seen next first; None where none was.
        others: All others that were seen next, by key.
        shape: The shape of requests that end here; None where none was seen.
    """

    __slots__ = ("key", "others", "read", "shape", "usual")

    def __init__(self, key: bytes, *, read: bool) -> None:
        self.key: Final = key
        self.read: Final = read
        self.usual: Header | None = None
        self.others: Final[dict[bytes, Header]] = {}
        self.shape: Shape | None = None

    def next(self, key: bytes) -> "Header | None":
        """Return the header with this key that was seen next; None if none was."""
        usual = self.usual
        return usual if usual is not None and usual.key == key else self.others.get(key)

    def add(self, key: bytes, *, read: bool) -> "Header":
        """Return a new header that is found next by this key."""
        header = Header(key, read=read)
        if self.usual is None:
            self.usual = header
        else:
            self.others[key] = header
        return header


class Asked:
    """A request that may be recalled.

    Attributes:
        question: What tells it from others.
        shape: The names of its headers.
        path: Its path and query, which no rule reads.
        keys: Its headers' names, each as it is written, where these are not known in their places yet; else None.
        naming: What names its gateway on the wire, whatever else is asked; b"" where more says so.
        unread: The message, where it was taken apart: it can be read without a parser; else None.
    """

    __slots__ = ("keys", "naming", "path", "question", "shape", "unread")

    def __init__(  # noqa: PLR0913, PLR0917 - by position, because a keyword costs time here
        self,
        question: Question,
        shape: Shape,
        path: str,
        keys: Sequence[bytes] | None = None,
        naming: bytes = b"",
        unread: Unread | None = None,
    ) -> None:
        self.question: Final = question
        self.shape: Final = shape
        self.path: Final = path
        self.keys: Final = keys
        self.naming: Final = naming
        self.unread: Final = unread


class Shapes:
    """The shapes that were seen under one policy. Threads may share one.

    Attributes:
        named: Behind it is found what comes before every header, by what names the gateway on the wire.
    """

    __slots__ = ("_headers", "_known", "_turned_away", "_unnamed", "named")

    def __init__(self) -> None:
        self._known: dict[tuple[Gateway, Names], Shape | None] = {}
        self.named = Header(b"", read=False)
        self._unnamed: dict[Gateway, Header] = {}
        self._headers = 0
        self._turned_away = 0

    def of(self, gateway: Gateway, names: N, read: Callable[[N], tuple[str, ...] | None]) -> Shape | None:
        """Return the shape of names as they arrived.

        None where a request is to be read anew each time: there are copies, or a name is none as names compare, or
        time may change what is decided about an equal request.

        Args:
            gateway: Whose rules read them.
            names: The names as they arrived.
            read: Reads them; None if they are not to be read.
        """
        key = (gateway, names)
        try:
            return self._known[key]
        except KeyError:
            found = read(names)
            # What is long is not kept, and so has no shape.
            length = len(names) if isinstance(names, bytes) else sum(map(len, names))
            if length + _NAME_BYTES * (0 if found is None else len(found)) > LONGEST_NAMES_BYTES:
                return None
            if len(self._known) >= MOST_SHAPES:
                self._known = {}
                self._forget_headers()
            shape = Shape(gateway, found) if found is not None and _is_plain(gateway, found) else None
            self._known[key] = shape
            return shape

    def before(self, gateway: Gateway) -> Header | None:
        """Return what comes before every header, where nothing named this gateway on the wire; None if unseen."""
        return self._unnamed.get(gateway)

    def learn(self, asked: Asked) -> None:
        """Keep where the headers of a request came, so that they are found again one by one, if they are not yet.

        For what is recalled, and for nothing else: who is denied, or no caller, is not to fill what is kept.
        """
        shape, keys, naming = asked.shape, asked.keys, asked.naming
        if keys is None:
            return
        if self._headers + len(keys) >= MOST_HEADERS:
            self._turned_away += 1
            if self._turned_away < FORGET_AFTER:
                return
            self._forget_headers()
        header = self.named.next(naming) if naming else self._unnamed.get(shape.gateway)
        if header is None:
            self._headers += 1
            if naming:
                header = self.named.add(naming, read=False)
            else:
                header = self._unnamed[shape.gateway] = Header(b"", read=False)
        for key, name in zip(keys, shape.names, strict=True):
            found = header.next(key)
            if found is None:
                self._headers += 1
                found = header.add(key, read=name in shape.read)
            header = found
        header.shape = shape

    def _forget_headers(self) -> None:
        self.named = Header(b"", read=False)
        self._unnamed = {}
        self._headers = 0
        self._turned_away = 0


def _is_plain(gateway: Gateway, names: tuple[str, ...]) -> bool:
    """Tell whether a request with these names is read by position: no copies, and every name as names compare."""
    together = "\n".join(names)
    return gateway.assertion is None and len(set(names)) == len(names) and fold(together) == together
