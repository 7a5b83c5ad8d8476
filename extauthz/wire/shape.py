"""What tells one request from another before any of it is read: the names of its headers, the values at their places.

Two requests of the same shape and with equal values are equal to every rule. Nothing is decoded, joined or judged.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from extauthz.core.policy import Gateway
from extauthz.core.steps import WEIGHED
from extauthz.core.text import fold

# The sets of header names that are kept: browsers and programs send few different ones.
MOST_SHAPES: Final = 512
LONGEST_NAMES_CHARACTERS: Final = 4096

# What is longer is read anew each time.
LONGEST_MESSAGE_BYTES: Final = 16_384
LONGEST_PATH_CHARACTERS: Final = 1024

# The names of a request's headers in a form that tells one wire form from another.
Names = bytes | frozenset[str] | tuple[bytes, bytes]
N = TypeVar("N", bytes, frozenset[str], tuple[bytes, bytes])

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
    """

    __slots__ = ("at", "gateway", "names", "pick", "read")

    def __init__(self, gateway: Gateway, names: tuple[str, ...]) -> None:
        reads = {*gateway.reads, *WEIGHED}
        self.gateway: Final = gateway
        self.names: Final = names
        self.at: Final = tuple(position for position, name in enumerate(names) if name in reads)
        self.read: Final = tuple(names[position] for position in self.at)
        self.pick: Any = None


class Asked:
    """A request that may be recalled.

    Attributes:
        question: What tells it from others.
        shape: The names of its headers.
        path: Its path and query, which no rule reads.
    """

    __slots__ = ("path", "question", "shape")

    def __init__(self, question: Question, shape: Shape, path: str) -> None:
        self.question: Final = question
        self.shape: Final = shape
        self.path: Final = path


class Shapes:
    """The shapes that were seen under one policy. Threads may share one."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[Gateway, Names], Shape | None] = {}

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
            # What is long is not kept, and so has no shape.
            if (len(names) if isinstance(names, bytes) else sum(map(len, names))) > LONGEST_NAMES_CHARACTERS:
                return None
            if len(self._known) >= MOST_SHAPES:
                self._known = {}
            found = read(names)
            shape = Shape(gateway, found) if found is not None and _is_plain(gateway, found) else None
            self._known[key] = shape
            return shape


def _is_plain(gateway: Gateway, names: tuple[str, ...]) -> bool:
    """Tell whether a request with these names is read by position: no copies, and every name as names compare."""
    together = "\n".join(names)
    return gateway.assertion is None and len(set(names)) == len(names) and fold(together) == together
