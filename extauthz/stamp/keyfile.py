"""One key file: how it is written and read. What a directory of them means is not known here.

A key file is a private JWK (RFC 7517; RFC 7518, section 6.2; RFC 8037, section 2) with two members of our own beside
the standard ones: `created_at` and `activates_at`, in Unix seconds. No message ever holds what is in a file.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from extauthz.stamp.jwk import PrivateKey, private_members, read_private
from extauthz.stamp.keyset import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

    from extauthz.stamp.claims import Algorithm

SUFFIX: Final = ".jwk"
"""What the name of a key file ends with."""

MAX_KEY_FILE_BYTES: Final = 4096
"""The longest key file that is read; a real one has about 350 bytes."""

FILE_MODE: Final = 0o600
_READABLE_BY_OTHERS: Final = 0o007
_MAX_TIME: Final = 253_402_300_799  # the year 9999


class KeyDirectoryError(Exception):
    """The directory of keys, or a file in it, is not fit for use: the operator's to mend. Says where, and the cure."""


def new_key(algorithm: Algorithm, *, created_at: int, activates_at: int) -> SigningKey:
    """Make a private key in memory. Times are Unix seconds."""
    private = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()
    return SigningKey(private, activates_at=activates_at, created_at=created_at)


def write_key(path: Path, key: SigningKey) -> bool:
    """Write a key where no file is yet, readable by its owner alone: whole or not at all.

    Returns:
        False if there is a file of this name already, which is left as it is.

    Raises:
        KeyDirectoryError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_dump(key))
                file.flush()
                os.fsync(file.fileno())
            # A link, not a rename: it fails where the name is taken, so of two processes one wins and none overwrites.
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise KeyDirectoryError(
            f"{path}: cannot write the key: {error.strerror}. The directory must be writable by this user, on a file "
            "system with hard links; else make the keys elsewhere and copy them."
        ) from error
    return True


def sync_directory(path: Path) -> None:
    """Make sure that a name written to or removed from this directory outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_key(path: Path, owners: frozenset[int] | None = None) -> SigningKey:
    """Read one key file, whose owner must be one of `owners` (user ids) where they are given.

    Raises:
        KeyDirectoryError: if everyone can read it, or it is no key of ours; the message holds nothing of its content.
    """
    try:
        # Not blocking: a named pipe would hold the service up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyDirectoryError(f"{path}: cannot read this key: {error.strerror}. Is it this user's?") from error
    try:
        # Of the open file, so that what is checked is what is read.
        found = os.fstat(descriptor)
        mode = found.st_mode
        if not stat.S_ISREG(mode):
            raise KeyDirectoryError(f"{path}: not a file. Remove it: names that end in {SUFFIX} are keys.")
        if mode & _READABLE_BY_OTHERS:
            raise KeyDirectoryError(
                f"{path}: everyone on this host can use this private key (mode {stat.S_IMODE(mode):04o}). "
                f"chmod 600 {path}; in a Kubernetes Secret volume: defaultMode: 0440 with fsGroup."
            )
        if owners is not None and found.st_uid not in owners:
            raise KeyDirectoryError(
                f"{path}: belongs to user {found.st_uid}, in a directory where others can put files. "
                f"If the key is yours, chown it; then chmod go-w {path.parent}"
            )
        try:
            raw = os.read(descriptor, MAX_KEY_FILE_BYTES + 1)
        except OSError as error:
            raise KeyDirectoryError(f"{path}: cannot read this key: {error.strerror}.") from error
    finally:
        os.close(descriptor)
    return _load(path, raw, stat.S_IMODE(mode))


def _dump(key: SigningKey) -> bytes:
    times = {"created_at": key.created_at, "activates_at": key.activates_at}
    document: dict[str, Any] = {**private_members(key.private_key), **key.public_jwk, **times}
    return json.dumps(document, indent=2).encode() + b"\n"


def _load(path: Path, raw: bytes, mode: int) -> SigningKey:
    # `from None` throughout: the errors of parsers quote what they parse.
    cure = f"Restore it from a backup, or remove it and run: extauthz keys rotate --keys {path.parent}"
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise KeyDirectoryError(f"{path}: longer than a key file can be ({MAX_KEY_FILE_BYTES} bytes). {cure}")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise KeyDirectoryError(f"{path}: not JSON, or cut short. {cure}") from None
    if not isinstance(document, dict):
        raise KeyDirectoryError(f"{path}: not a JWK. {cure}")
    created_at, activates_at = document.get("created_at"), document.get("activates_at")
    if not (_is_time(created_at) and _is_time(activates_at)):
        raise KeyDirectoryError(f"{path}: created_at and activates_at must be there, in Unix seconds. {cure}")
    key = SigningKey(_private_key(path, document, cure), activates_at, created_at, file=path.name, mode=mode)
    if document.get("kid", key.kid) != key.kid or document.get("alg", key.algorithm) != key.algorithm:
        raise KeyDirectoryError(f"{path}: kid or alg is not that of the key in it; the file was edited. {cure}")
    return key


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MAX_TIME


def _private_key(path: Path, document: dict[str, Any], cure: str) -> PrivateKey:
    try:
        private = read_private(document)
    except ValueError:
        told = "the key in it cannot be used" if "d" in document else "holds no private key"
        raise KeyDirectoryError(f"{path}: {told}. {cure}") from None
    if private is None:
        raise KeyDirectoryError(f"{path}: neither a P-256 nor an Ed25519 key. {cure}")
    return private
