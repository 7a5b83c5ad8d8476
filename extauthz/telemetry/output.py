"""Where lines go: standard output or another stream, or a file with rotation. Bytes only, whatever they say.

Nothing here waits longer than it is told to: what cannot be written now stays with whoever wanted it written.
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import Final, Protocol

from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# So many bytes arrive at a pipe in one piece, whoever else writes to it (POSIX, PIPE_BUF); Linux: 4096.
PIPE_BYTES: Final = select.PIPE_BUF
# What is handed to a file at once.
FILE_BYTES: Final = 262_144
# Of a new file, before the process's umask: nobody but its owner and group reads who entered and when.
FILE_MODE: Final = 0o640
# How long after a rotation that failed the next one is tried; meanwhile the file grows.
ROTATE_AGAIN_SECONDS: Final = 60.0
# Between two attempts at what another process is just using.
_POLL_SECONDS: Final = 0.002


class OutputError(Exception):
    """An output cannot be opened; the text says why and what to do."""


class Output(Protocol):
    """Takes bytes."""

    @property
    def portion(self) -> int:
        """How many bytes are best written together: they arrive in one piece."""

    def write(self, data: bytes, wait: float) -> int:
        """Write from the beginning of `data`, waiting `wait` seconds at most; return how many bytes were written.

        Raises:
            OSError: It cannot be written, and nothing was.
        """

    def close(self) -> None:
        """Let go of it."""


class Stream:
    """Standard output, a FIFO, a device: what may be full, and is never rotated."""

    def __init__(self, descriptor: int, *, ours: bool) -> None:
        self.portion: Final = PIPE_BYTES
        self._descriptor: Final = descriptor
        self._ours: Final = ours
        self._poll: Final = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: bytes, wait: float) -> int:
        """Write what the reader has room for."""
        done = 0
        end = time.monotonic() + wait
        while done < len(data):
            left = max(0.0, end - time.monotonic())
            # A stream that can be written takes as much as a portion without making us wait.
            if not self._poll.poll(left * 1000):
                break
            try:
                done += os.write(self._descriptor, data[done : done + PIPE_BYTES])
            except BlockingIOError:
                if not left:
                    break
                time.sleep(_POLL_SECONDS)
            except OSError:
                if not done:
                    raise
                break  # what was written is told; the next attempt meets the same fault
        return done

    def close(self) -> None:
        """Close what was opened here; standard output is not."""
        if self._ours:
            os.close(self._descriptor)


class RotatedFile:
    """A regular file that lines are added to. At a size it becomes `NAME.1`, what was that becomes `NAME.2`, and so on.

    Several processes may write to one file: each holds its lock (flock) while it writes or rotates. A file that
    another program moved away or removed is opened anew, so that logrotate needs no signal.
    """

    def __init__(self, path: Path, *, rotate_bytes: int, keep: int) -> None:
        """Open it.

        Args:
            path: The file; made if it is not there. Its folder must be.
            rotate_bytes: It is moved away before it has more bytes than these; 0: never.
            keep: How many of the files that were moved away are kept.

        Raises:
            OSError: It cannot be opened.
        """
        self.portion: Final = min(FILE_BYTES, rotate_bytes or FILE_BYTES)
        # Through symbolic links: it is the file that is moved away, not a link to it.
        self._path: Final = path.resolve()
        self._name: Final = str(self._path)
        self._rotate_bytes: Final = rotate_bytes
        self._keep: Final = keep
        self._not_before = 0.0
        self._descriptor: int | None = open_to_append(self._path)

    def write(self, data: bytes, wait: float) -> int:
        """Add all of it, or nothing: a file of which the disk has room for a part only is cut back to what it was."""
        end = time.monotonic() + wait
        while True:
            descriptor = self._lock(end)
            if descriptor is None:
                return 0
            try:
                size = os.fstat(descriptor).st_size
                if size + len(data) <= self._rotate_bytes or not size or not self._rotate():
                    _append(descriptor, data, size)
                    return len(data)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, end: float) -> int | None:
        """Return the file that stands under the name now, locked; None if another process has it until `end`."""
        while True:
            if self._descriptor is None:
                self._descriptor = open_to_append(self._path)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return None
                time.sleep(_POLL_SECONDS)
                continue
            if self._is_there(self._descriptor):
                return self._descriptor
            self.close()

    def _is_there(self, descriptor: int) -> bool:
        try:
            found = os.stat(self._name)  # noqa: PTH116 - for each batch: no object of Path in between
        except FileNotFoundError:
            return False
        own = os.fstat(descriptor)
        return found.st_ino == own.st_ino and found.st_dev == own.st_dev

    def _rotate(self) -> bool:
        """Move the files on by one; the lock on the present one keeps other processes from doing the same."""
        if not self._rotate_bytes or time.monotonic() < self._not_before:
            return False
        try:
            for number in range(self._keep - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._moved(number).replace(self._moved(number + 1))
            self._path.replace(self._moved(1))
        except OSError as error:
            self._not_before = time.monotonic() + ROTATE_AGAIN_SECONDS
            _log.error("the file cannot be rotated, and grows", file=str(self._path), error=error.strerror)
            return False
        return True

    def _moved(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def open_output(path: Path, *, rotate_bytes: int, keep: int) -> Output:
    """Open a file, a FIFO or a device.

    Raises:
        OutputError: It cannot be opened.
    """
    try:
        # Not to wait for the reader of a FIFO; of a regular file it means nothing.
        descriptor = open_to_append(path, os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Stream(descriptor, ours=True)
        os.close(descriptor)
        return RotatedFile(path, rotate_bytes=rotate_bytes, keep=keep)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}{_cure(error)}") from error


def open_stdout() -> Output:
    """Return standard output.

    Raises:
        OutputError: The process was started without one: its descriptor may be anything by now.
    """
    if sys.__stdout__ is None:
        raise OutputError("there is no standard output: write to a file, or to none")
    return Stream(sys.__stdout__.fileno(), ours=False)


def open_to_append(path: Path, flags: int = 0) -> int:
    """Open a file so that what is written is added at its end, making it if it is not there; raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | flags, FILE_MODE)


def _append(descriptor: int, data: bytes, size: int) -> None:
    rest = data
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        # Nobody else has added to it meanwhile: the file is locked.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _cure(error: OSError) -> str:
    return {
        errno.ENOENT: "; make its folder first",
        errno.EACCES: "; let the service's user write there",
        errno.ENXIO: "; nobody reads this FIFO",
        errno.EISDIR: "; name a file in it",
        errno.EROFS: "; choose a place that can be written",
    }.get(error.errno or 0, "")
