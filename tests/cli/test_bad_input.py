"""Bad input of every kind ends with a word that helps and status 2, never with a traceback, never with a secret."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cases.build import GATEWAY, PAIRS, gateway, text_of
from cases.generated import bounded
from extauthz.cli import main
from extauthz.config.load import loads


def run(*arguments: str, **options: Any) -> Result:
    """Run a command; whatever it ends with, it is no traceback."""
    result = CliRunner().invoke(main, list(arguments), **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("cli") / "extauthz.yaml"
    path.write_text(text_of({"gateways": {"g": GATEWAY}}), encoding="utf-8")
    return ["--config", str(path)]


# Help and usage.


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found: list[tuple[str, ...]] = [path]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += _commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", _commands(main), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        result = run(*path, option)
        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")
    command: Any = main
    for name in path:
        command = command.get_command(click.Context(command), name)
    assert command.help


@pytest.mark.parametrize("path", [("serve",), ("check",), ("explain",)], ids=" ".join)
def test_every_option_explains_itself(path: tuple[str, ...]) -> None:
    command: Any = main.get_command(click.Context(main), path[0])
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.opts[0]}"


def test_commands_of_this_issue_are_there() -> None:
    assert {("serve",), ("check",), ("explain",), ("config", "schema")} <= set(_commands(main))


def test_version_is_told() -> None:
    assert re.search(r"\d+\.\d+.* \((pure|compiled)\)$", run("--version").output.rstrip())


@pytest.mark.parametrize("arguments", [["serv"], ["config", "scheme"], ["explain", "--peers", "a"], ["--nope"]])
def test_unknown_command_or_option_ends_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_unknown_command_is_answered_with_those_that_there_are() -> None:
    result = run("serv")
    for name in ("serve", "check", "explain", "config"):
        assert name in result.output.partition("Commands: ")[2]


def test_command_line_ends_as_the_tests_in_process_do(config: list[str]) -> None:
    for arguments, code in ((["check", *config], 0), (["explain", *config], 1), (["check", "--config", "/nowhere"], 2)):
        ended = subprocess.run(
            [sys.executable, "-m", "extauthz.cli", *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == code
        assert "Traceback" not in ended.stderr


# check.


def _check(tmp_path: Path, text: str, *options: str) -> Result:
    path = tmp_path / "extauthz.yaml"
    path.write_text(text, encoding="utf-8")
    return run("check", "--config", str(path), *options)


def test_good_file_is_good(tmp_path: Path) -> None:
    result = _check(tmp_path, text_of({"gateways": {"a": GATEWAY, "b": GATEWAY}}))
    assert result.exit_code == 0
    assert "2 gateways, good" in result.output


@pytest.mark.parametrize(
    ("config_", "reason"),
    [
        ({}, "trusted_proxy_config_missing"),
        (gateway(trustedProxies=[]), "trusted_proxy_no_proxies_configured"),
        (gateway({"userHeader": " "}), "trusted_proxy_user_missing"),
    ],
)
def test_incomplete_gateway_is_told_and_ends_with_1(tmp_path: Path, config_: dict[str, Any], reason: str) -> None:
    text = text_of({"gateways": {"fine": GATEWAY, "poor": config_}})
    result = _check(tmp_path, text)
    assert result.exit_code == 1
    assert "gateways.poor" in result.output
    assert reason in result.output
    assert "not good" in result.output
    found = json.loads(_check(tmp_path, text, "--format", "json").stdout)
    assert found["gateways"] == 2
    assert all(error["path"].startswith("gateways.poor") and error["line"] for error in found["errors"])
    assert found["errors"]


def test_file_with_faults_ends_with_2_and_tells_them_all(tmp_path: Path) -> None:
    text = text_of({"mode": "off", "gateways": {"g": gateway(trustedProxies=["nonsense", "10.1"])}})
    result = _check(tmp_path, text)
    assert result.exit_code == 2
    assert "3 faults" in result.output
    for path in ("mode", "gateways.g.trustedProxies[0]", "gateways.g.trustedProxies[1]"):
        assert f" {path}: " in result.output


def test_certificate_that_cannot_be_used_ends_with_1(tmp_path: Path) -> None:
    text = text_of({"tls": {"certificate": "c.pem", "privateKey": "k.pem"}, "gateways": {"g": GATEWAY}})
    result = _check(tmp_path, text)
    assert result.exit_code == 1
    assert f"{tmp_path}/c.pem" in result.output


@pytest.mark.parametrize("command", ["check", "explain", "serve"])
def test_file_that_cannot_be_read_ends_with_2(tmp_path: Path, command: str) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        result = run(command, "--config", str(path))
        assert result.exit_code == 2
        assert f"{path}: 1 fault" in result.output


@pytest.mark.parametrize("section", [{"tls": {"certificate": "a\0b", "privateKey": "k"}}, {"stamp": {"keys": "a\0"}}])
def test_file_name_that_no_system_takes_is_a_fault(tmp_path: Path, section: dict[str, Any]) -> None:
    result = _check(tmp_path, text_of({**section, "gateways": {"g": GATEWAY}}))
    assert result.exit_code == 2
    assert "control character" in result.output


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:x", "unix:relative", "0.0.0.0:9191"])
def test_override_that_cannot_be_listened_on_is_told(config: list[str], address: str) -> None:
    result = run("serve", *config, "--grpc", address)
    assert result.exit_code == 2
    assert "listen.grpc" in result.output


# explain.


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[", "line 1 is no JSON"),
        ("[]", "no JSON object"),
        ("1", "no JSON object"),
        ("null", "no JSON object"),
        ("{'a': 1}", "line 1 is no JSON"),
        ("\0", "line 1 is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"id": ' + "9" * 5000 + "}", "line 1 is no JSON"),
        ('{"peers": "10.0.0.7"}', "unknown key 'peers'"),
        ('{"peer": 1}', "'peer' must be text"),
        ('{"gateway": ["g"]}', "'gateway' must be text"),
        ('{"headers": "x: y"}', "'headers' must be an object"),
        ('{"headers": {"a": 1}}', "header 'a' must be text"),
        ('{"headers": {"a": ["b", null]}}', "header 'a' must be text"),
        ('{"caller": "localhost"}', "'caller' must be an IP address or unix"),
        (b"\xff\xfe", "no UTF-8"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_request_that_cannot_be_read_is_told(config: list[str], line: str | bytes, says: str) -> None:
    for form in ("text", "json"):
        result = run("explain", *config, "--requests", "-", "--format", form, input=line)
        assert result.exit_code == 2
        assert says in result.output


def test_line_of_the_fault_is_told(config: list[str]) -> None:
    result = run("explain", *config, "--requests", "-", input='{"gateway": "g"}\n\nnonsense\n')
    assert result.exit_code == 2
    assert "line 3" in result.output


@pytest.mark.parametrize(
    "line",
    [
        {"id": "\ud800"},
        {"gateway": "\ud800"},
        {"gateway": "g", "peer": "\ud800"},
        {"gateway": "g", "peer": "10.0.0.7", "headers": {"x-user\ud800": "nick"}},
        {"gateway": "g", "peer": "10.0.0.7", "headers": {"x-forwarded-user": "\ud800"}},
        {"headers": {"host": "\ud800"}},
    ],
    ids=str,
)
def test_text_that_is_no_unicode_is_explained_and_denied(config: list[str], line: dict[str, Any]) -> None:
    # A lone surrogate is how JSON and the command line write bytes that are no UTF-8.
    result = run("explain", *config, "--requests", "-", "--format", "json", input=json.dumps(line))
    assert result.exit_code == 1
    explained = json.loads(result.stdout)
    assert explained["id"] == line.get("id")
    malformed = any(key.endswith("\ud800") or value == "\ud800" for key, value in line.get("headers", {}).items())
    assert (explained["reason"] == "request_malformed") == (malformed and "host" not in line["headers"])
    assert run("explain", *config, "--requests", "-", input=json.dumps(line)).exit_code == 1


def test_request_cannot_steer_the_terminal_of_who_reads_its_explanation(config: list[str]) -> None:
    clear = "\x1b[2J\r\x9b"
    lines = [
        {"id": f"a{clear}", "gateway": f"g{clear}"},
        {"gateway": "g", "peer": f"10.0.0.7{clear}"},
        {"gateway": "g", "peer": "10.0.0.7", "headers": {**dict(PAIRS[1:]), f"x-user{clear}": "nick"}},
        {"gateway": "g", "peer": "10.0.0.7", "headers": {**dict(PAIRS), "x-forwarded-user": f"nick{clear}"}},
        {"gateway": "g", "peer": "10.0.0.7", "headers": {**dict(PAIRS), f"x_authz{clear}user": "nick"}},
        {"host": f"a{clear}"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    shown = run("explain", *config, "--requests", "-", input=text).stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-H", "authorization Bearer s3cret"],
        ["-H", ": s3cret"],
        ["-H", "s3cret"],
        ["--caller", "proxy.example"],
        ["--requests", "/nowhere"],
        ["--requests", "-", "--peer", "10.0.0.7"],
        ["--requests", "-", "-H", "cookie: s3cret"],
        ["--requests", "-", "--gateway", "g"],
        ["--requests", "-", "--host", "a.example"],
        ["--requests", "-", "--caller", "unix"],
        ["--format", "yaml"],
    ],
    ids=" ".join,
)
def test_bad_option_is_told_without_repeating_a_secret(config: list[str], arguments: list[str]) -> None:
    result = run("explain", *config, *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "s3cret" not in result.output


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from(["id", "gateway", "peer", "headers", "method", "host", "path", "caller", "other"])


@bounded
@given(line=st.dictionaries(_keys, _json | st.text(max_size=12), max_size=4) | _json)
def test_no_request_makes_explain_fall_over(config: list[str], line: Any) -> None:
    for form in ("text", "json"):
        result = run("explain", *config, "--requests", "-", "--format", form, input=json.dumps(line))
        assert result.exit_code in {1, 2}


@bounded
@given(values=st.lists(st.text(max_size=20), max_size=3), peer=st.text(max_size=20), host=st.text(max_size=20))
def test_no_options_make_explain_fall_over(config: list[str], values: list[str], peer: str, host: str) -> None:
    options = [f"--header={value}" for value in values]
    result = run("explain", *config, *options, f"--peer={peer}", f"--host={host}")
    assert result.exit_code in {1, 2}


def test_schema_is_printed_as_json() -> None:
    result = run("config", "schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "extauthz"


def test_example_of_these_tests_loads() -> None:
    assert not loads(text_of({"gateways": {"g": GATEWAY}})).incomplete
