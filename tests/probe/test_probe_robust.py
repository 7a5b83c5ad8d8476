"""Servers that hang, drip, lie or break off: the probe ends within its limits, and says what it saw."""

import json
import socket
import time
from typing import Any

import pytest
from click.testing import CliRunner, Result

from extauthz.cli import main
from extauthz.probe.answers import Answer, Failure, Fault
from extauthz.probe.asking import Asker, Setup
from extauthz.probe.limits import Limits
from extauthz.probe.run import Probe
from extauthz.probe.target import parse_url
from probe.cast import probe
from probe.rogue_server import Script, says, serving
from support.ports import free_port
from support.process import wait_until

# Where no answer is to come.
QUICK = Limits(request_seconds=1, message_seconds=0.5)
# Where one comes, if a slow machine gets to it.
PATIENT = Limits(request_seconds=30, message_seconds=30)


def first(script: Script, limits: Limits = PATIENT) -> Answer | Failure:
    with serving(script) as port:
        return Asker(Setup(target=parse_url(f"http://127.0.0.1:{port}/"), limits=limits)).plain.outcome


def run(script: Script, *arguments: str, limits: Limits = PATIENT) -> Result:
    with serving(script) as port:
        argv = ["probe", f"http://127.0.0.1:{port}/", "--timeout", f"{limits.request_seconds:g}"]
        return CliRunner().invoke(main, [*argv, *arguments])


def hang(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


def drip(connection: socket.socket, _: bytes) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.05)


