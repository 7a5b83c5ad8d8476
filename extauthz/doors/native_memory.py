"""How much memory the process holds, for an engine that holds what callers send and does not say how much."""

import os
import resource
import time
from collections.abc import Callable
from typing import Final

# By how much the process may grow while the engine serves, in bytes: far more than calls within the limits need.
MOST_GROWTH_BYTES: Final = 256 * 1024 * 1024

# How often it is looked at, in seconds: a local client fills some tens of MiB in the meantime.
_LOOK_SECONDS: Final = 0.02

_STATM: Final = "/proc/self/statm"
_STATM_BYTES: Final = 256
_PAGE_BYTES: Final = resource.getpagesize()


class HeldBytes:
    """Tells the memory that is this process's own: resident and not shared with a file (proc(5), statm)."""

    def __init__(self) -> None:
        # Opened once: callers may use up the files that this process may open, and it is to look all the same.
        self._file: Final = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)

    def __call__(self) -> int:
        """Return it, in bytes."""
        _, resident, shared, *_ = os.pread(self._file, _STATM_BYTES, 0).split()
        return (int(resident) - int(shared)) * _PAGE_BYTES

    def __del__(self) -> None:
        os.close(self._file)


class MemoryGuard:
    """Tells when the process has grown by more than it may."""

    def __init__(self, held: Callable[[], int] | None = None, most: int = MOST_GROWTH_BYTES) -> None:
        self._held: Final = HeldBytes() if held is None else held
        self._most: Final = most
        self._least = self._held()
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
