"""Run a program under a part of a unit's restrictions, where there is no systemd: system calls, sockets, memory.

A program, not a module: `python confined.py UNIT ARGV...` reads UNIT, confines itself as it says and becomes ARGV. What
the sets of system calls have in them is asked of systemd-analyze; the kernel is told by libseccomp, as systemd does.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000  # SCMP_ACT_ERRNO, with the number in the lower half
EQUAL, MASKED_EQUAL = 4, 7  # SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ
PROT_WRITE, PROT_EXEC, SHM_EXEC = 0x2, 0x4, 0o100000
HIGHEST_FAMILY: Final = 64
NO_NEW_PRIVILEGES: Final = 38  # PR_SET_NO_NEW_PRIVS


class Argument(ctypes.Structure):
    """What one argument of a system call is compared with: struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class Filter:
    """A filter of system calls of this process, and of what it becomes."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._library.seccomp_init.argtypes = [ctypes.c_uint32]
        self._library.seccomp_load.argtypes = [ctypes.c_void_p]
        self._context = ctypes.c_void_p(self._library.seccomp_init(default))

    def add(self, action: int, name: str, *arguments: Argument) -> None:
        """Do this with calls of this name that have all these arguments. This machine may not have the call."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        array = (Argument * len(arguments))(*arguments)
        failed = self._library.seccomp_rule_add_array(self._context, ctypes.c_uint32(action), number, len(array), array)
        if failed:
            raise OSError(-failed, f"{name}: {os.strerror(-failed)}")

    def load(self) -> None:
        """Put it in force."""
        failed = self._library.seccomp_load(self._context)
        if failed:
            raise OSError(-failed, os.strerror(-failed))


def settings(unit: Path) -> dict[str, list[str]]:
    """Return the values of each key of a unit, in order, lines that go on joined."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            found.setdefault(key.strip(), []).append(" ".join(value.split()))
    return found


def system_calls(filters: Iterable[str]) -> set[str]:
    """Return what the values of SystemCallFilter= allow, as systemd reads them one after the other."""
    told = subprocess.run(["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True)
    sets: dict[str, list[str]] = {}
    name = ""
    for line in told.stdout.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
        elif name and line.startswith(" ") and not word.startswith("#"):
            sets.setdefault(name, []).append(word)

    def expand(word: str) -> set[str]:
        return set().union(*map(expand, sets[word])) if word.startswith("@") else {word}

    allowed = expand("@default")
    for value in filters:
        words = set().union(*(expand(word) for word in value.removeprefix("~").split()))
        allowed = allowed - words if value.startswith("~") else allowed | words
    return allowed


def confine(unit: Path) -> None:
    """Confine this process as the unit says."""
    said = settings(unit)
    allowed = system_calls(said["SystemCallFilter"])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    details = Filter(ALLOW)
    families = {int(getattr(socket, name)) for name in said["RestrictAddressFamilies"][0].split()}
    for family in set(range(HIGHEST_FAMILY)) - families:
        details.add(REFUSE | errno.EAFNOSUPPORT, "socket", Argument(0, EQUAL, family))
    if said["MemoryDenyWriteExecute"] == ["yes"]:
        both = PROT_WRITE | PROT_EXEC
        details.add(REFUSE | errno.EPERM, "mmap", Argument(2, MASKED_EQUAL, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            details.add(REFUSE | errno.EPERM, name, Argument(2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
        details.add(REFUSE | errno.EPERM, "shmat", Argument(2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
    calls = Filter(REFUSE | int(getattr(errno, said["SystemCallErrorNumber"][0])))
    for name in sorted(allowed):
        calls.add(ALLOW, name)
    details.load()
    calls.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the program that is to be confined
