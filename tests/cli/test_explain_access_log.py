"""`extauthz explain --access-log`: who refused what, of lines that a real Envoy wrote, and of lines made of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from cases.build import gateway, text_of
from extauthz.cli import main
from extauthz.core.reasons import REASONS, TOO_MANY_REFUSALS
from extauthz.proxies.envoy import Route
from support.check_server import allow, check_server
from support.clients import http1
from support.echo_gateway import echo_gateway
from support.files import json_lines
from support.front import Front, running_front
from support.ports import free_port
from support.process import wait_until
from support.rogue_door import rogue_door
from support.service import running_service

FRONT: Final = "127.0.0.7"
"""Where the identity-aware proxy connects from."""
STRANGER: Final = "127.0.0.8"
IDENTITY: Final = (("x-forwarded-user", "nick@example.com"), ("x-forwarded-proto", "https"))


def _gateway(**keys: Any) -> dict[str, Any]:
    return gateway(trustedProxies=[FRONT, "10.0.0.7"], **keys)


GATEWAYS: Final[dict[str, Any]] = {
    "openclaw": _gateway(),
    "shady": _gateway(mode="shadow"),
    "gone": _gateway(),
    "refuser": _gateway(),
    "claw": gateway({"allowLoopback": True}, ruleset="openclaw-2026.9", trustedProxies=[FRONT, "10.0.0.7"]),
}


@dataclass(frozen=True)
class Logs:
    """What Envoys wrote: lines by the path that was asked for, and one Envoy's log as a file."""

    lines: dict[str, dict[str, Any]]
    file: Path


def _ask(
    front: Front, path: str, name: str = "openclaw", *, user: str | None = "nick@example.com", **more: Any
) -> None:
    headers = [pair for pair in (("x-forwarded-user", user or ""), *IDENTITY[1:]) if pair[1]]
    http1(front.port, headers, target=path, host=f"{name}.example.com", **{"source": FRONT, **more})


def _routes(upstreams: dict[str, str]) -> list[Route]:
    return [
        Route(gateway=name, domains=(f"{name}.example.com",), upstream=where, user_headers=("x-forwarded-user",))
        for name, where in upstreams.items()
    ]


def _ask_everything(front: Front, prefix: str) -> None:
    _ask(front, f"/{prefix}-allowed?token=s3cret")
    _ask(front, f"/{prefix}-stranger", source=STRANGER)
    _ask(front, f"/{prefix}-nobody", user=None)
    _ask(front, f"/{prefix}-not-listed", user="Nick@example.com")
    _ask(front, f"/{prefix}-shadow", "shady", source=STRANGER)
    _ask(front, f"/{prefix}-unknown", "nowhere")
    _ask(front, f"/{prefix}-attribution", "claw", source=STRANGER)
    _ask(front, f"/{prefix}-gateway-down", "gone")
    _ask(front, f"/{prefix}-gateway-refuses", "refuser")
    _ask(front, f"/{prefix}-no-route", "elsewhere")
    _ask(front, f"/{prefix}-%2F")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logs]:
    """The access logs of Envoys that had extauthz over gRPC and HTTP, a dead one, and one that says what it may not."""
    folder = tmp_path_factory.mktemp("access")
    file = folder / "access.jsonl"
    config = {"stamp": {"keys": "keys"}, "gateways": GATEWAYS}
    with (
        echo_gateway() as behind,
        rogue_door() as refuser,
        running_service(folder / "service", config) as service,
        check_server(lambda _: allow({"x-not-ours": "1"})) as rogue,
    ):
        refuser.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        upstreams = dict.fromkeys((*GATEWAYS, "nowhere"), behind.address)
        upstreams.update(gone=f"127.0.0.1:{free_port()}", refuser=refuser.address)
        routes = _routes(upstreams)
        found: dict[str, dict[str, Any]] = {}

        def read(front: Front, text: Callable[[], str], last: str) -> None:
            def lines() -> dict[str, dict[str, Any]]:
                return {line["path"]: line for line in json_lines(text(), mixed=True) if line["path"]}

            wait_until(lambda: last in lines(), f"the line of {last}")
            found.update(lines())
            assert front.settings.access_log

        with running_front(folder / "grpc", routes=routes, extauthz=[service.address], access_log=str(file)) as front:
            _ask_everything(front, "grpc")
            upgrade = [
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ]
            http1(front.port, upgrade, target="/grpc-upgrade", host="openclaw.example.com")
            read(front, lambda: file.read_text(encoding="utf-8"), "/grpc-upgrade")
        over_http: dict[str, Any] = {"extauthz": [service.http], "ask_over": "http", "escaped_slashes": "keep"}
        with running_front(folder / "http", routes=routes, **over_http) as front:
            _ask_everything(front, "http")
            read(front, front.envoy.program.log_text, "/http-%2F")
        nothing: dict[str, Any] = {"extauthz": [f"127.0.0.1:{free_port()}"], "timeout": 0.5, "well": False}
        with running_front(folder / "dead", routes=routes, **nothing) as front:
            _ask(front, "/dead")
            read(front, front.envoy.program.log_text, "/dead")
        with running_front(folder / "rogue", routes=routes, extauthz=[rogue.address]) as front:
            _ask(front, "/rogue")
            read(front, front.envoy.program.log_text, "/rogue")
        yield Logs(found, file)


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    return write(tmp_path, GATEWAYS)


