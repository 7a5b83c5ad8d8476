"""A directory as the kubelet lays it out for a ConfigMap or a Secret, and swaps it. What the files are is unknown here.

Each file is a symlink to one of the same name in `..data`, which is a symlink to a directory with the time in its name;
a new version is a new directory, and one rename.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DIRECTORY_MODE: Final = 0o3777
"""As of a volume with an fsGroup: everyone could write here, were it not mounted read-only."""


class Volume:
    """One mounted volume."""

    def __init__(self, path: Path, files: Mapping[str, bytes], mode: int = 0o644) -> None:
        """Lay out the first version; `mode` is the volume's defaultMode."""
        self.path = path
        self._mode = mode
        self._version = 0
        path.mkdir()
        path.chmod(DIRECTORY_MODE)
        self.swap(files)

    def swap(self, files: Mapping[str, bytes]) -> None:
        """Replace all files at once, as the kubelet does after the object changed."""
        before = self.path / "..data"
        old = before.readlink() if before.is_symlink() else None
        self._version += 1
        new = self.path / f"..2026_11_22_17_05_54.{self._version:09}"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_bytes(content)
            (new / name).chmod(self._mode)
        (self.path / "..data_tmp").symlink_to(new.name)
        (self.path / "..data_tmp").rename(before)
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for found in os.listdir(self.path):  # noqa: PTH208 (names only)
            if not found.startswith("..") and found not in files:
                (self.path / found).unlink()
        if old is not None:
            shutil.rmtree(self.path / old)
