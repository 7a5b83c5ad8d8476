"""`extauthz migrate`: what is written, where, over what; and what is refused, with nothing written at all."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from extauthz.cli import main
from extauthz.migrate.writing import WriteError, write_all
from migrate.migrating import COMPLETE, RULES, TRUSTED_PROXY, migrate
from support.envoy import validate_envoy
from support.http_proxies import complaint
from support.ports import free_port

FILES = ["MIGRATION.md", "extauthz.yaml", "openclaw.gateway.json5", "openclaw.patch.json5"]
PROXIES = {"envoy": "envoy.yaml", "traefik": "traefik.yaml", "caddy": "Caddyfile", "nginx": "nginx.conf"}
GATEWAY = {"gateway": TRUSTED_PROXY}


def test_files_are_not_for_everybody(tmp_path: Path) -> None:
    found = migrate(tmp_path, GATEWAY)
    assert [file.name for file in found.files] == FILES
    assert stat.S_IMODE(found.folder.stat().st_mode) & 0o027 == 0
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o137 == 0 for file in found.files)
    assert [f"{found.folder / name}: written" in found.result.stderr for name in FILES] == [True] * 4


def test_openclaws_file_is_only_read(tmp_path: Path) -> None:
    migrate(tmp_path, "{gateway: {/* mine */}}")
    assert (tmp_path / "openclaw.json").read_text() == "{gateway: {/* mine */}}"


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_overwritten_without_force_and_nothing_written_beside(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("mine")
    (folder / "other").write_text("mine too")
    found = migrate(tmp_path, GATEWAY)
    assert found.result.exit_code == 2
    assert f"has {name} already" in found.result.stderr
    assert "--force" in found.result.stderr
    assert {file.name for file in found.files} == {name, "other"}
    assert (folder / name).read_text() == "mine"
    forced = migrate(tmp_path, GATEWAY, "--force")
    assert forced.result.exit_code == 0
    assert {file.name for file in forced.files} == {*FILES, "other"}
    assert (folder / name).read_text() != "mine"
    assert (folder / "other").read_text() == "mine too"


def test_force_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / "extauthz.yaml").symlink_to(tmp_path / "precious")
    assert migrate(tmp_path, GATEWAY).result.exit_code == 2
    found = migrate(tmp_path, GATEWAY, "--force")
    assert found.result.exit_code == 0
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (found.folder / "extauthz.yaml").is_symlink()


def test_a_folder_in_the_place_of_a_file_ends_it_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "out" / "MIGRATION.md").mkdir(parents=True)
    found = migrate(tmp_path, GATEWAY, "--force")
    assert (found.result.exit_code, [file.name for file in found.files]) == (2, ["MIGRATION.md"])
    assert "is a folder: move it away" in found.result.stderr


def test_a_file_in_the_place_of_the_folder_and_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    assert migrate(tmp_path, GATEWAY).result.exit_code == 2
    with pytest.raises(WriteError, match="cannot be written: No such file"):
        write_all(tmp_path / "no" / "such", {"a": ""}, force=False)


def test_where_it_is_written_if_nobody_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("openclaw.json").write_text(json.dumps(GATEWAY))
    assert CliRunner().invoke(main, ["migrate", "openclaw.json"]).exit_code == 0
    assert sorted(file.name for file in Path("extauthz-migration").iterdir()) == FILES


# --- the proxy's configuration --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [(), ("--upstream", "10.0.0.9:18789", "--proxy-address", "10.0.0.5")], ids=["here", "away"]
)
@pytest.mark.parametrize("proxy", PROXIES)
def test_the_real_proxy_takes_its_configuration(proxy: str, options: tuple[str, ...], tmp_path: Path) -> None:
    found = migrate(tmp_path, GATEWAY, "--proxy", proxy, "--listen", f"127.0.0.1:{free_port()}", *options)
    assert found.result.exit_code == 0, found.result.output
    text = (found.folder / PROXIES[proxy]).read_text()
    assert ("10.0.0.9" if options else "18789") in text
    if proxy == "envoy":
        assert validate_envoy(text, tmp_path) is None
    elif proxy == "nginx":
        own = {"/var/lib/nginx": tmp_path, "/run/nginx.pid": tmp_path / "pid", "/var/log/nginx": tmp_path}
        for shown, real in own.items():
            text = text.replace(shown, str(real))
        assert complaint(proxy, tmp_path, text) is None
    else:
        # Traefik reads its routes where the file says that it is.
        assert complaint(proxy, found.folder, text) is None


@pytest.mark.parametrize("proxy", PROXIES)
def test_it_is_what_proxy_config_writes(proxy: str, tmp_path: Path) -> None:
    found = migrate(tmp_path, GATEWAY, "--proxy", proxy)
    upstream = "openclaw=127.0.0.1:18789" if proxy == "envoy" else "127.0.0.1:18789"
    file = ["--file", str(found.folder / "traefik.yaml")] if proxy == "traefik" else []
    again = found.run("proxy-config", proxy, "--upstream", upstream, *file)
    assert again.exit_code == 0, again.output
    assert (found.folder / PROXIES[proxy]).read_text() == again.stdout


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "options", "told"),
    [
        ("{gateway: {}", (), "line 1, column 13: is no JSON5"),
        ("{gateway: {mode: 'remote'}}", (), "gateway.mode: is not `local`"),
        ("{gateway: {auth: {mode: 'oauth'}}}", (), "gateway.auth.mode: must be one of none, token, password"),
        ("{gateway: {port: true}}", (), "gateway.port: must be a number"),
        (GATEWAY, ("--trusted-proxy", "10.0.0.300"), "gateways.openclaw.trustedProxies[0]"),
        (GATEWAY, ("--user-header", "x user"), "gateways.openclaw.auth.trustedProxy.userHeader"),
        (GATEWAY, ("--user-header", "x-authz-stamp"), "is also headers.stamp"),
        (GATEWAY, ("--host", "https://a"), "gateways.openclaw.hosts[0]"),
        (GATEWAY, ("--origin", "a.example"), "gateways.openclaw.controlUi.allowedOrigins[0]"),
        (GATEWAY, ("--gateway", "Claw\nx: y"), "--gateway"),
        (GATEWAY, ("--listen", "localhost:80"), "--listen"),
        (GATEWAY, ("--upstream", "nowhere"), "--upstream"),
        (GATEWAY, ("--proxy-address", "proxy"), "the address of the proxy that calls OpenClaw"),
        (GATEWAY, ("--proxy", "envoy", "--proxy-address", "10.0.0.5"), "--upstream HOST:PORT is wanted"),
        ("{gateway: {}}", ("--proxy", "nginx"), "--trusted-proxy ADDR"),
        ("{gateway: {}}", ("--proxy", "envoy", *COMPLETE[:2]), "--user-header NAME"),
        ({"gateway": {**TRUSTED_PROXY, "port": "${PORT}"}}, ("--proxy", "envoy"), "--upstream HOST:PORT is wanted"),
        ({"gateway": {**TRUSTED_PROXY, "trustedProxies": ["0.0.0.0/0"]}}, ("--proxy", "nginx"), "this is everybody"),
    ],
    ids=range(18),
)
def test_what_is_refused_is_told_and_nothing_is_written(
    config: str | dict[str, Any], options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    found = migrate(tmp_path, config, *options)
    assert (found.result.exit_code, found.files) == (2, [])
    assert told in found.result.stderr
    assert "Traceback" not in found.result.stderr


def test_every_fault_at_once(tmp_path: Path) -> None:
    rules = {**RULES, "allowUsers": [1], "allowLoopback": "yes", "userHeader": 7}
    gateway = {"bind": 1, "trustedProxies": "x", "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}
    found = migrate(tmp_path, {"gateway": gateway})
    assert ": 5 faults\n" in found.result.stderr
    for path in (
        "bind",
        "trustedProxies",
        *(f"auth.trustedProxy.{key}" for key in ("allowUsers", "allowLoopback", "userHeader")),
    ):
        assert f"  gateway.{path}: must be " in found.result.stderr


# --- for machines ---------------------------------------------------------------------------------------------------


def test_json(tmp_path: Path) -> None:
    found = migrate(tmp_path, GATEWAY, "--format", "json", "--proxy", "caddy")
    told = json.loads(found.result.stdout)
    assert (told["mode"], told["gateway"], told["ruleset"]) == ("trusted-proxy", "openclaw", "openclaw-2026.9")
    assert (told["startsIn"], told["open"]) == ("shadow", [])
    assert sorted(told["files"]) == sorted(str(found.folder / name) for name in [*FILES, "Caddyfile"])
    assert [(step["step"], bool(step["parts"])) for step in told["steps"]] == [(number, True) for number in range(1, 7)]
    assert [note["path"] for note in told["notes"]] == ["gateway.bind"]
    assert told["back"]["title"] == "The way back"
    assert found.result.stderr == ""
