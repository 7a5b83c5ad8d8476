"""`extauthz explain`: the decision, each step and the hint, for one request and for a file of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cases.build import PAIRS, gateway, text_of
from cases.corpus import cases
from extauthz.cli import main

CASES = cases()
KEYS = ["id", "gateway", "allowed", "reason", "user", "status", "steps", "hint"]


def write(folder: Path, gateways: dict[str, Any], **sections: Any) -> list[str]:
    """Write a configuration; return the arguments that name it."""
    (folder / "extauthz.yaml").write_text(text_of({**sections, "gateways": gateways}), encoding="utf-8")
    return ["--config", str(folder / "extauthz.yaml")]


def explain(*arguments: str, **options: Any) -> Result:
    """Run explain; whatever it ends with, it is no traceback."""
    result = CliRunner().invoke(main, ["explain", *arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in {0, 1, 2}
    return result


def of_requests(config: list[str], lines: list[dict[str, Any]]) -> list[Any]:
    """Explain these requests as a file, as JSON."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    result = explain(*config, "--requests", "-", "--format", "json", input=text)
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    return write(tmp_path, {"g": gateway()})


def test_every_case_as_a_request_of_a_file(tmp_path: Path) -> None:
    config = write(tmp_path, {case.gateway_id: case.gateway for case in CASES})
    lines = [{"id": case.name, "gateway": case.gateway_id, **case.request} for case in CASES]
    found = of_requests(config, lines)
    assert [explained["id"] for explained in found] == [case.name for case in CASES]
    for case, explained in zip(CASES, found, strict=True):
        assert list(explained) == KEYS
        assert (explained["allowed"], explained["reason"], explained["user"]) == tuple(case.exact), case.name
        assert explained["gateway"] == case.gateway_id
        missing = case.exact.reason == "trusted_proxy_user_missing"
        assert explained["status"] == (200 if case.exact.allowed else 401 if missing else 403)
        *before, last = explained["steps"]
        assert all(step["passed"] for step in before)
        assert last["passed"] == case.exact.allowed
        assert all(step["detail"] and set(step) == {"step", "passed", "detail"} for step in explained["steps"])
        assert bool(explained["hint"]) != case.exact.allowed


def _options(pairs: Any = PAIRS) -> list[str]:
    return ["--gateway", "g", "--peer", "10.0.0.7", *(f"--header={name}: {value}" for name, value in pairs)]


def test_one_request_that_is_allowed(config: list[str]) -> None:
    result = explain(*config, *_options())
    assert result.exit_code == 0
    assert "allowed as nick@example.com by gateway g" in result.stdout
    assert "failed" not in result.stdout


def test_one_request_that_is_denied(config: list[str]) -> None:
    result = explain(*config, *_options(PAIRS[1:]))
    assert result.exit_code == 1
    assert "denied by gateway g with 401: trusted_proxy_user_missing" in result.stdout
    assert result.stdout.count("failed") == 1
    assert "signed in at the proxy" in result.stdout


def test_json_of_one_request_is_one_line(config: list[str]) -> None:
    result = explain(*config, *_options(), "--format", "json")
    explained = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert list(explained) == KEYS
    assert explained["id"] is None
    assert explained["allowed"] is True


def test_status_says_whether_any_request_is_denied(config: list[str]) -> None:
    good = {"gateway": "g", "peer": "10.0.0.7", "headers": dict(PAIRS)}
    for lines, code in (([good], 0), ([good, {**good, "peer": "10.9.9.9"}, good], 1), ([], 0)):
        text = "\n".join(json.dumps(line) for line in lines)
        assert explain(*config, "--requests", "-", input=text).exit_code == code


def test_headers_are_given_as_http_takes_them(config: list[str]) -> None:
    for header in ("X-Forwarded-User:nick@example.com", "x-forwarded-user :\t nick@example.com "):
        assert explain(*config, *_options(PAIRS[1:]), "-H", header).exit_code == 0
    repeated = explain(*config, *_options(), "-H", "X-FORWARDED-USER: eve")
    assert "trusted_proxy_user_ambiguous" in repeated.stdout


def test_kelvin_sign_in_a_name_stays_what_it_is(tmp_path: Path) -> None:
    config = write(tmp_path, {"g": gateway({"userHeader": "x-token"})})
    result = explain(*config, *_options(PAIRS[1:]), "-H", "x-to\u212aen: nick@example.com")
    assert "trusted_proxy_user_missing" in result.stdout


def test_host_selects_where_no_gateway_is_named(tmp_path: Path) -> None:
    config = write(tmp_path, {"a": gateway(hosts=["a.example"]), "b": gateway(hosts=["b.example"])})
    line = {"peer": "10.0.0.7", "headers": {**dict(PAIRS), "Host": "A.example:443"}}
    found = of_requests(config, [line, {**line, "host": "b.example"}, {**line, "host": "c.example"}])
    assert [explained["gateway"] for explained in found] == ["a", "b", None]
    assert found[2]["reason"] == "gateway_unknown"


