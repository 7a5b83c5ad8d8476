"""How much memory the process holds, for an engine that holds what callers send and does not say how much."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# By how much the process may grow while the engine serves, in bytes: far more than calls within the limits need.
MOST_GROWTH_BYTES: Final = 256 * 1024 * 1024

# How often it is looked at, in seconds: a local client fills some tens of MiB in the meantime.
_LOOK_SECONDS: Final = 0.02

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = resource.getpagesize()


def held_bytes() -> int:
    """Return the memory that is this process's own: resident and not shared with a file (proc(5), statm)."""
    _, resident, shared, *_ = _STATM.read_bytes().split()
    return (int(resident) - int(shared)) * _PAGE_BYTES


class MemoryGuard:
    """Tells when the process has grown by more than it may."""

    def __init__(self, held: Callable[[], int] = held_bytes, most: int = MOST_GROWTH_BYTES) -> None:
        self._held: Final = held
        self._most: Final = most
        self._least = held()
        self._next = 0.0

    def is_exceeded(self) -> bool:
        """Look, unless it was just looked; growth counts from the least that the process has held."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _LOOK_SECONDS
        held = self._held()
        self._least = min(self._least, held)
        return held - self._least > self._most

    def settle(self) -> None:
        """Take what is held now for what is needed: after what could be let go was."""
        self._least = self._held()
