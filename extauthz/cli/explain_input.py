"""What the ways of `extauthz explain` share: a file read line by line, with a progress bar where someone looks on."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from extauthz.cli.options import UnusableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

# Lines between two looks at how far the file is read: often enough to be seen, too seldom to cost anything.
_LINES_PER_LOOK: Final = 500


@contextlib.contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file to be read, or standard input for "-", while the block runs.

    Raises:
        UnusableError: It cannot be read.
    """
    try:
        if name == "-":
            yield sys.stdin.buffer
        else:
            with Path(name).open("rb") as file:
                yield file
    except BrokenPipeError:  # of what is written: whoever read it has seen enough
        raise
    except OSError as error:
        raise UnusableError(f"{shown(name)} cannot be read: {error.strerror or error}") from error


def shown(name: str) -> str:
    """Return the name of a file for a message."""
    return "standard input" if name == "-" else name


def watched(items: Iterable[T], file: BinaryIO, label: str, *, prints: bool) -> Iterator[T]:
    """Yield the items of a file, with a progress bar on standard error if that is a terminal.

    Args:
        items: What is read from the file.
        file: The file, whose position says how far it is read.
        label: What is done.
        prints: Each item is printed as it comes: then there is a bar only if that goes elsewhere.
    """
    if not sys.stderr.isatty() or (prints and sys.stdout.isatty()):
        yield from items
        return
    from rich.console import Console  # noqa: PLC0415 - help must be quick
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=_size(file))
        for number, item in enumerate(items):
            if number % _LINES_PER_LOOK == 0:
                progress.update(task, completed=_position(file))
            yield item


def _size(file: BinaryIO) -> int | None:
    """Return the bytes of a regular file; None for a pipe, which ends when it ends."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _position(file: BinaryIO) -> int | None:
    try:
        return file.tell()
    except OSError:
        return None
