"""When the garbage collector stays away: while much is made that stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """Let nothing be collected meanwhile.

    Each full collection walks all that there is and finds nothing to free: with 10,000 gateways, that is most of the
    time that they take to be read. What is thrown away goes by its own count of references, as ever.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
