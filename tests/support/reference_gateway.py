"""The reference Gateway in tests: `extauthz gateway`, a process of its own that verifies stamps. No asserts."""

import contextlib
import http.client
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.ports import free_port
from support.process import running


@contextlib.contextmanager
def running_gateway(
    directory: Path, *, audience: str, jwks: str, user_header: str = "x-forwarded-user", further: Sequence[str] = ()
) -> Iterator[int]:
    """Run it while the block runs, on a free port of 127.0.0.1, which is what the block gets.

    Args:
        directory: where its log is kept.
        audience: its id in extauthz's configuration.
        jwks: extauthz's public keys, a URL or a path.
        user_header: the gateway's `userHeader`.
        further: more options.

    Raises:
        ProgramError: it did not become ready; the message has the end of its log.
    """
    port = free_port()
    argv = [sys.executable, "-m", "extauthz.cli", "gateway", "--listen", f"127.0.0.1:{port}"]
    argv += ["--audience", audience, "--jwks", jwks, "--user-header", user_header, *further]
    directory.mkdir(parents=True, exist_ok=True)
    with running(argv, log=directory / f"gateway-{audience}.log", ready=lambda: is_ready(port)):
        yield port


def is_ready(port: int) -> bool:
    """Whether a Gateway answers at this port of 127.0.0.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()
