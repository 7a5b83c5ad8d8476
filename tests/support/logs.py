"""The service's own log, in a test: what was said in this process, or lines as the service writes them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extauthz.logs import ROOT, configure_logs


class _Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        about = getattr(record, "about", {})
        self.said.append({**about, "event": record.getMessage(), "level": record.levelname.lower()})


@contextmanager
def captured_logs() -> Iterator[list[dict[str, Any]]]:
    """Yield what is said, as it is said; nothing of it is written anywhere."""
    handler = _Keeping()
    with _restored() as root:
        root.handlers[:] = [handler]
        root.propagate = False
        root.setLevel(logging.INFO)
        yield handler.said


@contextmanager
def configured_logs() -> Iterator[None]:
    """Write to the standard error of the moment, as a service does."""
    with _restored():
        configure_logs()
        yield


@contextmanager
def _restored() -> Iterator[logging.Logger]:
    root = logging.getLogger(ROOT)
    before = (list(root.handlers), root.propagate, root.level)
    try:
        yield root
    finally:
        root.handlers[:], root.propagate = before[0], before[1]
        root.setLevel(before[2])
