"""What a process of the service asks of its C library."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from extauthz import process

if sys.argv[1] == "shared":
    process.share_memory_pools()
ready, done = threading.Barrier(13), threading.Event()

def run():
    held = [bytes(9000) for _ in range(9)]
    ready.wait()
    done.wait()

threads = [threading.Thread(target=run) for _ in range(12)]
for thread in threads:
    thread.start()
ready.wait()
ctypes.CDLL(None).malloc_stats()
done.set()
"""


def pools(what: str, **environment: str) -> int:
    """Return among how many pools twelve threads were divided."""
    variables = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment
    argv = [sys.executable, "-c", PROGRAM, what]
    told = subprocess.run(argv, env=variables, capture_output=True, text=True, check=True)
    return sum(line.startswith("Arena ") for line in told.stderr.splitlines())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no such pools")
def test_threads_share_few_pools_of_memory_unless_the_operator_says_otherwise() -> None:
    assert pools("not shared") > 4
    assert pools("shared") == 2
    assert pools("shared", MALLOC_ARENA_MAX="4") == 4
