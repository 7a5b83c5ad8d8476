"""`extauthz audit`, as a person and as a pipeline run it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from audit.finding_out import HARDENED, hardened
from cases.build import text_of
from extauthz.cli import main

AUTH = "gateway.trusted_proxy_auth"
SEEN_BY = {"id": AUTH, "gateway": "g", "by": "nick", "because": "Pomerium signs people in"}


def run(*arguments: str, **options: Any) -> Result:
    result = CliRunner().invoke(main, ["audit", *arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Write a file with this gateway and these sections, and return its name."""

    def write(gateway: dict[str, Any] = HARDENED, **sections: Any) -> str:
        path = tmp_path / "extauthz.yaml"
        path.write_text(text_of({**sections, "gateways": {"g": gateway}}), encoding="utf-8")
        return str(path)

    return write


def test_json_has_every_finding_with_all_that_is_known(written: Any) -> None:
    result = run(written(hardened({"allowUsers": []}), accepted=[SEEN_BY]), "--format", "json", "--fail-on", "never")
    document = json.loads(result.stdout)
    assert list(document) == ["findings"]
    accepted, other = document["findings"]
    assert list(other) == ["id", "severity", "gateway", "title", "seen", "do"]
    assert (other["id"], other["severity"], other["gateway"]) == ("gateway.trusted_proxy_no_allowlist", "warn", "g")
    assert all(other[key] for key in ("title", "seen", "do"))
    assert list(accepted) == [*other, "accepted"]
    assert accepted["severity"] == "critical"
    assert accepted["accepted"] == {"by": "nick", "because": "Pomerium signs people in"}


def test_gateway_of_a_finding_about_the_service_is_null(written: Any) -> None:
    result = run(written(mode="shadow"), "--format", "json")
    assert {finding["id"]: finding["gateway"] for finding in json.loads(result.stdout)["findings"]} == {
        AUTH: "g",
        "service.shadow_mode": None,
    }


def test_text_says_for_each_finding_what_where_and_what_to_do(written: Any) -> None:
    result = run(written(hardened({"allowUsers": []}), mode="shadow", accepted=[SEEN_BY]))
    lines = result.stdout.splitlines()
    first = lines.index(f"critical  {AUTH}  gateway g")
    assert lines[first + 1].strip() == "Authentication is delegated to a proxy"
    assert lines[first + 2].strip().startswith("seen: gateways.g.auth.mode is trusted-proxy")
    assert lines[first + 3].strip().startswith("do: ")
    assert lines[first + 4].strip() == "accepted: by nick, because: Pomerium signs people in"
    assert "warn      gateway.trusted_proxy_no_allowlist  gateway g" in lines
    assert "warn      service.shadow_mode  the service" in lines
    assert lines[-1].endswith("extauthz.yaml: 1 critical (1 accepted), 2 warn")


def test_severities_have_colours_at_a_terminal_and_none_in_a_file(written: Any) -> None:
    file = written(hardened({"allowUsers": [], "requiredHeaders": []}))
    assert "\x1b" not in run(file).stdout
    shown = run(file, color=True).stdout
    assert len(set(re.findall(r"\x1b\[(\d+)m\x1b\[1m(?:critical|warn|info)", shown))) == 3


@pytest.mark.parametrize(
    ("gateway", "accepted", "ended"),
    [
        # What the file has: nothing bad but the delegation, a warning, something critical; and who accepted what.
        (HARDENED, [], {"critical": 1, "warn": 1, "never": 0}),
        (HARDENED, [SEEN_BY], {"critical": 0, "warn": 0, "never": 0}),
        (hardened({"requiredHeaders": []}), [SEEN_BY], {"critical": 0, "warn": 0, "never": 0}),
        (hardened({"allowUsers": []}), [SEEN_BY], {"critical": 0, "warn": 1, "never": 0}),
        (hardened(trustedProxies=["2000::/3"]), [SEEN_BY], {"critical": 1, "warn": 1, "never": 0}),
        (HARDENED, [{**SEEN_BY, "gateway": None}], {"critical": 1, "warn": 1, "never": 0}),
    ],
    ids=["delegated", "accepted", "info", "warn", "critical", "accepted elsewhere"],
)
def test_exit_status_is_by_the_worst_that_nobody_accepted(
    written: Any, gateway: dict[str, Any], accepted: list[Any], ended: dict[str, int]
) -> None:
    file = written(gateway, accepted=accepted)
    told = {level: run(file, "--fail-on", level).exit_code for level in ended}
    assert told == ended
    assert run(file).exit_code == ended["critical"]
    assert {run(file, "--fail-on", level).stdout for level in ended} == {run(file).stdout}


