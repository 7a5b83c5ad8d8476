"""The key directory: files in, key sets out; making and turning over keys. The rules of time are in `keyset.py`."""

from __future__ import annotations

import math
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Final

from extauthz.stamp import jwks
from extauthz.stamp.keyfile import SUFFIX, KeyDirectoryError, new_key, read_key, sync_directory, write_key
from extauthz.stamp.keyset import KeySet, Schedule, SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from extauthz.stamp.claims import Algorithm
    from extauthz.stamp.jwks import Jwks

__all__ = ["KeyDirectory", "KeyDirectoryError", "generate", "load", "prune", "rotate"]

MAX_KEY_FILES: Final = 32
"""The most key files in a directory: verifiers limit how long a JWKS they read."""

DIRECTORY_MODE: Final = 0o700
_NAME: Final = "key-"
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def load(path: Path, schedule: Schedule | None = None) -> KeySet:
    """Read every key of a directory. An empty or missing directory is an empty set.

    Names that begin with a dot are passed over: Kubernetes keeps a Secret's files in `..data`, we our temporary ones.

    Raises:
        KeyDirectoryError: if a file in it is not fit for use.
    """
    keys = _load_all(path, schedule)
    if len(keys.keys) > MAX_KEY_FILES:
        raise KeyDirectoryError(f"{path}: {len(keys.keys)} keys, at most {MAX_KEY_FILES}. {_prune_hint(path)}")
    return keys


def generate(
    path: Path, algorithm: Algorithm, schedule: Schedule | None = None, *, now: float | None = None
) -> SigningKey | None:
    """Make the first key of a directory, which signs at once; make the directory too, for its owner alone.

    Of two processes that do so at the same time one makes it, and the other is told that there is one.

    Returns:
        The new key, or None if there is one already.

    Raises:
        KeyDirectoryError: if the directory cannot be made, read or written.
    """
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyDirectoryError(f"{path}: cannot make the directory of keys: {error.strerror}.") from error
    if load(path, schedule).keys:
        return None
    made = int(time.time() if now is None else now)
    key = new_key(algorithm, created_at=made, activates_at=made)
    return key if write_key(path / _file_name(1), key) else None


def rotate(
    path: Path,
    algorithm: Algorithm | None = None,
    schedule: Schedule | None = None,
    *,
    now: float | None = None,
) -> SigningKey:
    """Add the next key: published at once, signing after `schedule.publication` seconds.

    It always signs after every key that is there, so that none of them takes its turn: at the earliest one second
    after the newest of them began.

    Args:
        path: The directory; it must have a key.
        algorithm: Of the new key; by default that of the newest one.
        schedule: The margins. A publication of 0 has the key sign at once, which is for a leaked key: until they
            have fetched it, verifiers refuse its stamps.
        now: Unix seconds, by default this host's clock.

    Raises:
        KeyDirectoryError: if there is no key yet, one is waiting to become active, the clock is behind, another
            rotation came first, or the directory cannot be read or written.
    """
    margins = schedule or Schedule()
    time_now = time.time() if now is None else now
    keys = load(path, margins)
    if not keys.keys:
        raise KeyDirectoryError(_no_key(path))
    if len(keys.keys) >= MAX_KEY_FILES:
        raise KeyDirectoryError(f"{path}: there are {MAX_KEY_FILES} keys already. {_prune_hint(path)}")
    newest = keys.keys[-1]
    _refuse_before(path, keys, time_now)
    made = int(time_now)
    activates_at = max(made + margins.publication, newest.activates_at + 1)
    key = new_key(algorithm or newest.algorithm, created_at=made, activates_at=activates_at)
    target = path / _file_name(1 + max((_number(key.file) for key in keys.keys), default=0))
    if not write_key(target, key):
        raise KeyDirectoryError(f"{target}: another rotation came first; its key is the next one.")
    return key


def _refuse_before(path: Path, keys: KeySet, now: float) -> None:
    newest = keys.keys[-1]
    ahead = math.ceil(newest.activates_at - now)
    signs = keys.active(now)
    if signs is not None and signs is not newest:
        # Not for a leaked key either: what waits is published already, and signs as soon as it is the oldest.
        raise KeyDirectoryError(
            f"{path / newest.file}: a next key is there already; it signs in {ahead} s. Rotate again after that. "
            f"If the key in {signs.file} leaked, delete that file: the next one signs at once. If the next one leaked, "
            "delete its file and rotate again."
        )
    if ahead > keys.schedule.skew:
        raise KeyDirectoryError(
            f"{path / newest.file}: the clock of this host is {ahead} s behind this key's activates_at. Set the clock, "
            "or rotate on a host whose clock is right: a key made now would not sign when it should."
        )


def prune(path: Path, schedule: Schedule | None = None, *, now: float | None = None) -> list[str]:
    """Delete the retired keys. Returns the names of their files.

    Raises:
        KeyDirectoryError: if the directory cannot be read or written.
    """
    states = _load_all(path, schedule).states(time.time() if now is None else now)
    names = [key.file for key, state in states if state == "retired"]
    for name in names:
        try:
            (path / name).unlink(missing_ok=True)
        except OSError as error:
            raise KeyDirectoryError(f"{path / name}: cannot remove this retired key: {error.strerror}.") from error
    if names:
        sync_directory(path)
    return names


