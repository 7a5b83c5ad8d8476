"""What the key files are, as files: who can read them, and how old the key is that signs. Reads, and writes nothing."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extauthz.config.load import Loaded
from extauthz.config.values import seconds
from extauthz.stamp.keyfile import SUFFIX, KeyDirectoryError, read_key
from extauthz.stamp.keyset import KeySet, Schedule, SigningKey

# Who can write a key can put his own in its place: that is no less than to read it.
_EVERYONE: Final = 0o007
_GROUP: Final = 0o070


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One file with a private key.

    Attributes:
        place: The key of the configuration that names it.
        path: Where it is.
        mode: Its permission bits.
    """

    place: str
    path: Path
    mode: int

    @property
    def open_to_everyone(self) -> bool:
        """Everyone on the host can use it."""
        return bool(self.mode & _EVERYONE)

    @property
    def open_to_group(self) -> bool:
        """The file's group can, and not everyone."""
        return bool(self.mode & _GROUP) and not self.open_to_everyone

    def __str__(self) -> str:
        return f"{self.place}: {self.path} has mode {self.mode:04o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What was found.

    Attributes:
        files: Those with a private key that could be looked at.
        signing: The key that signs now; None where there is none, or it could not be read.
        unread: What could not be looked at, and why.
    """

    files: tuple[KeyFile, ...] = ()
    signing: SigningKey | None = None
    unread: tuple[str, ...] = ()


def look_at_keys(loaded: Loaded, now: float) -> KeyFacts:
    """Look at every private key that the configuration names. What is not there yet is no fact.

    Args:
        loaded: The configuration.
        now: Unix seconds.
    """
    files: list[KeyFile] = []
    unread: list[str] = []
    tls = loaded.settings.tls
    if tls is not None:
        _look("tls.privateKey", loaded.path(tls.private_key), files, unread)
    signing: list[SigningKey] = []
    stamp = loaded.settings.stamp
    if stamp.enabled:
        for path in _key_paths(loaded.path(stamp.keys), unread):
            found = _look("stamp.keys", path, files, unread)
            if found is None or found.open_to_everyone:
                continue  # the service refuses such a key, whatever is in it
            try:
                signing.append(read_key(path))
            except KeyDirectoryError as error:
                unread.append(f"stamp.keys: {error}")
    keys = KeySet(tuple(signing), Schedule(lifetime=int(seconds(stamp.lifetime))))
    return KeyFacts(files=tuple(files), signing=keys.active(now), unread=tuple(unread))


def _key_paths(folder: Path, unread: list[str]) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only
    except FileNotFoundError:
        return []  # the service makes it, or `check` tells
    except OSError as error:
        unread.append(f"stamp.keys: {folder}: {error.strerror}")
        return []
    return [folder / name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]


def _look(place: str, path: Path, files: list[KeyFile], unread: list[str]) -> KeyFile | None:
    try:
        found = path.stat()  # links are followed: Kubernetes makes a Secret's files so
    except FileNotFoundError:
        return None
    except OSError as error:
        unread.append(f"{place}: {path}: {error.strerror}")
        return None
    file = KeyFile(place, path, stat.S_IMODE(found.st_mode))
    files.append(file)
    return file
