"""What a process of the service asks of its C library and of its interpreter."""

import hashlib
import hmac
import os
import platform
import ssl  # noqa: F401 - so that it is there
import subprocess
import sys
from pathlib import Path

import pytest

from extauthz.process import leave_out_openssl

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


WITHOUT_OPENSSL = """
import sys
from extauthz.process import leave_out_openssl

leave_out_openssl()
assert not {"ssl", "_ssl", "_hashlib"} & set(sys.modules)
import asyncio, hashlib, hmac
told = hashlib.sha256(b"what is hashed").hexdigest(), hmac.new(b"k", b"m", "sha256").hexdigest()
import ssl, http.client

context = ssl.create_default_context()
assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
assert http.client.HTTPSConnection("issuer.example.com", context=context).port == 443
print(*told)
"""


def test_openssl_is_left_out_and_is_there_for_who_asks_for_it_later() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_OPENSSL], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    mac = hmac.new(b"k", b"m", "sha256").hexdigest()
    assert done.stdout.split() == [hashlib.sha256(b"what is hashed").hexdigest(), mac]


def test_what_has_openssl_keeps_it() -> None:
    before = {name: sys.modules[name] for name in ("ssl", "_hashlib", "hashlib", "asyncio")}
    leave_out_openssl()
    assert {name: sys.modules[name] for name in before} == before


WITH_OPENSSL = """
import sys
from pathlib import Path
from extauthz import process

sys.modules.update(dict.fromkeys(sys.argv[2:]))
process._FIPS = Path(sys.argv[1])
process.leave_out_openssl()
import asyncio, hashlib
assert "_hashlib" in sys.modules and asyncio.sslproto.ssl is not None
print(hashlib.sha256(b"what is hashed").hexdigest())
"""


@pytest.mark.parametrize(
    ("fips", "absent"),
    [("1", ()), ("0", ("_sha256", "_sha512", "_sha2")), (None, ("_md5",))],
    ids=["FIPS", "SHA-2 is OpenSSL's alone", "MD5 is"],
)
def test_openssl_stays_where_the_hashes_are_its_own(tmp_path: Path, fips: str | None, absent: tuple[str, ...]) -> None:
    told = tmp_path / "fips_enabled"
    if fips is not None:
        told.write_text(f"{fips}\n", encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-c", WITH_OPENSSL, str(told), *absent], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == hashlib.sha256(b"what is hashed").hexdigest(), done.stderr
