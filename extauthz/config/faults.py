"""What is wrong with a configuration file, and how it is told: every fault at once, each with place and cure."""

from collections.abc import Iterable
from typing import NamedTuple

from extauthz.printable import printable


class Fault(NamedTuple):
    """One thing that is wrong.

    Attributes:
        path: Where in the file, as keys and positions: gateways.openclaw.trustedProxies[1].
        message: What is wrong, and what is wanted instead.
        line: The line in the file, counted from 1; None where it is not known.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        # A path has keys of the file in it, and whoever wrote these may be nobody's friend.
        return printable(f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}")


class ConfigError(Exception):
    """The configuration cannot be used. Its text names every fault.

    Attributes:
        source: The file's name as given.
        faults: All of them, in the file's order as far as it is known.
    """

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line if fault.line is not None else 0))
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join((f"{printable(source)}: {count}", *(f"  {fault}" for fault in self.faults))))


def join_path(parts: Iterable[str | int]) -> str:
    """Return a path such as gateways.openclaw.trustedProxies[1] from its parts."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