def test_caller_is_one_that_may_ask_unless_it_is_given(tmp_path: Path) -> None:
    gateways = {"g": gateway(callers={"addresses": ["10.1.0.0/28"]}), "caller": gateway(peer="caller")}
    config = write(tmp_path, gateways, callers={"addresses": ["10.0.0.0/8"]})
    line = {"gateway": "g", "peer": "10.0.0.7", "headers": dict(PAIRS)}
    lines = [line, {**line, "caller": "10.2.0.1"}, {**line, "caller": "unix"}, {**line, "gateway": "caller"}]
    reasons = [explained["reason"] for explained in of_requests(config, lines)]
    assert reasons == [None, "caller_not_allowed", "caller_not_allowed", None]


def test_shadow_is_told_as_what_would_be_decided(tmp_path: Path) -> None:
    config = write(tmp_path, {"g": gateway(mode="shadow")})
    (found,) = of_requests(config, [{"gateway": "g", "peer": "10.9.9.9", "headers": dict(PAIRS)}])
    assert (found["allowed"], found["reason"]) == (False, "trusted_proxy_untrusted_source")
    assert "shadow mode" in found["hint"]


# Hints.


def _hint(config: list[str], peer: str = "10.0.0.7", headers: Any = None) -> str:
    pairs = dict(PAIRS) if headers is None else headers
    (found,) = of_requests(config, [{"gateway": "g", "peer": peer, "headers": pairs}])
    hint: str = found["hint"]
    return hint


def test_hint_about_the_source_names_the_peer_the_nearest_entry_and_how_to_find_it(tmp_path: Path) -> None:
    config = write(tmp_path, {"g": gateway(trustedProxies=["192.168.0.1", "10.0.1.0/28", "10.0.9.9"])})
    hint = _hint(config, peer="10.0.1.16")
    assert "10.0.1.16" in hint
    assert "10.0.1.0/28" in hint
    assert "192.168" not in hint
    for help_ in ("docker inspect", "kubectl get pods -o wide", "load balancer", "container"):
        assert help_ in hint
    assert "unix:" in _hint(config, peer="unix:")


def test_hint_about_a_missing_user_names_headers_and_no_values(config: list[str]) -> None:
    headers = {
        "x-forwarded-proto": "https",
        "X-Auth-Request-Email": "nick@s3cret.example",
        "x-remote-user": "s3cret",
        "cookie": "user=s3cret",
        "authorization": "Bearer s3cret",
        "accept": "text/html",
    }
    hint = _hint(config, headers=headers)
    assert "x-auth-request-email" in hint
    assert "x-remote-user" in hint
    assert "accept" not in hint
    assert "s3cret" not in hint
    assert "signed in" in hint


def test_hint_about_a_missing_header_asks_which_hop_strips_it(config: list[str]) -> None:
    hint = _hint(config, headers=dict(PAIRS[:1]))
    assert "hop" in hint
    assert "WebSocket" not in hint
    upgrade = _hint(config, headers={**dict(PAIRS[:1]), "upgrade": "WebSocket", "connection": "Upgrade"})
    assert "WebSocket" in upgrade


def test_hint_about_a_user_who_is_not_listed_never_advises_to_open_the_list(config: list[str]) -> None:
    hint = _hint(config, headers={**dict(PAIRS), "x-forwarded-user": "Eve@example.com"})
    assert "Eve@example.com" in hint
    assert "Add the user" in hint
    for advice in ("remove", "empty", "[]", "delete", "clear", "everyone"):
        assert advice not in hint.lower()


def test_no_secret_of_a_request_is_shown(tmp_path: Path) -> None:
    configs = [
        gateway(),
        gateway({"requiredHeaders": ["authorization", "cookie", "x-missing"]}),
        gateway(mode="shadow"),
    ]
    config = write(tmp_path, {f"g{n}": found for n, found in enumerate(configs)})
    secrets = {"cookie": ["a=s3cret", "b=s3cret"], "authorization": "Bearer s3cret", "proxy-authorization": "s3cret"}
    lines = [
        {"gateway": name, "peer": peer, "headers": {**dict(pairs), **secrets, **more}, "path": "/?token=s3cret"}
        for name in ("g0", "g1", "g2", "unknown")
        for peer in ("10.0.0.7", "10.9.9.9", "")
        for pairs in (PAIRS, PAIRS[1:], PAIRS[:1])
        for more in ({}, {"x_authz_user": "s3cret"}, {"x-authz-stamp": "s3cret"}, {"x-big": "s3cret" * 4000})
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for form in ("text", "json"):
        result = explain(*config, "--requests", "-", "--format", form, input=text)
        assert result.exit_code == 1
        assert "s3cret" not in result.output
