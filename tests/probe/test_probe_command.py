"""`extauthz probe` as a command: its usage, what it prints, and that no secret is in it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from extauthz.cli import main
from extauthz.probe.checks import CHECKS, PROXIES, Outcome
from extauthz.probe.run import STEPS
from probe.cast import GATEWAY, SESSION_FILE, Cast, instead, probe
from probe.rogue_server import says, serving

SECRET = "s3cret-in-the-cookie"


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(main, ["probe", *arguments], input=text, catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing argument 'URL'"),
        (["gateway.example.com"], "wanted is https://host"),
        (["ftp://gateway.example.com/"], "wanted is https://host"),
        (["https://nick:pw@gateway.example.com/"], "has no place in it"),
        (["https://gateway.example.com/#x"], "has no place in it"),
        (["https://gateway.example.com:99999/"], "cannot be read"),
        (["https://gateway.example.com/a b"], "percent-encoded"),
        (["https://gateway.example.com/\r\nx: y"], "percent-encoded"),
        (["https://-/"], "host"),
        (["http://127.0.0.1/", "--gateway", "openclaw"], "give --config as well"),
        (["http://127.0.0.1/", "--gateway-address", "nowhere"], "host:port"),
        (["http://127.0.0.1/", "--websocket-path", "ws"], "begins with /"),
        (["http://127.0.0.1/", "--user-header", "a b"], "a header name"),
        (["http://127.0.0.1/", "--user-header", "host"], "steers proxies"),
        (["http://127.0.0.1/", "--allowed-user", "a\nb"], "as the proxy would name them"),
        (["https://127.0.0.1/", "--ca", "/nowhere"], "no certificates"),
        (["http://127.0.0.1/", "--config", "/nowhere.yaml"], "/nowhere.yaml"),
    ],
)
def test_bad_usage_is_told_and_sends_nothing(arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "line",
    [SECRET, f"cookie {SECRET}", f"host: {SECRET}", f"Connection: {SECRET}", f"cookie: {SECRET}\x00", f": {SECRET}"],
)
def test_a_sign_in_that_is_no_header_is_refused_without_a_word_of_it(line: str) -> None:
    for done in (run("http://127.0.0.1/", "-H", line), run("http://127.0.0.1/", "--header-file", "-", text=line)):
        assert done.exit_code == 2
        assert SECRET not in done.output


def test_an_empty_file_signs_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    assert "no header in it" in run("http://127.0.0.1/", "--header-file", str(tmp_path / "empty")).stderr


def test_a_gateway_must_be_named_where_the_file_has_several(tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text("gateways: {a: {hosts: [a.example.com]}, b: {hosts: [b.example.com]}}")
    told = run("http://127.0.0.1/", "--config", str(config))
    assert (told.exit_code, "which one of a, b" in told.stderr) == (2, True)
    told = run("http://127.0.0.1/", "--config", str(config), "--gateway", "c")
    assert (told.exit_code, "no gateway 'c'" in told.stderr) == (2, True)


def test_nothing_that_was_sent_or_came_back_is_printed() -> None:
    answer = says("200 OK", SECRET.encode(), f"location: {SECRET}", f"x: {SECRET}")
    with serving(lambda connection, _: connection.sendall(answer)) as port:
        for form in ("text", "json"):
            url = f"http://127.0.0.1:{port}/?token={SECRET}"
            done = run(url, "-H", f"authorization: {SECRET}", "--format", form)
            assert (done.exit_code, SECRET in done.output) == (1, False)


def test_the_sign_in_is_read_from_a_file(cast: Cast, tmp_path: Path) -> None:
    (tmp_path / "session").write_text(SESSION_FILE)
    with cast.behind("caddy") as hop:
        arguments = ["--config", str(cast.config), "--gateway", GATEWAY, "--header-file", str(tmp_path / "session")]
        found = probe(f"http://127.0.0.1:{hop.port}/", *arguments, signed_in=False)
    assert (found.status, "identity_arrives" in found.ids("passed")) == (0, True)


def test_the_table_has_every_check_and_the_advice_of_one_proxy(cast: Cast) -> None:
    with cast.behind(
        "nginx", lambda text: instead(text, "error_page 401 = @unauthenticated;", "error_page 401 =500 @u;")
    ) as hop:
        url = f"http://127.0.0.1:{hop.port}/"
        done = run(url, "--config", str(cast.config), "--proxy", "nginx")
        every = run(url, "--config", str(cast.config))
    assert done.exit_code == 1
    for check in CHECKS.values():
        assert check.title in done.stdout
    assert f"HOLE {'refusal_status'}" in done.stdout
    assert CHECKS["refusal_status"].do in done.stdout
    assert "    nginx: " in done.stdout
    assert "    Traefik: " not in done.stdout
    assert "    Traefik: " in every.stdout
    assert "no sign-in is given" in done.stderr


def test_at_a_terminal_it_shows_which_check_is_made() -> None:
    with serving(lambda connection, _: connection.sendall(says("401 Unauthorized"))) as port:
        leader, follower = pty.openpty()
        argv = [sys.executable, "-m", "extauthz.cli", "probe", f"http://127.0.0.1:{port}/"]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=follower, env=environment, check=False, timeout=60)
        os.close(follower)
        shown = os.read(leader, 1 << 20).decode()
        os.close(leader)
    assert done.returncode == 0
    assert f"/{len(CHECKS)}" in shown


def test_json_has_every_check_with_advice_where_something_was_found() -> None:
    with serving(lambda connection, _: connection.sendall(says("200 OK"))) as port:
        done = run(f"http://127.0.0.1:{port}/?a=b", "--format", "json")
    said = json.loads(done.stdout)
    assert [check["id"] for check in said["checks"]] == list(CHECKS)
    assert said["url"] == f"http://127.0.0.1:{port}/"
    assert said["holes"] == sum(check["result"] == Outcome.HOLE for check in said["checks"]) > 0
    for check in said["checks"]:
        assert (check["do"] is not None) is (check["result"] in {"hole", "warning"})


def test_every_check_is_made_in_the_order_of_the_table() -> None:
    assert list(STEPS) == list(CHECKS)
    for check in CHECKS.values():
        assert set(check.settings) <= set(PROXIES)
