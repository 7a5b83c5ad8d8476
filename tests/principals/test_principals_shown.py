"""What is told of a principal: in the decision log, by explain and its hints, of captured messages, and on replay."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cases.build import PAIRS, gateway, load_gateways, policy_of, request_of, text_of
from cases.messages import check_request
from explaining.logged import changed, log_line
from extauthz.cli import main
from extauthz.config.compile import compile_policy
from extauthz.console.policies import detail, summary
from extauthz.core.principals import LONGEST_PRINCIPAL_CHARACTERS
from extauthz.explaining import explain_request
from extauthz.explaining.access_log import explain_access
from extauthz.explaining.captured import explain_captured
from extauthz.explaining.lines import Line
from extauthz.explaining.replay import as_json, replay
from forward_auth.asking import Asked
from reload.test_reader import World
from telemetry.looking import Asking

PROXY = "spiffe://cluster.local/ns/ingress/sa/pomerium"
WILD = "spiffe://cluster.local/ns/edge/*"
EDGE = "spiffe://cluster.local/ns/edge/sa/envoy"
ALONE = gateway(trustedProxies=[], trustedPrincipals=[PROXY, WILD])
ANY = gateway(trustedPrincipals=[PROXY, WILD])
ALL = gateway(trustedPrincipals=[PROXY, WILD], require="all")
UNTRUSTED = "trusted_proxy_untrusted_principal"
STRANGER = "10.0.0.8"

HOSTILE = "spiffe://cluster.local/ns/edge/\0\r\n\x1b[2J\u202e\ud800".encode(errors="surrogatepass")


# The decision log.


@pytest.mark.parametrize(
    ("principal", "matched"), [(PROXY, PROXY), (EDGE, WILD), ("spiffe://cluster.local/other", None), ("", None)]
)
def test_line_tells_the_principal_and_by_which_entry_it_is_trusted(principal: str, matched: str | None) -> None:
    asking = Asking({"g": ALONE})
    line = asking.told(asking.check(PAIRS, peer=STRANGER, principal=principal.encode()))
    assert (line["principal"], line["matched"]) == (principal, matched)
    assert line["reason"] == (None if matched is not None else UNTRUSTED)


def test_line_of_a_gateway_that_asks_for_no_certificate_tells_of_none() -> None:
    # It may be a person's, and nobody weighs it.
    asking = Asking({"g": gateway()})
    line = asking.told(asking.check(PAIRS, principal=b"CN=Nick Example,emailAddress=nick@example.com"))
    assert not {"principal", "matched"} & line.keys()


@pytest.mark.parametrize("config", [ALONE, ANY], ids=["deny", "allow"])
def test_hostile_principal_breaks_no_line_of_the_log(config: dict[str, Any]) -> None:
    asking = Asking({"g": config})
    # `told` sees to it that the line is one, printable, and the same whichever way it is written.
    line = asking.told(asking.check(PAIRS, principal=HOSTILE))
    assert line["matched"] is None
    assert "\0" in line["principal"]
    endless = asking.told(asking.check(PAIRS, principal=b"a" * 100_000))
    assert len(endless["principal"]) == LONGEST_PRINCIPAL_CHARACTERS


def test_client_behind_a_proxy_trusted_by_its_certificate_is_told() -> None:
    asking = Asking({"g": ALONE})
    assert asking.told(asking.check(PAIRS, peer=STRANGER, principal=PROXY.encode()))["client"] == "203.0.113.9"
    assert asking.told(asking.check(PAIRS, peer=STRANGER, principal=b"x"))["client"] == STRANGER


# Explain.


def explained(config: dict[str, Any], **line: Any) -> Any:
    asked = {"gateway": "g", "peer": "10.0.0.7", "headers": dict(PAIRS), **line}
    return explain_request(policy_of({"g": config}), asked)


def step(found: Any, name: str) -> tuple[bool, str]:
    (told,) = [one for one in found["steps"] if one["step"] == name]
    return told["passed"], told["detail"]


@pytest.mark.parametrize(
    ("config", "line", "passed", "detail"),
    [
        (ALONE, {"principal": PROXY}, True, f'the principal is "{PROXY}", which trustedPrincipals has'),
        (ALONE, {"principal": EDGE}, True, f'the principal is "{EDGE}", which "{WILD}" matches'),
        (ALONE, {"principal": "x"}, False, 'the principal is "x", and is not in trustedPrincipals'),
        (ALONE, {}, False, "no principal is told of"),
        (ANY, {}, True, "no principal is told of; the address is trusted, and `require` is any"),
        (ALL, {"principal": "x"}, False, 'the principal is "x", and is not in trustedPrincipals'),
        (gateway(), {"principal": "x"}, True, "trustedPrincipals is empty, so that the address alone decides"),
    ],
)
def test_step_shows_the_principal_that_was_seen_and_what_it_matched(
    config: dict[str, Any], line: dict[str, Any], passed: bool, detail: str
) -> None:
    assert step(explained(config, **line), "trusted_principal") == (passed, detail)


def test_step_of_the_address_says_what_is_left_to_the_principal() -> None:
    found = explained(ANY, peer=STRANGER, principal=PROXY)
    told = "the peer is 10.0.0.8, which is not in trustedProxies: its principal decides"
    assert step(found, "trusted_source") == (True, told)
    assert step(explained(ALL, peer=STRANGER, principal=PROXY), "trusted_source")[0] is False
    assert (
        step(found, "proxies")[1] == "1 entry in trustedProxies, 2 entries in trustedPrincipals: one of both is enough"
    )
    assert step(explained(ALL, principal=PROXY), "proxies")[1].endswith("both are wanted")


@pytest.mark.parametrize(
    ("config", "line", "hint"),
    [
        (ALONE, {}, "The proxy tells of no client certificate; over HTTP none can."),
        (ALONE, {"principal": PROXY.replace("pomerium", "pomerum")}, f'has "{PROXY}", which differs in one character.'),
        (ALONE, {"principal": PROXY.upper()}, "which differs in case."),
        (ALONE, {"principal": "spiffe://cluster.local/ns/ingress/sa/other"}, f'trustedPrincipals is "{PROXY}".'),
        (ALONE, {"principal": "spiffe://cluster.local/ns/edg"}, f'nearest to it in trustedPrincipals is "{WILD}".'),
        (ALONE, {"principal": PROXY + "\0"}, "\\x00': that is no name of an honest certificate, and never trusted."),
        (ANY, {"peer": STRANGER, "principal": "x"}, "The peer 10.0.0.8 is not in trustedProxies either."),
        (ANY, {"peer": STRANGER}, "It has no principal either, which could be in trustedPrincipals."),
        (
            ALL,
            {"peer": STRANGER, "principal": PROXY},
            "`require: all` wants its address there, whatever its principal.",
        ),
        (ALL, {}, "The proxy tells of no client certificate"),
        (ALONE, {"peer": "unix:", "principal": PROXY}, "A trusted principal does not make up for that."),
        (
            {**ALONE, "ruleset": "openclaw-2026.9"},
            {"principal": PROXY + "x"},
            f'has "{PROXY}", which differs in one character.',
        ),
    ],
)
def test_hint_names_what_was_seen_and_what_is_nearest(config: dict[str, Any], line: dict[str, Any], hint: str) -> None:
    found = explained(config, **line)
    assert not found["allowed"]
    assert hint in found["hint"]
    assert found["hint"].isprintable()


def test_command_takes_a_principal_for_one_request_and_in_lines(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(text_of({"gateways": {"g": ALONE}}), encoding="utf-8")
    pairs = [argument for name, value in PAIRS for argument in ("-H", f"{name}: {value}")]
    argv = ["explain", "--config", str(file), "--gateway", "g", "--peer", STRANGER, *pairs]
    assert CliRunner().invoke(main, argv).exit_code == 1
    allowed = CliRunner().invoke(main, [*argv, "--principal", EDGE])
    assert allowed.exit_code == 0
    assert f'"{EDGE}", which "{WILD}" matches' in " ".join(allowed.stdout.split())
    line = json.dumps({"gateway": "g", "peer": STRANGER, "principal": PROXY, "headers": dict(PAIRS)})
    many = ["explain", "--config", str(file), "--requests", "-", "--format", "json"]
    assert json.loads(CliRunner().invoke(main, many, input=line).stdout)["allowed"]
    refused = CliRunner().invoke(main, [*many[:-2], "--principal", PROXY], input=line)
    assert refused.exit_code == 2
    assert "--principal" in refused.stderr


def test_captured_check_request_carries_its_principal_in_either_form() -> None:
    policy = policy_of({"g": ALONE})
    message = check_request(PAIRS, peer=STRANGER, principal=PROXY.encode())
    assert explain_captured(policy, message, caller=None, longest_message=10_000)["allowed"]
    entries = [{"key": name, "value": value} for name, value in PAIRS]
    source = {"address": {"socketAddress": {"address": STRANGER}}, "principal": PROXY}
    http = {"method": "GET", "path": "/", "headerMap": {"headers": entries}}
    told = {"attributes": {"source": source, "request": {"http": http}, "contextExtensions": {"gateway": "g"}}}
    assert explain_captured(policy, json.dumps(told).encode(), caller=None, longest_message=10_000)["allowed"]
    source["principal"] = PROXY + "\0"
    found = explain_captured(policy, json.dumps(told).encode(), caller=None, longest_message=10_000)
    assert found["reason"] == UNTRUSTED


# What a log holds of a principal, and what it does not, is not guessed.


def report(log: bytes, config: dict[str, Any]) -> Any:
    policy = compile_policy(load_gateways({"g": config}), frozenset)
    lines = [Line(number, json.loads(text), "") for number, text in enumerate(log.splitlines(), 1)]
    (*_, last) = replay(policy, lines)
    return as_json(last, 10)


def test_replay_decides_by_the_principal_that_was_logged() -> None:
    log = b"".join(
        log_line(load_gateways({"g": ALONE}), request_of(peer=STRANGER, principal=principal))
        for principal in (PROXY, EDGE, "x", "")
    )
    assert report(log, ALONE)["unchanged"] == 4
    fewer = report(log, {**ALONE, "trustedPrincipals": [PROXY]})
    assert (fewer["unchanged"], fewer["newly_denied"], fewer["untold"]) == (3, 1, 0)


@pytest.mark.parametrize(
    ("config", "peer", "kind"),
    [
        (ALONE, "10.0.0.7", "untold"),
        (ALL, "10.0.0.7", "untold"),
        (ANY, "10.0.0.7", "unchanged"),
        # Whatever its principal was: its address is not enough, and is wanted.
        (ALL, STRANGER, "unchanged"),
        (ANY, STRANGER, "untold"),
    ],
)
def test_replay_guesses_no_principal_that_an_older_log_does_not_hold(
    config: dict[str, Any], peer: str, kind: str
) -> None:
    line = log_line(load_gateways({"g": gateway()}), request_of(peer=peer))
    for ruleset in ("standard", "openclaw-2026.9"):
        found = report(line, {**config, "ruleset": ruleset})
        expected = (
            "reason_changed" if (kind, ruleset) == ("unchanged", "openclaw-2026.9") and peer == STRANGER else kind
        )
        assert found[expected] == 1, (ruleset, found)


def test_replay_knows_that_over_http_there_was_none() -> None:
    line = log_line(load_gateways({"g": gateway()}), request_of(), door="traefik")
    assert report(line, ALONE)["newly_denied"] == 1
    assert report(changed(line, door="grpc"), ALONE)["untold"] == 1


@pytest.mark.parametrize(
    ("config", "peer", "now"),
    [
        (ALONE, "10.0.0.7", "untold"),
        (ANY, "10.0.0.7", "untold"),
        (ALL, STRANGER, "denied"),
        (gateway(), STRANGER, "denied"),
        (gateway(), "10.0.0.7", "passes"),
    ],
)
def test_access_log_guesses_no_principal(config: dict[str, Any], peer: str, now: str) -> None:
    reason = "trusted_proxy_untrusted_source"
    authz = {"decision": "0" * 20, "gateway": "g", "reason": reason}
    line = {"status": 403, "details": "ext_authz_denied", "peer": peer, "forwarded_for": peer, "authz": authz}
    assert explain_access(policy_of({"g": config}), Line(1, line, ""))["now"] == now


# The console, and a file that lost a key.


def test_console_shows_the_principals_and_what_is_required() -> None:
    policy = policy_of({"g": ALL, "h": gateway()})
    assert summary(policy.gateways["g"])["trustedPrincipals"] == 2
    shown = detail(policy, policy.gateways["g"])
    assert (shown["trustedPrincipals"], shown["require"]) == ({"shown": [PROXY, WILD], "total": 2}, "all")
    plain = detail(policy, policy.gateways["h"])
    assert (plain["trustedPrincipals"], plain["require"]) == ({"shown": [], "total": 0}, "any")


def test_file_cut_off_before_require_all_is_refused(tmp_path: Path) -> None:
    # Without it one of both is enough: whoever has the address needs no certificate any more.
    world = World(tmp_path / "e.yaml")
    for text in (text_of({"gateways": {"g": ALL}}), text_of({"gateways": {"g": ANY}})):
        world.write(text)
        world.look()
        world.look()
    assert len(world.applied) == 1
    (fault,) = world.reloader.status.faults
    assert "gateways.g.require is not there any more" in fault
    world.write(text_of({"gateways": {"g": gateway()}}))
    world.look()
    world.look()
    assert len(world.applied) == 1


def test_http_door_says_that_none_can_be_told_of() -> None:
    asking = Asking({"g": ALONE})
    record = asking.forward("caddy", "g", Asked(PAIRS, "10.0.0.7"))
    assert asking.told(record)["principal"] == ""
    assert asking.told(record)["reason"] == UNTRUSTED
