"""`extauthz verify`, as a person runs it."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from extauthz.cli.verify import command
from extauthz.gateway import REASONS
from gateway.forge import GATEWAY, HOST, Forge
from gateway.servers import JwksServer

FORGE = Forge()


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(FORGE.jwks))
    return str(path)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, arguments, input=stdin, catch_exceptions=False)


def good() -> str:
    return FORGE.stamp(now=time.time())


def test_a_good_stamp_exits_0(jwks: str) -> None:
    result = run(good(), "--jwks", jwks, "--audience", GATEWAY, "--method", "GET", "--host", f"{HOST}:443")
    assert result.exit_code == 0
    assert result.stdout.endswith("accepted\n")
    assert "REFUSED" not in result.stdout


def test_what_is_not_given_is_not_checked_and_said_so(jwks: str) -> None:
    result = run(good(), "--jwks", jwks, "--audience", GATEWAY)
    assert result.exit_code == 0
    assert "not checked  htm" in result.stdout
    assert result.stdout.endswith("\naccepted, but htm, hth were not checked\n")
    result = run(good(), "--jwks", jwks, "--audience", GATEWAY, "--method", "GET")
    assert result.stdout.endswith("\naccepted, but hth was not checked\n")
    said = json.loads(run(good(), "--jwks", jwks, "--audience", GATEWAY, "--format", "json").stdout)
    assert (said["accepted"], said["not_checked"]) == (True, ["htm", "hth"])


def test_every_fault_is_shown_and_the_first_is_the_reason(jwks: str) -> None:
    stamp = FORGE.stamp({"aud": "other"}, now=time.time() - 9999)
    result = run(stamp, "--jwks", jwks, "--audience", GATEWAY, "--method", "POST", "--format", "json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["accepted"], said["reason"]) == (False, "stamp_audience")
    assert {check["check"] for check in said["checks"] if check["passed"] is False} == {"aud", "exp", "htm"}


def test_a_forged_signature_is_shown_beside_what_it_claims(jwks: str) -> None:
    header, payload, _ = good().split(".")
    result = run(f"{header}.{payload}.{'A' * 86}", "--jwks", jwks, "--audience", GATEWAY)
    assert result.exit_code == 1
    assert f"refused: stamp_signature: {REASONS['stamp_signature']}" in result.stdout
    assert "ok           iss" in result.stdout


def test_the_stamp_can_come_on_standard_input(jwks: str) -> None:
    assert run("-", "--jwks", jwks, "--audience", GATEWAY, stdin=good() + "\n").exit_code == 0


def test_rubbish_is_refused_and_not_repeated(jwks: str) -> None:
    result = run("not-a-stamp-but-perhaps-a-secret", "--jwks", jwks, "--audience", GATEWAY)
    assert result.exit_code == 1
    assert "stamp_malformed" in result.stdout
    assert "secret" not in result.output


def test_keys_by_url(source: JwksServer) -> None:
    source.serve(FORGE.jwks)
    assert run(good(), "--jwks", source.url, "--audience", GATEWAY).exit_code == 0


@pytest.mark.parametrize("where", ["http://example.com/jwks.json", "absent.json", "ftp://127.0.0.1/"])
def test_a_source_that_is_no_source_exits_2(where: str) -> None:
    result = run("a.b.c", "--jwks", where, "--audience", GATEWAY)
    assert result.exit_code == 2
    assert result.stderr


def test_no_audience_exits_2(jwks: str) -> None:
    assert run("a.b.c", "--jwks", jwks).exit_code == 2
    assert run("a.b.c", "--jwks", jwks, "--audience", "").exit_code == 2
