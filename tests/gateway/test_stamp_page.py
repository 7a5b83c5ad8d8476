"""docs/stamp.md: its examples run, its commands work, and its tables are what the code says."""

import asyncio
import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from extauthz.cli.keys import command as keys_command
from extauthz.cli.verify import command as verify_command
from extauthz.gateway import REASONS, StampVerifier, Times
from extauthz.gateway import verifier as verifier_module
from extauthz.gateway.keyset import MAX_JWKS_BYTES, MAX_JWKS_KEYS
from extauthz.gateway.sources import FETCH_SECONDS
from extauthz.stamp import claims, keyset
from gateway.forge import GATEWAY, HOST, USER, Forge

PAGE = (Path(__file__).parents[2] / "docs" / "stamp.md").read_text()
FORGE = Forge()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(source, "docs/stamp.md", "exec"), names)  # noqa: S102 (our own page)
    return names


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Any:
    (tmp_path / "jwks.json").write_text(json.dumps(FORGE.jwks))
    with contextlib.chdir(tmp_path):
        yield tmp_path


def good() -> str:
    return FORGE.stamp(now=time.time())


def test_the_asgi_example_runs() -> None:
    names = run(blocks("python")[0])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    for stamp in (good(), "x"):
        headers = [(b"host", HOST.encode()), (b"x-authz-stamp", stamp.encode())]
        asyncio.run(names["app"]({"type": "http", "method": "GET", "path": "/", "headers": headers}, receive, send))
    names["verifier"].close()
    assert [message.get("status") for message in sent] == [200, None, 401, None]
    assert sent[1]["body"] == f"hello {USER}".encode()


def test_the_wsgi_example_runs() -> None:
    app = run(blocks("python")[1])["app"]
    environ = {"REQUEST_METHOD": "GET", "HTTP_HOST": HOST, "HTTP_X_AUTHZ_STAMP": good()}
    assert b"".join(app(environ, lambda *_: None)) == f"hello {USER}".encode()
    app._verifier.close()  # its thread would look for the file, and complain, while other tests run


def test_the_verifier_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(blocks("python")[2])
    names["verifier"].close()
    names["user_of"].__globals__["verifier"] = StampVerifier(FORGE.jwks, audience=GATEWAY)
    assert names["user_of"](good(), "GET", HOST, "/") == USER
    assert names["user_of"](good(), "POST", HOST, "/") is None
    assert capsys.readouterr().out == "stamp_method\n"


def test_every_python_block_is_run_by_a_test() -> None:
    assert len(blocks("python")) == 3


def test_the_commands_work() -> None:
    lines = [line.removeprefix("$ extauthz ").split() for block in blocks("console") for line in block.splitlines()]
    assert len(lines) == 5
    for name, *arguments in lines:
        command = {"keys": keys_command, "verify": verify_command}[name]
        result = CliRunner().invoke(command, arguments, input=good(), catch_exceptions=False)
        assert result.exit_code == 0, result.output


def test_the_table_of_reasons_is_the_codes() -> None:
    table = PAGE.partition("<!-- reasons -->")[2].partition("<!-- /reasons -->")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)) == REASONS


def test_the_limits_are_the_codes() -> None:
    times = Times()
    schedule = keyset.Schedule(lifetime=60)
    for said, actual in [
        ("| refresh | 60 s", times.refresh == 60),
        ("| retry | 5 s", times.retry == 5),
        ("| unknown `kid` | 10 s", times.unknown_kid == 10),
        ("| a request's wait | 6 s", times.wait == 6),
        ("| a fetch | 5 s", FETCH_SECONDS == 5),
        ("| the document | 64 KiB, 64 keys", (MAX_JWKS_BYTES, MAX_JWKS_KEYS) == (65536, 64)),
        ("| last good keys | 24 h", times.max_stale == 86400),
        ("Longer than 8192 bytes", claims.MAX_STAMP_BYTES == 8192),
        ("`exp - iat` over 3600", claims.MAX_LIFETIME_SECONDS == 3600),
        ("more than 10 s ahead", claims.LEEWAY_SECONDS == 10),
        ("becomes active 300 s later", schedule.publication == 300),
        ("less than lifetime + 60 s ago", schedule.withdrawal == 60 + 60),
        ("remembered (4096 of them)", verifier_module.MAX_VERIFIED_STAMPS == 4096),
    ]:
        assert said in re.sub(r"\s+", " ", PAGE)
        assert actual, said


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target
