"""What the operator is told beside what is written: a place and a text. And what ends a migration."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_WORD: Final = re.compile(r"[A-Za-z0-9._:@/*-]{1,100}")


class Note(NamedTuple):
    """One thing to know.

    Attributes:
        path: The place, as keys and positions: gateway.trustedProxies[1].
        text: What is there, and what to do.
    """

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class MigrateError(Exception):
    """The migration cannot be written. The text names every cause, each with its place and its cure."""

    def __init__(self, source: str, faults: Iterable[Note]) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join((f"{source}: {count}", *(f"  {fault}" for fault in self.faults))))


def shown(text: str) -> str:
    """Return text of OpenClaw's file as it may stand in a line of ours, whatever signs it has."""
    return text if _WORD.fullmatch(text) else ascii(text[:100])
