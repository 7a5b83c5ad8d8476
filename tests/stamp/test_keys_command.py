"""`extauthz keys`, as a person runs it."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from extauthz.cli import keys
from extauthz.cli.keys import command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


@pytest.fixture
def directory(tmp_path: Path) -> str:
    path = str(tmp_path / "keys")
    assert run("generate", "--keys", path).exit_code == 0
    return path


def test_generate_says_which_key_signs(tmp_path: Path) -> None:
    result = run("generate", "--keys", str(tmp_path / "k"), "--algorithm", "EdDSA", "--format", "json")
    said = json.loads(result.stdout)
    assert said["algorithm"] == "EdDSA"
    assert said["kid"] in run("list", "--keys", str(tmp_path / "k")).stdout


def test_generate_twice_points_to_rotate(directory: str) -> None:
    result = run("generate", "--keys", directory)
    assert result.exit_code == 2
    assert "keys rotate" in result.stderr


def test_rotate_and_list_show_the_states(directory: str) -> None:
    said = run("rotate", "--keys", directory).stdout
    assert "it signs in 300 s" in said
    assert f"before that: extauthz keys jwks --keys {directory}\n" in said
    rows = json.loads(run("list", "--keys", directory, "--format", "json").stdout)["keys"]
    assert [row["state"] for row in rows] == ["active", "next"]
    lines = run("list", "--keys", directory).stdout.splitlines()
    assert lines[0].startswith("active")
    assert lines[1].startswith("next")


def backdate(directory: str) -> None:
    for path in Path(directory).iterdir():
        document = json.loads(path.read_text())
        path.write_text(json.dumps(document | {"activates_at": 1000, "created_at": 1000}))


def test_rotate_at_once_for_a_leaked_key(directory: str) -> None:
    backdate(directory)
    assert "from now on" in run("rotate", "--keys", directory, "--activate-after", "0").stdout
    rows = json.loads(run("list", "--keys", directory, "--format", "json").stdout)["keys"]
    assert [row["state"] for row in rows] == ["previous", "active"]


def test_rotate_prunes(directory: str) -> None:
    backdate(directory)
    run("rotate", "--keys", directory, "--activate-after", "0")
    newer = Path(directory) / "key-000002.jwk"
    newer.write_text(json.dumps(json.loads(newer.read_text()) | {"activates_at": 2000}))
    result = run("rotate", "--keys", directory, "--prune", "--format", "json")
    assert json.loads(result.stdout)["removed"] == ["key-000001.jwk"]


def test_a_key_that_stamps_of_the_longest_lifetime_need_is_neither_pruned_nor_withdrawn(directory: str) -> None:
    backdate(directory)
    run("rotate", "--keys", directory, "--activate-after", "0")
    newer = Path(directory) / "key-000002.jwk"
    newer.write_text(json.dumps(json.loads(newer.read_text()) | {"activates_at": int(time.time()) - 3000}))
    rows = json.loads(run("list", "--keys", directory, "--format", "json").stdout)["keys"]
    assert [row["state"] for row in rows] == ["previous", "active"]
    assert len(json.loads(run("jwks", "--keys", directory).stdout)["keys"]) == 2
    assert len(json.loads(run("jwks", "--keys", directory, "--lifetime", "60").stdout)["keys"]) == 1
    assert json.loads(run("rotate", "--keys", directory, "--prune", "--format", "json").stdout)["removed"] == []


def test_jwks_is_public(directory: str) -> None:
    document = json.loads(run("jwks", "--keys", directory).stdout)
    assert [set(key) for key in document["keys"]] == [{"kty", "crv", "x", "y", "alg", "use", "kid"}]


@pytest.mark.parametrize("subcommand", ["list", "jwks", "rotate"])
def test_an_empty_directory_names_the_command(tmp_path: Path, subcommand: str) -> None:
    result = run(subcommand, "--keys", str(tmp_path))
    assert result.exit_code == 2
    assert "extauthz keys generate" in result.stderr


def test_a_readable_key_is_refused_with_its_cure(directory: str) -> None:
    (Path(directory) / "key-000001.jwk").chmod(0o644)
    result = run("list", "--keys", directory)
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr


def test_what_is_ignored_is_told(directory: str) -> None:
    (Path(directory) / "notes.txt").write_text("")
    assert "notes.txt" in run("list", "--keys", directory).stderr


def test_the_table_of_a_terminal(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    keys._print_table(keys._rows(keys._load(Path(directory), 60)))
    assert "active" in capsys.readouterr().out
