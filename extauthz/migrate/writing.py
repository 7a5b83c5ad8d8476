"""Several files into one folder: all of them or none, and none over another without being told to."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o750
FILE_MODE: Final = 0o640
"""No secret is in them, but who may come in is: not for everybody."""


class WriteError(Exception):
    """Nothing was written. The text says why, and what to do."""


def write_all(folder: Path, texts: Mapping[str, str], *, force: bool) -> None:
    """Write texts by file name.

    Args:
        folder: Where; it is made if it is not there.
        texts: The content of each file.
        force: Overwrite files that are there already; others in the folder stay.

    Raises:
        WriteError: A file is there already, or cannot be written.
    """
    there = [name for name in texts if os.path.lexists(folder / name)]
    if there and not force:
        raise WriteError(
            f"{folder}: has {', '.join(there)} already: choose another --output, or overwrite with --force"
        )
    blocking = [name for name in there if (folder / name).is_dir() and not (folder / name).is_symlink()]
    if blocking:
        raise WriteError(f"{folder / blocking[0]}: is a folder: move it away")
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=FOLDER_MODE)
        with tempfile.TemporaryDirectory(prefix=".migrating-", dir=folder) as staging:
            staged = {name: _staged(Path(staging), name, text) for name, text in texts.items()}
            for name, file in staged.items():
                file.replace(folder / name)
    except OSError as error:
        raise WriteError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


def _staged(staging: Path, name: str, text: str) -> Path:
    file = staging / name
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    return file