def drip_a_body(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def garbage(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"\x00\xff SSH-2.0-\x1b[31mred\r\n\r\n")


def close_early(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 100\r\n\r\nshort")


def close_in_the_head(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 401 Unautho")


def answer_forever_that_it_will(connection: socket.socket, _: bytes) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def head_without_end(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\n")
    while True:
        connection.sendall(b"x: " + b"a" * 1000 + b"\r\n")


def body_without_end(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
    while True:
        connection.sendall(b"a" * 65_536)


NO_ANSWER = {
    "hangs": (hang, Fault.SILENCE),
    "drips": (drip, Fault.SILENCE),
    "sends garbage": (garbage, Fault.NO_HTTP),
    "closes in the head": (close_in_the_head, Fault.NO_HTTP),
    "closes at once": (lambda *_: None, Fault.CLOSED),
    "says 100 for ever": (answer_forever_that_it_will, Fault.NO_HTTP),
    "has a head without end": (head_without_end, Fault.NO_HTTP),
}


@pytest.mark.parametrize("how", NO_ANSWER)
def test_a_server_that_does_not_answer_is_told_in_a_sentence(how: str) -> None:
    script, fault = NO_ANSWER[how]
    limits = QUICK if fault is Fault.SILENCE else PATIENT
    outcome = first(script, limits)
    assert isinstance(outcome, Failure)
    assert outcome.fault is fault
    done = run(script, limits=limits)
    assert done.exit_code == 2
    assert str(fault) in done.stderr
    assert done.stderr.isprintable() or done.stderr.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("script", "seconds", "cut"),
    [
        (drip_a_body, 5, "it did not end in 5 s"),
        (close_early, 30, "the connection ended before it did"),
        (body_without_end, 30, "it is longer than 262144 bytes"),
    ],
)
def test_an_answer_without_an_end_is_taken_for_what_its_head_says(script: Script, seconds: int, cut: str) -> None:
    outcome = first(script, Limits(request_seconds=seconds))
    assert isinstance(outcome, Answer)
    assert (outcome.status, outcome.cut) == (401, cut)
    assert len(outcome.body) <= PATIENT.body_bytes


def test_interim_answers_are_passed_over() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + says("401 Unauthorized")
    outcome = first(lambda connection, _: connection.sendall(answer))
    assert isinstance(outcome, Answer)
    assert outcome.status == 401


def test_a_101_that_nobody_asked_for_is_no_answer() -> None:
    outcome = first(lambda connection, _: connection.sendall(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n"))
    assert isinstance(outcome, Failure)


def test_a_101_that_was_not_made_for_the_upgrade_opens_nothing() -> None:
    upgrade = b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"
    with serving(lambda connection, _: connection.sendall(upgrade)) as port:
        asker = Asker(Setup(target=parse_url(f"http://127.0.0.1:{port}/"), limits=PATIENT))
        seen = asker.plain_upgrade
    assert (seen.let_in, seen.status) == (False, 0)


def test_a_redirect_is_not_followed() -> None:
    asked: list[bytes] = []

    def elsewhere(connection: socket.socket, head: bytes) -> None:
        asked.append(head)
        connection.sendall(says("302 Found"))

    with serving(elsewhere) as other:

        def redirect(connection: socket.socket, _: bytes) -> None:
            connection.sendall(says("302 Found", b"", f"location: http://127.0.0.1:{other}/sign-in"))

        done = run(redirect, "--format", "json")
    assert (done.exit_code, asked) == (0, [])
    assert "no_identity" in [one["id"] for one in json.loads(done.stdout)["checks"] if one["result"] == "passed"]


def test_no_more_requests_are_sent_than_the_limit_says() -> None:
    asked: list[bytes] = []

    def refuse(connection: socket.socket, head: bytes) -> None:
        asked.append(head)
        connection.sendall(says("401 Unauthorized"))

    with serving(refuse) as port:
        setup = Setup(target=parse_url(f"http://127.0.0.1:{port}/"), limits=Limits(requests=7))
        results = {one.check.id: one for one in Probe(setup).run()}
    assert len(asked) == 7
    assert results["forged_sign_in"].outcome == "not_tested"
    assert "7 requests were sent" in results["forged_sign_in"].seen


def test_nothing_more_is_sent_to_who_has_gone_silent() -> None:
    asked: list[bytes] = []

    def refuse_once(connection: socket.socket, head: bytes) -> None:
        asked.append(head)
        connection.sendall(says("401 Unauthorized")) if len(asked) == 1 else hang(connection, head)

    with serving(refuse_once) as port:
        setup = Setup(target=parse_url(f"http://127.0.0.1:{port}/"), limits=QUICK)
        results = {one.check.id: one for one in Probe(setup).run()}
        # An answer that came too late is a silence too.
        answered = results["no_identity"].outcome == "passed"
        wait_until(lambda: len(asked) >= answered + QUICK.silences, "the server has read the last request")
    assert len(asked) == answered + QUICK.silences
    assert results["no_identity_websocket"].outcome == "not_tested"
    assert results["forged_sign_in"].outcome == "not_tested"


def test_who_limits_the_rate_is_not_taken_for_one_that_refuses() -> None:
    with serving(lambda connection, _: connection.sendall(says("429 Too Many Requests"))) as port:
        found = probe(f"http://127.0.0.1:{port}/", signed_in=False)
    assert found.ids("not_tested") >= {"no_identity", "forged_sign_in"}
    assert found.status == 0


def test_refused_too_often_by_extauthz_is_refused() -> None:
    said = says("429 Too Many Requests").replace(b"\r\n", b"\r\nx-authz-reason: too_many_refusals\r\n", 1)
    with serving(lambda connection, _: connection.sendall(said)) as port:
        found = probe(f"http://127.0.0.1:{port}/", signed_in=False)
    assert found.ids("passed") >= {"no_identity"}
    assert "no_identity" not in found.ids("not_tested")


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    outcome = first(lambda connection, _: connection.sendall(says("401 Unauthorized")))
    assert isinstance(outcome, Answer)


def test_an_address_where_nothing_listens_is_unreachable() -> None:
    done = CliRunner().invoke(main, ["probe", f"http://127.0.0.1:{free_port()}/"])
    assert (done.exit_code, "nothing listens there" in done.stderr) == (2, True)


def test_a_name_that_comes_to_mean_another_address_leads_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    strayed: list[bytes] = []
    with (
        serving(lambda connection, _: connection.sendall(says("401 Unauthorized"))) as meant,
        serving(lambda _, head: strayed.append(head)) as other,
    ):
        resolve, ports = socket.getaddrinfo, [other, meant]

        def rebound(host: str, port: int, *given: Any, **named: Any) -> Any:
            asked = ("127.0.0.1", ports.pop()) if host == "rebound.example" else (host, port)
            return resolve(*asked, *given, **named)

        monkeypatch.setattr(socket, "getaddrinfo", rebound)
        asker = Asker(Setup(target=parse_url("http://rebound.example/"), limits=PATIENT))
        assert [asker.ask().status, asker.ask(signed_in=True).status] == [401, 401]
    assert strayed == []
