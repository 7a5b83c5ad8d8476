"""The bearer token of the admin address: one line of a file, read again when it changes. It is never shown."""

import hmac
import re
import stat
from pathlib import Path
from typing import Final

from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# Long enough that it cannot be guessed over a network, however often one may try.
SHORTEST_TOKEN_CHARACTERS: Final = 16
LONGEST_TOKEN_CHARACTERS: Final = 1024
# What everyone on this host must not be able to do with the file. The group may: so Kubernetes mounts Secrets.
_OPEN_TO_ALL: Final = stat.S_IRWXO
# RFC 6750, section 2.1: what may stand behind "Bearer".
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_SCHEME: Final = b"bearer "


class TokenFileError(Exception):
    """The file holds no token that can be used; the text names it and says what to do, and never what is in it."""


def read_token(path: Path) -> bytes:
    """Read the token.

    Raises:
        TokenFileError: The file cannot be read, everyone can use it, or what stands in it is no token or a short one.
    """
    make = f"make one: (umask 077; openssl rand -hex 32 > {path})"
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            found = file.read(LONGEST_TOKEN_CHARACTERS + 2)
    except OSError as error:
        raise TokenFileError(f"{path}: the token cannot be read: {error.strerror}; {make}") from error
    if mode & _OPEN_TO_ALL:
        raise TokenFileError(f"{path}: everyone on this host can use this file (mode {mode:04o}): chmod o= {path}")
    token = found.removesuffix(b"\n").removesuffix(b"\r")
    if not token:
        raise TokenFileError(f"{path}: the file is empty; {make}")
    if len(token) < SHORTEST_TOKEN_CHARACTERS:
        raise TokenFileError(f"{path}: the token has fewer than {SHORTEST_TOKEN_CHARACTERS} characters; {make}")
    if len(token) > LONGEST_TOKEN_CHARACTERS or not _TOKEN.fullmatch(token):
        raise TokenFileError(
            f"{path}: the file must hold one token and nothing else: letters, digits and -._~+/ (RFC 6750); {make}"
        )
    return token


class TokenFile:
    """The token in force. While its file cannot be used there is none, and nobody is let in.

    Attributes:
        fault: Why there is no token; None where there is one.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            TokenFileError: It holds no token that can be used.
        """
        self.fault: str | None = None
        self._path: Final = path
        self._seen: tuple[int, ...] | None = self._look()
        self._token: bytes | None = read_token(path)

    def admits(self, authorization: bytes | None) -> bool:
        """Tell whether an Authorization header carries the token; compared in a time that says nothing of it."""
        self._refresh()
        if self._token is None or authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            return False
        return hmac.compare_digest(authorization[len(_SCHEME) :].strip(b" "), self._token)

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen and seen is not None:
            return
        try:
            self._token, fault = read_token(self._path), None
        except TokenFileError as error:
            self._token, fault = None, str(error)
        if fault != self.fault:
            if fault is not None:
                _log.error("the admin token cannot be used any more: nobody is let in", error=fault)
            else:
                _log.info("the admin token can be used again")
        self._seen, self.fault = seen, fault

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
