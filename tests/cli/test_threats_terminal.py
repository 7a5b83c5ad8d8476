"""Terminal escapes: what files, clients and servers say is printed by every command, and steers no terminal.

Everything is looked at as a terminal would get it: the runner's own removal of escape sequences is switched off, and
only the colours of our own (SGR) are taken out before it is looked for what is left.
"""

import io
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from cases.build import PAIRS, gateway, load_gateways, request_of, text_of
from explaining.logged import changed, log_line
from extauthz.cli import main
from extauthz.logs import get_logger
from gateway.forge import Forge
from probe.rogue_server import says, serving
from support.logs import configured_logs

# Sets the title, clears the screen, goes back over what was written, does so by C1, turns the direction of reading
# round, and ends a line in three more ways.
HOSTILE: Final = "\x1b]0;owned\x07\x1b[2J\r\x08\x7f\x9b2J\x85\u202e\u2028"
# A user may be any text without control characters: these are none, and hide what stands before them all the same.
HIDING: Final = "nick\u202e\u2028\u200b"
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def run(*arguments: str, **options: Any) -> Result:
    """Run a command as at a terminal that shows everything."""
    result = CliRunner().invoke(main, list(arguments), color=True, **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def steering(text: str) -> set[str]:
    """Return what of a text a terminal would do, and not show; a tab of a generated configuration is none."""
    return {ascii(one) for one in _COLOURS.sub("", text) if one not in "\n\t" and not one.isprintable()}


def check(result: Result) -> None:
    """Fail where something was printed that steers a terminal, or nothing was printed at all."""
    assert result.output.strip()
    assert not steering(result.stdout)
    assert not steering(result.stderr)


@pytest.fixture
def config(tmp_path: Path) -> list[str]:
    everyone: dict[str, Any] = {"allowUsers": []}
    gateways = {"g": gateway(everyone, controlUi={"allowedOrigins": ["https://a.example"]}), "closed": gateway()}
    file = tmp_path / "good.yaml"
    file.write_text(text_of({"gateways": gateways}), encoding="utf-8")
    return ["--config", str(file)]


# Our own file, as somebody else may have written it.

BAD_FILES: Final[dict[str, dict[str, Any]]] = {
    "key": {HOSTILE: 1, "gateways": {"g": gateway()}},
    "key-of-a-section": {"headers": {HOSTILE: "x"}, "gateways": {"g": gateway()}},
    "key-of-a-gateway": {"gateways": {"g": {**gateway(), HOSTILE: 1}}},
    "gateway-id": {"gateways": {HOSTILE: gateway(trustedProxies=["x"])}},
    "address": {"gateways": {"g": gateway(trustedProxies=[HOSTILE])}},
    "host": {"gateways": {"g": gateway(hosts=[HOSTILE])}},
    "choice": {"mode": HOSTILE, "gateways": {"g": gateway(ruleset=HOSTILE)}},
    "header": {"gateways": {"g": gateway({"userHeader": HOSTILE, "requiredHeaders": [HOSTILE]})}},
    "origin": {"gateways": {"g": gateway(controlUi={"allowedOrigins": [HOSTILE]})}},
    "listener": {"listen": {"grpc": f"127.0.0.1:{HOSTILE}"}, "gateways": {"g": gateway()}},
    "accepted": {"accepted": [{"id": HOSTILE, "by": HOSTILE, "because": HOSTILE}], "gateways": {"g": gateway()}},
    "files": {
        "tls": {"certificate": HOSTILE, "privateKey": HOSTILE},
        "stamp": {"keys": HOSTILE, "generateKeys": False},
        "admin": {"tokenFile": HOSTILE},
        "decisionLog": {"output": f"nowhere/{HOSTILE}"},
        "gateways": {"g": gateway()},
    },
}
READERS: Final = {
    "check": ("check", "--config"),
    "check-json": ("check", "--format", "json", "--config"),
    "audit": ("audit",),
    "audit-json": ("audit", "--format", "json"),
    "explain": ("explain", "--gateway", "g", "--peer", "10.0.0.7", "--config"),
    "proxy-config": ("proxy-config", "envoy", "--upstream", "g=127.0.0.1:1", "--config"),
    "serve": ("serve", "--grpc", "127.0.0.1:none", "--config"),
}


@pytest.mark.parametrize("written", [text_of, json.dumps], ids=["yaml", "json"])
@pytest.mark.parametrize("fault", BAD_FILES)
@pytest.mark.parametrize("reader", READERS)
def test_terminal_escapes_in_a_configuration(reader: str, fault: str, written: Any, tmp_path: Path) -> None:
    file = tmp_path / "extauthz.yaml"
    file.write_text(written(BAD_FILES[fault]), encoding="utf-8")
    check(run(*READERS[reader], str(file)))


# What clients sent, as it was written down.

REQUESTS: Final[list[dict[str, Any]]] = [
    {"id": HOSTILE, "gateway": HOSTILE},
    {"id": {HOSTILE: HOSTILE}, "host": HOSTILE, "path": HOSTILE, "method": HOSTILE},
    {"gateway": "g", "peer": HOSTILE},
    {"gateway": "g", "caller": HOSTILE},
    {HOSTILE: 1},
    {"gateway": "g", "headers": {HOSTILE: 1}},
    *(
        {"gateway": name, "peer": "10.0.0.7", "headers": {**dict(PAIRS), **more}}
        for name in ("g", "closed")
        for more in (
            {"x-forwarded-user": HOSTILE},
            {"x-forwarded-user": HIDING},
            {f"x_authz_user{HOSTILE}": "x", f"x_authz{HOSTILE}user": "x"},
            {f"x-forwarded-proto{HOSTILE}": "x", "x-forwarded-proto": ""},
            {"origin": HOSTILE},
        )
    ),
]
ACCESSES: Final[list[dict[str, Any]]] = [
    {
        **dict.fromkeys(("time", "method", "host", "path", "flags", "peer", "forwarded_for", "route"), HOSTILE),
        "details": details,
        "status": 403,
        "authz": dict.fromkeys(("user", "decision"), HOSTILE) | {"gateway": who, "reason": reason},
    }
    for details in (f"ext_authz_denied{HOSTILE}", HOSTILE)
    for who in (HOSTILE, "closed")
    for reason in (HOSTILE, "trusted_proxy_user_not_allowed", f"trusted_proxy_missing_header_{HOSTILE}")
]
_DECIDED: Final = log_line(load_gateways({"closed": gateway(), "h": gateway()}), request_of(gateway="closed"))
DECISIONS: Final[list[dict[str, Any]]] = [
    json.loads(changed(_DECIDED, **{name: value}))
    for name in json.loads(_DECIDED)
    for value in (HOSTILE, HIDING, {HOSTILE: HOSTILE})
]
LOGS: Final = {"--requests": REQUESTS, "--access-log": ACCESSES, "--replay": DECISIONS}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("option", LOGS)
def test_terminal_escapes_in_what_clients_sent(option: str, form: str, config: list[str]) -> None:
    lines = "".join(json.dumps(line) + "\n" for line in LOGS[option])
    check(
        run("explain", *config, option, "-", "--format", form, "--top", "1000", input=f"{lines}{HOSTILE}\n{{{HOSTILE}")
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_terminal_escapes_in_a_capture(form: str, config: list[str]) -> None:
    http = {"method": HOSTILE, "path": HOSTILE, "host": HOSTILE, "headers": {HOSTILE: HOSTILE, **dict(PAIRS)}}
    attributes = {"request": {"http": http}, "context_extensions": {"gateway": HOSTILE}}
    for text in (json.dumps({"attributes": attributes}), json.dumps({"attributes": {HOSTILE: 1}}), HOSTILE):
        check(run("explain", *config, "--check-request", "-", "--format", form, input=text))


# Stamps, keys, and what lies where keys are.


@pytest.mark.parametrize("form", ["text", "json"])
def test_terminal_escapes_in_a_stamp_and_in_a_jwks(form: str, tmp_path: Path) -> None:
    forge, keys = Forge(), tmp_path / "jwks.json"
    asked = ["verify", "-", "--jwks", str(keys), "--audience", "openclaw", "--format", form]
    keys.write_text(json.dumps(forge.jwks), encoding="utf-8")
    claims = [*forge.claims(), HOSTILE]
    stamps = [forge.stamp({name: HOSTILE}, now=time.time()) for name in claims]
    stamps += [forge.stamp(header={name: HOSTILE}) for name in (*forge.header, HOSTILE)]
    for stamp in (*stamps, f"{HOSTILE}.{HOSTILE}.{HOSTILE}"):
        check(run(*asked, input=stamp))
    for name in (*forge.jwks["keys"][0], HOSTILE):
        keys.write_text(json.dumps({"keys": [{**forge.jwks["keys"][0], name: HOSTILE}]}), encoding="utf-8")
        check(run(*asked, input=forge.stamp()))


@pytest.mark.parametrize("form", ["text", "json"])
def test_terminal_escapes_in_names_of_key_files(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert run("keys", "generate", "--keys", str(folder)).exit_code == 0
    (folder / f"note{HOSTILE}").touch()
    (made,) = folder.glob("*.jwk")
    made.rename(folder / f"key-{HOSTILE}.jwk")
    for command in ("list", "rotate", "rotate"):
        check(run("keys", command, "--keys", str(folder), "--format", form))
    (folder / f"broken{HOSTILE}.jwk").touch(mode=0o600)
    check(run("keys", "list", "--keys", str(folder), "--format", form))
    file = tmp_path / "extauthz.yaml"
    file.write_text(text_of({"stamp": {"keys": str(folder)}, "gateways": {"g": gateway()}}), encoding="utf-8")
    for name in ("check", "audit"):
        check(run(name, "--config", str(file), "--format", form))


# A file of OpenClaw's, and the files that are made of it.

_RULES: Final = {"userHeader": "x-user", "requiredHeaders": ["x-proof"], "allowUsers": ["nick"]}
_THEIRS: Final[dict[str, Any]] = {
    "trustedProxies": ["10.0.0.7"],
    "auth": {"mode": "trusted-proxy", "trustedProxy": _RULES},
}


def _rules(**more: Any) -> dict[str, Any]:
    return {"auth": {"mode": "trusted-proxy", "trustedProxy": {**_RULES, **more}}}


THEIR_FILES: Final[dict[str, dict[str, Any]]] = {
    "bind": {"bind": HOSTILE, "customBindHost": HOSTILE},
    "port": {"port": HOSTILE},
    "proxies": {"trustedProxies": ["10.0.0.7", HOSTILE, f"${{A}}{HOSTILE}"]},
    "mode": {"auth": {"mode": HOSTILE}},
    "token": {"auth": {"mode": "token", "token": f"${{A{HOSTILE}}}"}},
    "user header": _rules(userHeader=HOSTILE),
    "required headers": _rules(requiredHeaders=[HOSTILE]),
    "users": _rules(allowUsers=[HOSTILE]),
    "hidden users": _rules(allowUsers=[HIDING, f"${{A}}{HIDING}"]),
    "origins": {"controlUi": {"allowedOrigins": [HOSTILE, "https://a.example"], "basePath": HOSTILE}},
    "public origin": {"publicOrigin": f"https://a.example{HOSTILE}/"},
    "tailscale": {"tailscale": {"mode": HOSTILE}},
    "unknown keys": {HOSTILE: {HOSTILE: HOSTILE}, "roles": {"definitions": {HOSTILE: {"agents": [HOSTILE]}}}},
    "include": {"$include": f"./{HOSTILE}.json"},
    "include elsewhere": {"$include": f"../{HOSTILE}.json"},
}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("where", THEIR_FILES)
def test_terminal_escapes_in_an_openclaw_file(where: str, form: str, tmp_path: Path) -> None:
    theirs = tmp_path / "openclaw.json"
    data = {
        "gateway": {**_THEIRS, **THEIR_FILES[where]},
        "meta": {"lastTouchedVersion": HOSTILE},
        "env": {HOSTILE: "x"},
    }
    theirs.write_text(json.dumps(data), encoding="utf-8")
    made = tmp_path / "made"
    check(run("migrate", str(theirs), "--output", str(made), "--format", form))
    check(run("audit", str(theirs), "--format", form))
    # What was made is looked at with `cat`, and by `less -R`.
    for file in made.glob("*"):
        assert not steering(file.read_text(encoding="utf-8")), file.name


# A server that is probed.


def _garbage(connection: socket.socket, _: bytes) -> None:
    connection.sendall(HOSTILE.encode() * 10)


def _answer(connection: socket.socket, _: bytes) -> None:
    odd = HOSTILE.replace("\r", "").encode()
    names = ("x-authz-reason", "www-authenticate", "location", "set-cookie", "server", "strict-transport-security")
    fields = b"".join(name.encode() + b": " + odd + b"\r\n" for name in names)
    connection.sendall(b"HTTP/1.1 401 " + odd + b"\r\ncontent-length: 0\r\n" + fields + b"\r\n")


def _plain_answer(connection: socket.socket, _: bytes) -> None:
    fields = (f"x-authz-reason: {HIDING}", f"www-authenticate: {HIDING}", f"location: http://{HIDING}/")
    connection.sendall(says("302 Found", HOSTILE.encode(), *fields))


def _report(connection: socket.socket, head: bytes) -> None:
    asked = re.search(rb"(?i)x-extauthz-probe: ([a-z0-9]+)", head)
    word = asked[1].decode() if asked is not None else ""
    sent = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if ": " in line]
    told = [[f"{name}{HOSTILE}", value] for name, value in sent] + [["connection", f"{HOSTILE}, x-authz-user"]]
    connection.sendall(says("200 OK", json.dumps({"arrived": {"probe": word, "headers": told}}).encode()))


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("script", [_garbage, _answer, _plain_answer, _report])
def test_terminal_escapes_of_a_server_that_is_probed(script: Any, form: str) -> None:
    with serving(script) as port:
        url = f"http://127.0.0.1:{port}/"
        check(
            run("probe", url, "--timeout", "2", "--format", form, "-H", "cookie: session=1", "--allowed-user", "nick")
        )


# The service's own log.


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: request.param)
    monkeypatch.setattr("sys.stderr", stream)
    with configured_logs():
        yield stream


@pytest.mark.parametrize("logged", [True, False], ids=["terminal", "json"], indirect=True)
def test_terminal_escapes_in_the_services_own_log(logged: io.StringIO) -> None:
    log = get_logger("extauthz.service")
    log.warning("stamp keys", note=f"keys/{HOSTILE}: not a key file", faults=[HOSTILE])
    log.error("a request could not be decided", exc_info=ValueError(HOSTILE))
    assert "not a key file" in logged.getvalue()
    assert "ValueError" in logged.getvalue()
    assert not steering(logged.getvalue())
