"""What a process of the service asks of its system and of its interpreter. Nothing here knows what it serves."""

import ctypes
import gc
import importlib
import os
import resource
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

# How many new objects there may be before the garbage collector looks at the young ones; Python's default is 700.
COLLECT_AFTER_OBJECTS: Final = 20_000
# How long a thread of Python runs while another waits for its turn; Python's default is ten times as long. Whoever only
# looks on, a log, a scrape, takes a whole turn while a request waits for its own; and where each call on grpcio has a
# thread, it needs several: on two busy cores, at 500 calls a second through Envoy, the median answer came after 4.7 ms
# in the place of 430.
SWITCH_SECONDS: Final = 0.0005

# Among how many pools of memory glibc divides the threads, and by which name mallopt knows that (malloc.h). Its own
# choice is eight for each core: the same requests then leave 1 to 2 MB more behind.
MEMORY_POOLS: Final = 2
_M_ARENA_MAX: Final = -8

# Modules of the standard library that load OpenSSL, and those that take it where it is there, and do without else.
_OPENSSL: Final = ("_hashlib", "ssl")
_DO_WITHOUT: Final = ("hashlib", "hmac", "asyncio")
# Python's own hashes, of which a distribution may leave some to OpenSSL; those of SHA-2 are one module from 3.12 on.
_SHA_2: Final = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
_OWN_HASHES: Final = ("_md5", "_sha1", "_sha3", *_SHA_2)
_FIPS: Final = Path("/proc/sys/crypto/fips_enabled")


def leave_out_openssl() -> None:
    """Let nothing load Python's own OpenSSL but who speaks TLS with it; to be called before anything is imported.

    Python can be built without it, and then its hashes are its own and asyncio has no TLS, which nothing here asks of
    it. `cryptography` and grpcio each bring their own: 5 MB less in each process. Whoever imports `ssl` later gets it.
    Where Python has no hashes of its own, or the system wants validated ones (FIPS), nothing is left out.
    """
    if not all(map(find_spec, _OWN_HASHES)) or _wants_validated():
        return
    absent = [name for name in _OPENSSL if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # as importlib has it: this one cannot be imported
    try:
        for name in _DO_WITHOUT:
            importlib.import_module(name)
    finally:
        for name in absent:
            del sys.modules[name]


def _wants_validated() -> bool:
    try:
        return _FIPS.read_text(encoding="ascii").strip() != "0"
    except OSError:  # a system that knows no such mode
        return False


def raise_file_limit() -> None:
    """Let the process open as many files as it may: each connection is one, and the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # the system does not let us: the limits at the doors hold all the same
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_the_interpreter() -> None:
    """Let threads have their turns soon: what waits for one is a request."""
    sys.setswitchinterval(SWITCH_SECONDS)


def share_memory_pools() -> None:
    """Let the threads have few pools of memory between them; to be called before there are any.

    Whoever runs the service may choose otherwise, with glibc's own MALLOC_ARENA_MAX or GLIBC_TUNABLES.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    with suppress(OSError, AttributeError):  # another C library, without such pools
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MEMORY_POOLS)


def settle_memory() -> None:
    """Keep the garbage collector away from what stays: modules, the policy, the servers.

    Each full collection would walk all of it while requests wait. What requests leave behind is collected as ever, in
    larger portions.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 20)