def write(folder: Path, gateways: dict[str, Any]) -> list[str]:
    (folder / "e.yaml").write_text(text_of({"gateways": gateways}), encoding="utf-8")
    return ["explain", "--config", str(folder / "e.yaml"), "--access-log"]


def run(config: list[str], lines: list[Any], *options: str) -> Result:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    result = CliRunner().invoke(main, [*config, "-", *options], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def explained(config: list[str], *lines: dict[str, Any]) -> list[Any]:
    return [json.loads(line) for line in run(config, list(lines), "--format", "json").stdout.splitlines()]


def test_a_whole_log_is_explained_and_its_end_says_who_refused(config: list[str], logs: Logs) -> None:
    result = CliRunner().invoke(main, [*config, str(logs.file)])
    assert result.exit_code == 1
    assert "trusted_proxy_untrusted_source" in result.stdout
    assert "grpc-allowed" not in result.stdout
    last = result.stdout.splitlines()[-1]
    for part in ("6 by extauthz", "1 by nobody (shadow mode)", "1 by nobody", "1 by the Gateway", "3 by Envoy"):
        assert part in last
    assert "s3cret" not in result.output


# Over HTTP what shadow mode lets pass says nothing of why: nothing of it may reach the Gateway.
SILENT: Final = ("http", "shadow")


@pytest.mark.parametrize("door", ["grpc", "http"])
@pytest.mark.parametrize(
    "seen",
    [
        ("stranger", "extauthz", "trusted_proxy_untrusted_source"),
        ("nobody", "extauthz", "trusted_proxy_user_missing"),
        ("not-listed", "extauthz", "trusted_proxy_user_not_allowed"),
        ("shadow", "nobody (shadow mode)", "trusted_proxy_untrusted_source"),
        ("unknown", "extauthz", "gateway_unknown"),
        ("attribution", "extauthz", "proxy_attribution_required"),
        ("gateway-down", "Envoy", None),
        ("gateway-refuses", "the Gateway", None),
        ("no-route", "Envoy", None),
    ],
)
def test_who_refused_is_told_of_lines_that_envoy_wrote(
    config: list[str], logs: Logs, door: str, seen: tuple[str, str, str | None]
) -> None:
    path, by, reason = seen
    if (door, path) == SILENT:
        assert explained(config, logs.lines[f"/{door}-{path}"]) == []
        return
    (found,) = explained(config, logs.lines[f"/{door}-{path}"])
    assert (found["by"], found["reason"], found["path"]) == (by, reason, f"/{door}-{path}")
    assert found["meaning"]
    assert found["cure"]
    if reason is not None:
        assert REASONS[reason].cure == found["cure"]
        assert found["decision"]
    expected = {"unknown": "nowhere", "no-route": None, "shadow": "shady", "attribution": "claw"}
    if by in {"extauthz", "nobody (shadow mode)"}:
        assert found["gateway"] == expected.get(path, "openclaw")


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_what_was_allowed_is_not_explained(config: list[str], logs: Logs, door: str) -> None:
    assert explained(config, logs.lines[f"/{door}-allowed"]) == []
    assert run(config, [logs.lines[f"/{door}-allowed"]]).exit_code == 0


def test_envoy_that_cannot_reach_extauthz_says_so(config: list[str], logs: Logs) -> None:
    line = logs.lines["/dead"]
    assert (line["flags"], line["details"], line["authz"]["decision"]) == ("UAEX", "ext_authz_error", None)
    (found,) = explained(config, line)
    assert (found["by"], found["reason"], found["now"]) == ("Envoy, without extauthz", None, None)
    assert "no answer" in found["meaning"]
    assert "/readyz" in found["cure"]
    # The flag alone is enough, where the details are another version's.
    assert explained(config, {**line, "details": "something new"})[0]["by"] == "Envoy, without extauthz"


def test_too_many_refusals_are_told_as_that_where_the_line_has_no_reason(config: list[str], logs: Logs) -> None:
    """Over HTTP Envoy's line has what the client was told."""
    line = logs.lines["/http-not-listed"]
    told = TOO_MANY_REFUSALS
    (found,) = explained(config, {**line, "status": told.status, "authz": {**line["authz"], "reason": told.code}})
    assert (found["by"], found["reason"], found["now"]) == ("extauthz", told.code, "untold")
    assert (found["meaning"], found["cure"]) == (told.meaning, told.cure)


def test_an_answer_that_envoy_may_not_apply_is_no_refusal_of_extauthz(config: list[str], logs: Logs) -> None:
    (found,) = explained(config, logs.lines["/rogue"])
    assert (found["by"], found["reason"]) == ("Envoy, without extauthz", None)
    assert "proxy-config envoy" in found["cure"]


def test_a_path_that_envoy_refused_names_the_option(config: list[str], logs: Logs) -> None:
    line = logs.lines["/grpc-/"]  # as Envoy unescapes it, and refuses it
    (found,) = explained(config, line)
    assert (found["by"], "--escaped-slashes" in found["cure"]) == ("Envoy", True)


def test_the_peer_is_the_one_that_was_judged(config: list[str], logs: Logs) -> None:
    assert explained(config, logs.lines["/grpc-stranger"])[0]["peer"] == STRANGER
    # Behind a balancer it is the last entry of the chain; for 127.0.0.1 that would be an address of the host.
    balanced = {**logs.lines["/grpc-stranger"], "peer": "10.9.9.9", "forwarded_for": "10.0.0.7, 172.17.0.5"}
    assert explained(config, balanced)[0]["peer"] == "172.17.0.5"
    local = {**balanced, "peer": "127.0.0.1", "forwarded_for": "192.168.1.2"}
    assert explained(config, local)[0]["peer"] == "127.0.0.1"


# Decided again.


def test_what_is_denied_again_says_what_is_nearest(tmp_path: Path, logs: Logs) -> None:
    config = write(tmp_path, GATEWAYS)
    for path, hint in (
        ("stranger", "The peer 127.0.0.8 is not in trustedProxies; 127.0.0.7 is."),
        ("not-listed", 'allowUsers has "nick@example.com", which differs in case'),
        ("unknown", "gateways"),
        ("attribution", "The peer 127.0.0.8 is not in trustedProxies; 127.0.0.7 is."),
        ("shadow", "The gateway is in shadow mode"),
    ):
        (found,) = explained(config, logs.lines[f"/grpc-{path}"])
        assert found["now"] == "denied", path
        assert hint in found["hint"]


def test_what_the_present_file_no_longer_denies_is_said_and_nothing_more(tmp_path: Path, logs: Logs) -> None:
    wider = {**_gateway(), "trustedProxies": ["127.0.0.0/8"]}
    listed = gateway({"allowUsers": ["Nick@example.com"]}, trustedProxies=[FRONT])
    for path, present in (("stranger", wider), ("not-listed", listed)):
        config = write(tmp_path, {"openclaw": present})
        (found,) = explained(config, logs.lines[f"/grpc-{path}"])
        assert found["now"] == "passes"
        assert "the rest is not in the line" in found["hint"]


def test_what_the_line_does_not_hold_is_not_guessed(tmp_path: Path, logs: Logs) -> None:
    nobody = logs.lines["/grpc-nobody"]
    for present in (_gateway(), gateway({"userHeader": "x-email"}, trustedProxies=[FRONT]), _gateway(peer="caller")):
        (found,) = explained(write(tmp_path, {"openclaw": present}), nobody)
        assert found["now"] == "untold"
    without = {**nobody, "authz": {**nobody["authz"], "gateway": None}, "route": "mine"}
    assert explained(write(tmp_path, GATEWAYS), without)[0]["now"] == "untold"
    # Nobody knows whether the header that was missing would be there.
    line = logs.lines["/grpc-not-listed"]
    missing = {**line, "authz": {**line["authz"], "reason": "trusted_proxy_missing_header_x-proof"}}
    listed = gateway({"requiredHeaders": ["x-proof"], "allowUsers": ["Nick@example.com"]}, trustedProxies=[FRONT])
    assert explained(write(tmp_path, {"openclaw": listed}), missing)[0]["now"] == "untold"
    # Over HTTP a denial does not say of whom: whether they are listed is not known.
    (found,) = explained(write(tmp_path, GATEWAYS), logs.lines["/http-not-listed"])
    assert (found["user"], found["now"], found["gateway"]) == (None, "untold", "openclaw")


def test_a_reason_of_another_version_is_shown_as_it_is(config: list[str], logs: Logs) -> None:
    line = logs.lines["/grpc-stranger"]
    strange = {**line, "authz": {**line["authz"], "reason": "from_the_future"}}
    (found,) = explained(config, strange)
    assert (found["by"], found["reason"], found["now"]) == ("extauthz", "from_the_future", "untold")
    missing = {**line, "authz": {**line["authz"], "reason": "trusted_proxy_missing_header_X-Proof"}}
    assert explained(config, missing)[0]["meaning"] == REASONS["trusted_proxy_missing_header_"].meaning


def test_a_hidden_reason_is_extauthz_all_the_same(config: list[str], logs: Logs) -> None:
    line = logs.lines["/http-stranger"]
    hidden = {**line, "authz": {**line["authz"], "reason": None}}
    (found,) = explained(config, hidden)
    assert (found["by"], "denial.reason" in found["meaning"]) == ("extauthz", True)


# Lines that are none.


def test_other_lines_are_passed_over_and_broken_ones_are_told(config: list[str], logs: Logs) -> None:
    text = (
        "[2026-11-22 17:05:54.123][1][warning][main] there is no configured limit\n\n"
        + json.dumps(logs.lines["/grpc-stranger"])
        + '\n{"authz": \n{"no": 1}\n{"authz": {}, "status": "403"}\n'
        + '{"authz": {"reason": 1}}\n{"authz": {}, "time": []}\n'
        + json.dumps(logs.lines["/grpc-nobody"])
        + "\n"
    )
    result = CliRunner().invoke(main, [*config, "-"], input=text)
    assert result.exit_code == 2
    assert result.stdout.count("trusted_proxy_") == 2
    assert "1 lines are no JSON" in result.stdout
    for number, why in ((4, "no JSON"), (5, "no `authz`"), (6, "`status`"), (7, "`reason`"), (8, "`time`")):
        assert any(f"line {number} " in line and why in line for line in result.stderr.splitlines()), number


def test_a_line_cannot_steer_the_terminal(config: list[str], logs: Logs) -> None:
    clear = "\x1b[2J\x9b"
    line = logs.lines["/grpc-not-listed"]
    odd = {
        key: f"{value}{clear}" if isinstance(value, str) and key != "details" else value for key, value in line.items()
    }
    odd["authz"] = {key: f"{value}{clear}" for key, value in line["authz"].items()}
    shown = run(config, [odd]).stdout
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_where_the_log_goes_is_an_option_of_proxy_config(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text_of({"gateways": {"g": gateway()}}), encoding="utf-8")
    argv = ["proxy-config", "envoy", "--config", str(tmp_path / "e.yaml"), "--upstream", "g=127.0.0.1:18789"]
    stdout, file, none = (
        CliRunner().invoke(main, [*argv, *more])
        for more in ([], ["--access-log", "/var/log/envoy/access.jsonl"], ["--access-log", "none"])
    )
    assert "StdoutAccessLog" in stdout.stdout
    assert 'path: "/var/log/envoy/access.jsonl"' in file.stdout
    assert "access_log" not in none.stdout
    for bad in ("access.jsonl", "/a b", ""):
        result = CliRunner().invoke(main, [*argv, "--access-log", bad])
        assert (result.exit_code, "access_log" in result.output) == (2, True)


def test_query_in_a_line_of_another_format_is_not_repeated(config: list[str]) -> None:
    line = {
        "method": "GET",
        "host": "a.example.com",
        "path": "/p?token=s3cret",
        "status": 403,
        "details": "",
        "flags": "-",
    }
    line["authz"] = {"gateway": "openclaw", "reason": "trusted_proxy_user_missing", "decision": "1"}
    for options in ((), ("--format", "json")):
        assert "s3cret" not in run(config, [line], *options).output
