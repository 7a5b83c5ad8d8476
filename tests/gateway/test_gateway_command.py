"""`extauthz gateway`: the reference Gateway as a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from extauthz.cli.gateway import command
from gateway.forge import GATEWAY, Forge
from gateway.servers import until
from support.ports import free_port
from support.process import READY_SECONDS

FORGE = Forge()


@contextmanager
def running(*arguments: str, said: list[str] | None = None) -> Iterator[int]:
    port = free_port()
    line = [sys.executable, "-c", "from extauthz.cli.gateway import command; command()"]
    with subprocess.Popen([*line, "--listen", f"127.0.0.1:{port}", *arguments], stderr=subprocess.PIPE) as process:
        try:
            until(lambda: healthy(port))
            yield port
        finally:
            process.terminate()
            _, stderr = process.communicate(timeout=READY_SECONDS)
            if said is not None:
                said.append(stderr.decode())


def healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=READY_SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def get(url: str, headers: dict[str, str]) -> Any:
    return httpx.get(url, headers=headers, timeout=READY_SECONDS).json()


def test_it_trusts_only_stamps(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(FORGE.jwks))
    options = ["--jwks", str(tmp_path / "jwks.json"), "--audience", GATEWAY, "--user-header", "x-user"]
    stamp = FORGE.stamp({"hth": "127.0.0.1"}, now=time.time())
    said: list[str] = []
    with running(*options, said=said) as port:
        url = f"http://127.0.0.1:{port}/any/path"
        assert get(url, {"x-authz-user": "root"}) == {"error": "stamp_missing"}
        seen = get(url, {"x-authz-stamp": stamp, "x-user": "root"})
        assert ["x-user", "nick@example.com"] in seen["headers"]
        assert seen["identity"]["gateway"] == GATEWAY
        with connect(f"ws://127.0.0.1:{port}/ws", additional_headers={"x-authz-stamp": stamp}) as ws:
            assert json.loads(ws.recv())["identity"]["user"] == "nick@example.com"
        with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{port}/ws"):
            pass
    assert "handshake" not in said[0]  # a refused WebSocket is no fault of the application


def test_unverified_it_shows_what_anybody_sent() -> None:
    with running("--trust-headers-unverified") as port:
        seen = get(f"http://127.0.0.1:{port}/", {"x-authz-user": "root"})
    assert ["x-authz-user", "root"] in seen["headers"]
    assert seen["identity"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--jwks and --audience"),
        (["--jwks", "x.json"], "--jwks and --audience"),
        (["--jwks", "http://example.com/", "--audience", "a"], "this host only"),
        (["--jwks", "x.json", "--audience", "a", "--user-header", "a b"], "not a header"),
        (["--jwks", "x.json", "--audience", "a", "--trust-headers-unverified"], "verifies nothing"),
        (["--trust-headers-unverified", "--listen", "8080"], "HOST:PORT"),
        (["--trust-headers-unverified", "--listen", "127.0.0.1:99999"], "HOST:PORT"),
        (["--trust-headers-unverified", "--listen", "127.0.0.1:x"], "HOST:PORT"),
    ],
)
def test_bad_usage_exits_2(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert told in result.stderr