def test_acceptance_never_hides_a_finding(written: Any) -> None:
    everything = [{**SEEN_BY, "id": id_} for id_ in (AUTH, "gateway.trusted_proxies_everything")]
    file = written(hardened(trustedProxies=["2000::/3"]), accepted=everything)
    found = json.loads(run(file, "--format", "json").stdout)["findings"]
    assert [(finding["id"], finding["severity"]) for finding in found] == [
        (AUTH, "critical"),
        ("gateway.trusted_proxies_everything", "critical"),
        ("gateway.trusted_proxies_prove_little", "info"),
    ]
    assert run(file).exit_code == 0


@pytest.mark.parametrize("how", ["file", "option", "environment", "folder"])
def test_file_is_named_in_the_usual_ways(
    tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    file = written()
    monkeypatch.chdir(tmp_path)
    arguments = {"file": [file], "option": ["--config", file]}.get(how, [])
    result = run(*arguments, env={"EXTAUTHZ_CONFIG": file} if how == "environment" else {})
    assert result.exit_code == 1
    assert AUTH in result.stdout


def test_two_files_are_refused(written: Any) -> None:
    result = run(written(), "--config", written())
    assert result.exit_code == 2
    assert "leave one of them out" in result.stderr


def test_relative_key_directory_starts_at_the_file(tmp_path: Path, written: Any) -> None:
    file = written()
    CliRunner().invoke(main, ["keys", "generate", "--keys", str(tmp_path / "keys")])
    (key,) = (tmp_path / "keys").iterdir()
    key.chmod(0o644)
    found = json.loads(run(file, "--format", "json").stdout)["findings"]
    assert "service.key_readable_by_everyone" in {finding["id"] for finding in found}


def test_file_of_ours_in_json_is_audited_however_large_and_its_faults_are_told(tmp_path: Path) -> None:
    file = tmp_path / "extauthz.json"
    users = [f"user{number}@example.com" for number in range(100_000)]  # more than an openclaw.json can have
    content = {"callers": {"addresses": ["10.0.0.7"] * 500}, "gateways": {"g": hardened({"allowUsers": users})}}
    file.write_text(json.dumps(content), encoding="utf-8")
    assert [found["id"] for found in json.loads(run(str(file), "--format", "json").stdout)["findings"]] == [AUTH]
    file.write_text(json.dumps({**content, "mode": "off"}), encoding="utf-8")
    result = run(str(file))
    assert result.exit_code == 2
    assert "mode: must be" in result.stderr


@pytest.mark.parametrize(
    "text",
    [
        "gateways: {g: {trustedProxies: [nonsense], auth: {mode: token}}}",
        '{"gateways": {"g": {"trustedProxies": ["nonsense"], "auth": {"mode": "token"}}}}',
        '{"gateway": {}, "gateways": {"g": {"trustedProxies": ["nonsense"], "auth": {"mode": "token"}}}}',
        "{gateways: {g: {trustedProxies: [nonsense], auth: {mode: token}}}}",
    ],
    ids=["yaml", "json", "both keys", "yaml in braces"],
)
def test_file_of_ours_that_does_not_load_ends_with_2_and_every_fault(tmp_path: Path, text: str) -> None:
    file = tmp_path / "extauthz.yaml"
    file.write_text(text, encoding="utf-8")
    for form in ("text", "json"):
        result = run(str(file), "--format", form)
        assert result.exit_code == 2
        assert result.stdout == ""
        for place in ("gateways.g.trustedProxies[0]", "gateways.g.auth.mode"):
            assert place in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"gateway": {"bind": "lan" "port": 1}}', "line 1"),
        ("{gateway: {auth: {token: 's3cret'", "ends too early"),
        ("{}", "gateway"),
        ('{"gateway": 7}', "must be an object"),
        ("", "the file is empty"),
        ("gateway: {bind: lan}", "did you mean `gateways`"),
    ],
    ids=["a comma is missing", "cut short", "no gateway", "a number", "empty", "ours, misspelt"],
)
def test_file_that_cannot_be_read_ends_with_2_and_a_word_that_helps(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "openclaw.json"
    file.write_text(text, encoding="utf-8")
    result = run(str(file))
    assert result.exit_code == 2
    assert says in result.stderr
    assert "s3cret" not in result.output


@pytest.mark.parametrize("name", ["missing.yaml", "missing.json", ""])
def test_file_that_is_not_there_ends_with_2(tmp_path: Path, name: str) -> None:
    result = run(str(tmp_path / name))
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


@pytest.mark.parametrize(
    "text",
    [
        '{"gateway": {"bind": "lan", "auth": {"mode": "none"}}}',
        "// mine\n{gateway: {bind: 'lan', auth: {mode: 'none',},},}",
        "/* mine */ {gateway: {bind: 'lan', auth: {mode: 'none'}}}",
        '\ufeff  {"gateway": {"bind": "lan", "auth": {"mode": "none"}}}',
    ],
    ids=["JSON", "JSON5", "with a comment", "with a byte order mark"],
)
def test_openclaw_file_is_known_by_its_gateway_key_whatever_it_is_called(tmp_path: Path, text: str) -> None:
    file = tmp_path / "some.conf"
    file.write_text(text, encoding="utf-8")
    result = run("--config", str(file), "--format", "json")
    assert result.exit_code == 1
    assert {(finding["id"], finding["gateway"]) for finding in json.loads(result.stdout)["findings"]} == {
        ("gateway.bind_no_auth", "openclaw"),
        ("gateway.control_ui.allowed_origins_required", "openclaw"),
    }


def test_openclaw_file_without_a_finding_is_good(tmp_path: Path) -> None:
    file = tmp_path / "openclaw.json"
    file.write_text('{"gateway": {"controlUi": {"enabled": false}}}', encoding="utf-8")
    result = run(str(file), "--fail-on", "warn")
    assert (result.exit_code, result.stdout) == (0, f"{file}: no findings\n")
    assert json.loads(run(str(file), "--format", "json").stdout) == {"findings": []}


def test_no_secret_of_an_openclaw_file_is_shown(tmp_path: Path) -> None:
    secret = "s3cret-s3cret"
    gateway = {
        "bind": 7,
        "auth": {"mode": "trusted-proxy", "token": secret, "password": secret, "trustedProxy": secret},
        "remote": {"token": secret},
        "trustedProxies": {"key": secret},
        "controlUi": [secret],
        "allowRealIpFallback": secret,
    }
    file = tmp_path / "openclaw.json"
    file.write_text(json.dumps({"gateway": gateway, "channels": {"token": secret}}), encoding="utf-8")
    for form in ("text", "json"):
        result = run(str(file), "--format", form)
        assert result.exit_code == 1
        assert secret not in result.output


def test_file_cannot_steer_the_terminal_of_who_audits_it(tmp_path: Path, written: Any) -> None:
    clear = "\x1b[2J\r\x9b\u202e"
    ours = written(
        hardened({"allowUsers": [f"*{clear}"], "userHeader": "x-user", "requiredHeaders": []}),
        accepted=[{**SEEN_BY, "by": clear, "because": clear}, {**SEEN_BY, "id": clear}],
    )
    theirs = tmp_path / "openclaw.json"
    rules = {"userHeader": f"x{clear}", "allowUsers": [f"*{clear}"]}
    gateway = {
        "bind": clear,
        "auth": {"mode": clear, "trustedProxy": rules},
        "trustedProxies": [clear, f"${{A}}{clear}"],
    }
    theirs.write_text(json.dumps({"gateway": gateway}), encoding="utf-8")
    delegated = tmp_path / "delegated.json"
    delegated.write_text(
        json.dumps({"gateway": {**gateway, "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}}), encoding="utf-8"
    )
    for file in (ours, str(theirs), str(delegated)):
        shown = run(file).stdout
        assert shown.count("seen: ") > 1
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_command_line_ends_as_the_tests_in_process_do(written: Any) -> None:
    file = written(accepted=[SEEN_BY])
    for arguments, code in (([file], 0), ([file, "--fail-on", "none"], 2), (["/nowhere"], 2)):
        ended = subprocess.run(
            [sys.executable, "-m", "extauthz.cli", "audit", *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == code
        assert "Traceback" not in ended.stderr


def test_every_option_explains_itself() -> None:
    shown = run("--help").stdout
    for word in ("FILE", "--config", "--format", "--fail-on", "accepted", "gateway.trusted_proxy_auth", "Exit status"):
        assert word in shown


def test_openclaws_own_keys_pasted_into_our_file_are_passed_over_here_and_nowhere_else(
    written: Any, tmp_path: Path
) -> None:
    pasted = {
        "bind": "lan",
        "port": 18789,
        "mode": "local",
        "tls": {"enabled": True},
        "tailscale": {"mode": "off"},
        "controlUi": {**HARDENED.get("controlUi", {}), "enabled": True, "basePath": "/claw"},
        "auth": {**HARDENED["auth"], "rateLimit": {"maxAttempts": 5}},
    }
    plain = json.loads(run(written(), "--format", "json", "--fail-on", "never").stdout)
    found = run(written({**HARDENED, **pasted}), "--format", "json", "--fail-on", "never")
    assert json.loads(found.stdout) == plain
    checked = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "extauthz.yaml")])
    assert checked.exit_code == 2
    assert all(f"gateways.g.{key}" in checked.stderr for key in ("bind", "port", "tls", "auth.rateLimit"))


@pytest.mark.parametrize(("where", "key"), [("auth", "token"), ("auth", "password"), ("", "rulset")])
def test_other_unknown_keys_are_faults_here_too(written: Any, where: str, key: str) -> None:
    gateway = {**HARDENED, **({where: {**HARDENED[where], key: "s3cret"}} if where else {key: "s3cret"})}
    result = run(written(gateway))
    assert result.exit_code == 2
    assert key in result.stderr
    assert "s3cret" not in result.output
