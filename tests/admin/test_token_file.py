"""The token's file: what is a token, who may read it, and that a service without a good one does not start."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from admin.watching import TOKEN, write_token
from extauthz.doors.token_file import TokenFileError, read_token
from forward_auth.opening import gateway


@pytest.mark.parametrize("token", [TOKEN, "A1-._~+/" * 8 + "==", "x" * 1024])
def test_token_is_read_without_the_line_s_end(token: str, tmp_path: Path) -> None:
    assert read_token(write_token(tmp_path / "token", token)) == token.encode()
    assert read_token(write_token(tmp_path / "token", f"{token}\r")) == token.encode()


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("", "empty"),
        ("fifteen-letters", "fewer than 16 characters"),
        ("two tokens in one line", "one token and nothing else"),
        ("a-first-line-of-some\nand-a-second-one", "one token and nothing else"),
        ("caf\u00e9-caf\u00e9-caf\u00e9-caf\u00e9", "one token and nothing else"),
        ("x" * 1025, "one token and nothing else"),
    ],
)
def test_what_is_no_token_is_told_without_being_shown(token: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match=told) as caught:
        read_token(write_token(tmp_path / "token", token))
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_file_that_everyone_can_use_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="chmod o="):
        read_token(write_token(tmp_path / "token", mode=mode))


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440])
def test_file_of_the_owner_and_the_group_is_taken(mode: int, tmp_path: Path) -> None:
    path = write_token(tmp_path / "token")
    path.chmod(mode)
    assert read_token(path) == TOKEN.encode()


def test_missing_token_is_a_fault_of_check_and_serve(tmp_path: Path) -> None:
    file = tmp_path / "extauthz.yaml"
    config = {"stamp": {"enabled": False}, "admin": {"tokenFile": "token"}, "gateways": {"openclaw": gateway()}}
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    for command, status in (("check", 1), ("serve", 2)):
        argv = [sys.executable, "-m", "extauthz.cli", command, "--config", str(file)]
        ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == status
        assert f"{tmp_path / 'token'}: the token cannot be read: No such file" in ended.stdout + ended.stderr
        assert "openssl rand -hex 32" in ended.stdout + ended.stderr