class KeyDirectory:
    """The keys of a directory, re-read when it changes; what a service holds.

    `refresh()` may be called from any thread, as often as one likes. `keys` is replaced by one assignment, so that
    whoever reads it sees the old set or the new one.
    """

    keys: KeySet
    """The last good set."""
    fault: str | None
    """Why the last look at the directory failed; None where all is well. Holds no secret."""

    def __init__(self, path: Path, schedule: Schedule | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Read the directory.

        Args:
            path: The directory.
            schedule: The margins of a rotation; `lifetime` is that of the stamps.
            clock: Unix seconds.

        Raises:
            KeyDirectoryError: if there is no key in it, or one that is not fit for use.
        """
        self.path = path
        self.schedule = schedule or Schedule()
        self._clock = clock
        self._reading = threading.Lock()
        self._seen = self._look()
        self.fault = None
        self.keys = self._load()
        self._jwks: tuple[tuple[str, ...], Jwks] | None = None

    def refresh(self) -> bool:
        """Re-read the directory if it has changed since, or could not be read. Returns whether `keys` was replaced.

        Never raises for what is wrong with the directory: the last good keys go on signing, and `fault` says why.
        """
        with self._reading:
            try:
                seen = self._look()
                if seen == self._seen and self.fault is None:
                    return False
                keys = self._load()
            except KeyDirectoryError as error:
                self.fault = str(error)
                return False
            self._seen, self.fault, self.keys = seen, None, keys
            return True

    def jwks(self) -> Jwks:
        """Return the JWKS document of this moment."""
        keys = self.keys.published(self._clock())
        kids = tuple(key.kid for key in keys)
        made = self._jwks
        if made is None or made[0] != kids:
            made = self._jwks = (kids, jwks.build(keys))
        return made[1]

    def warnings(self) -> list[str]:
        """Say what is not wrong but should be known, for the log at start and after a reload."""
        found = [
            f"{self.path / key.file}: the group can use this private key (mode {key.mode:04o})."
            for key in self.keys.keys
            if key.group_readable
        ]
        found += _open_to(self.path)
        return found + [f"{self.path / name}: not a key file ({SUFFIX}); ignored." for name in self.keys.ignored]

    def _load(self) -> KeySet:
        keys = load(self.path, self.schedule)
        if not keys.keys:
            raise KeyDirectoryError(_no_key(self.path))
        return keys

    def _look(self) -> tuple[tuple[object, ...], ...]:
        seen: list[tuple[object, ...]] = []
        for name in _names(self.path):
            try:
                found = os.stat(self.path / name)  # noqa: PTH116 (symlinks are followed: Kubernetes swaps them)
            except OSError:
                seen.append((name, None))
            else:
                seen.append((name, found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
        return tuple(seen)


def _load_all(path: Path, schedule: Schedule | None) -> KeySet:
    names = _names(path)
    owners = _trusted_owners(path) if names else None
    keys = [read_key(path / name, owners) for name in names if name.endswith(SUFFIX)]
    if len({key.kid for key in keys}) != len(keys):
        raise KeyDirectoryError(f"{path}: two files hold the same key. Remove the copy.")
    ignored = tuple(name for name in names if not name.endswith(SUFFIX))
    return KeySet(tuple(keys), schedule or Schedule(), ignored)


def _trusted_owners(path: Path) -> frozenset[int] | None:
    # Where others may put files, as in the mount point of a Kubernetes Secret, the owner tells whose key it is.
    try:
        found = path.stat()
    except OSError as error:
        raise KeyDirectoryError(f"{path}: cannot read the directory of keys: {error.strerror}.") from error
    return frozenset({0, os.geteuid(), found.st_uid}) if found.st_mode & _WRITABLE_BY_OTHERS else None


def _open_to(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        if not mode & _WRITABLE_BY_OTHERS or os.statvfs(path).f_flag & os.ST_RDONLY:  # as Kubernetes mounts a Secret
            return []
    except OSError:
        return []  # told as a fault, where it is one
    who = "everyone" if mode & stat.S_IWOTH else "the group"
    told = f"{path}: {who} can put keys here (mode {stat.S_IMODE(mode):04o}), and remove them"
    return [f"{told}; only keys of root, of this user and of the directory's owner are used. chmod go-w {path}"]


def _names(path: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))  # noqa: PTH208 (names only)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeyDirectoryError(f"{path}: cannot read the directory of keys: {error.strerror}.") from error


def _no_key(path: Path) -> str:
    return f"{path}: no key to sign with. Make one: extauthz keys generate --keys {path}"


def _prune_hint(path: Path) -> str:
    return f"Remove the retired ones: extauthz keys rotate --prune --keys {path}"


def _file_name(number: int) -> str:
    return f"{_NAME}{number:06}{SUFFIX}"


def _number(name: str) -> int:
    digits = name.removeprefix(_NAME).removesuffix(SUFFIX)
    return int(digits) if digits.isascii() and digits.isdigit() else 0
