"""The HTTP door as a server: where it listens, how it stops, what else it answers, and when all goes wrong."""

import contextlib
import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cases.build import FailingStamper
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer, Snapshot
from extauthz.config.faults import ConfigError
from extauthz.config.load import loads
from extauthz.config.values import Endpoint
from extauthz.core.address import Address
from extauthz.core.request import Caller
from extauthz.doors.endpoints import DoorError
from extauthz.doors.http import HttpDoor, HttpDoorSettings
from extauthz.wire.forward_auth import HttpMessage
from forward_auth.asking import DIALECTS, QUESTIONS, Asked, ask
from forward_auth.by_hand import opened_in_process
from forward_auth.opening import USER, Doors, gateway, opened_doors, told
from support.clients import Response, Session, http1
from support.loop import chosen_loop
from support.ports import free_port
from support.process import running, wait_until

LOOPBACK = Caller(Address(4, 0x7F000001, "", loopback=True))
STRANGER = "127.0.0.200"
JWKS = "/.well-known/jwks.json"


def snapshot(**changed: Any) -> Snapshot:
    """What is in force under a configuration with one gateway."""
    return make_snapshot(loads(json.dumps({"gateways": {"openclaw": gateway()}, **changed})))


def settings(*endpoints: str) -> HttpDoorSettings:
    """Settings of a door in this process."""
    return HttpDoorSettings(
        endpoints=tuple(map(Endpoint.parse, endpoints)),
        most_connections=10,
        most_headers=200,
        most_head_bytes=100_000,
        drain_seconds=1,
        loop=chosen_loop(),
    )


@pytest.fixture
def broken() -> Iterator[int]:
    """The port of a door at which every allow fails to be signed."""
    door = HttpDoor(
        Authorizer(
            Snapshot(policy=snapshot().policy, answers=snapshot().answers, stamper=FailingStamper(OSError("no key")))
        ),
        settings("127.0.0.1:0"),
    )
    door.start()
    yield door.endpoints[0].port
    door.drain()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_goes_wrong_inside_is_a_denial(dialect: str, broken: int) -> None:
    response = ask(dialect, broken, "openclaw", Asked([("x-forwarded-user", USER)]))
    assert (response.status, told(response)) == (403, "deny:internal_error")
    assert len(response.values("x-authz-decision")[0]) == 20
    assert response.values("x-authz-user") == response.values("x-authz-stamp") == []


def test_what_cannot_be_read_inside_is_a_denial() -> None:
    authorizer = Authorizer(snapshot())
    target = b"/forward-auth/traefik/openclaw"
    for headers in ([(b"x-\xff", b"1")], [(b"x-forwarded-uri", b"/\xff")], [(b"x-forwarded-host", b"\xff")]):
        answer = authorizer.forward(HttpMessage.of("GET", target, headers), LOOPBACK)
        assert (answer.status, json.loads(answer.body)["error"]) == (403, "request_malformed")
    broken: Any = None
    answer = authorizer.forward(HttpMessage("GET", target, broken, broken, 0), LOOPBACK)
    assert (answer.status, json.loads(answer.body)["error"]) == (403, "internal_error")


# What the configuration says about these doors.


def test_principals_are_told_to_be_unseen_at_the_http_doors() -> None:
    config: dict[str, Any] = {
        "tls": {"certificate": "c.pem", "privateKey": "k.pem", "clientCa": "ca.pem"},
        "callers": {"addresses": ["127.0.0.1"], "principals": ["spiffe://cluster/proxy"]},
        "gateways": {"openclaw": gateway(callers={"principals": ["spiffe://cluster/other"]})},
    }
    loaded = loads(json.dumps(config))
    told_of = {fault.path: fault.message for fault in loaded.notices}
    assert "refuse every caller" in told_of["callers.principals"]
    assert "refuse every caller of this gateway" in told_of["gateways.openclaw.callers.principals"]
    answer = Authorizer(make_snapshot(loaded)).forward(
        HttpMessage.of("GET", b"/forward-auth/traefik/openclaw", []), LOOPBACK
    )
    assert json.loads(answer.body)["error"] == "caller_not_allowed"


def test_caller_as_peer_is_refused_with_a_unix_socket_at_the_http_doors() -> None:
    config = {"listen": {"http": "unix:/run/x.sock"}, "gateways": {"openclaw": gateway(peer="caller")}}
    with pytest.raises(ConfigError, match=r"let listen\.http be a TCP address"):
        loads(json.dumps(config))


# Listening.


def test_door_listens_on_every_address_and_on_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    door = HttpDoor(
        Authorizer(snapshot()), settings(f"127.0.0.1:{free_port()}", "[::1]:0", f"unix:{path}", "localhost:0")
    )
    door.start()
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for endpoint in door.endpoints:
            where = (endpoint.path,) if endpoint.path else (endpoint.host, endpoint.port)
            with _connection(*where) as connection:
                connection.sendall(b"GET /forward-auth/nginx/openclaw HTTP/1.0\r\n\r\n")
                # The caller is admitted, over a unix socket as over loopback.
                assert b"trusted_proxy_untrusted_source" in b"".join(iter(lambda: connection.recv(65_536), b""))
    finally:
        door.drain()
    assert not path.exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", door.endpoints[0].port), 5)


def _connection(*where: Any) -> socket.socket:
    if len(where) == 2:
        return socket.create_connection(where, 20)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(where[0])
    return connection


def test_address_that_is_taken_is_told_and_none_is_left_open(tmp_path: Path) -> None:
    first = HttpDoor(Authorizer(snapshot()), settings("127.0.0.1:0", f"unix:{tmp_path / 'taken.sock'}"))
    first.start()
    try:
        free = tmp_path / "free.sock"
        for taken, told_of in (
            (str(first.endpoints[0]), "another server is on that port"),
            (f"unix:{tmp_path}/taken.sock", "another server is listening"),
        ):
            with pytest.raises(DoorError, match=told_of):
                HttpDoor(Authorizer(snapshot()), settings(f"unix:{free}", taken)).start()
            with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(free))
    finally:
        first.drain()


@pytest.mark.parametrize("where", ["192.0.2.99:0", "no-such-host.invalid:0", "unix:/no/such/folder/x.sock"])
def test_address_that_is_none_here_is_told(where: str) -> None:
    with pytest.raises(DoorError, match="cannot listen on"):
        HttpDoor(Authorizer(snapshot()), settings(where)).start()


def test_serve_refuses_to_start_beside_a_server_on_its_http_port(doors: Doors, tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text(json.dumps({"stamp": {"enabled": False}, "gateways": {"openclaw": gateway()}}))
    argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(config), "--grpc", "127.0.0.1:0"]
    argv += ["--http", f"127.0.0.1:{doors.port}", "--admin", "127.0.0.1:0"]
    with running(argv, log=tmp_path / "log", cwd=tmp_path) as program:
        assert program.wait_end() == 2
        assert f"cannot listen on 127.0.0.1:{doors.port}: another server is on that port" in program.log_text()


def test_serve_tells_the_port_that_the_system_chose_and_ends_in_order(tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text(json.dumps({"stamp": {"enabled": False}, "gateways": {"openclaw": gateway()}}))
    argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(config)]
    argv += [part for door in ("grpc", "http", "admin") for part in (f"--{door}", "127.0.0.1:0")]
    with running(argv, log=tmp_path / "log", cwd=tmp_path) as program:
        wait_until(lambda: '"serving"' in program.log_text(), "the service says where it serves")
        line = next(json.loads(line) for line in program.log_text().splitlines() if '"serving"' in line)
        port = int(line["http"][0].rpartition(":")[2])
        with Session(port) as idle, socket.create_connection(("127.0.0.1", port), 20) as silent:
            assert idle.send(b"GET /nowhere HTTP/1.1\r\n\r\n").status == 404
            program.signal(signal.SIGTERM)
            assert program.wait_end() == 0
            assert silent.recv(1) == b""
        assert '"stopped"' in program.log_text()


# The JWKS.


@pytest.mark.parametrize("source", ["127.0.0.1", STRANGER])
def test_jwks_is_open_to_all_and_kept_by_caches(source: str, doors: Doors) -> None:
    found = http1(doors.port, target=JWKS, source=source)
    assert found.status == 200
    assert [key["alg"] for key in found.json()["keys"]] == ["ES256"]
    assert "d" not in found.json()["keys"][0]
    assert found.values("content-type") == ["application/jwk-set+json"]
    assert found.values("cache-control")[0].startswith("public, max-age=")
    tag = found.values("etag")[0]
    for wanted in (tag, f'"other", W/{tag}', "*"):
        again = http1(doors.port, [("If-None-Match", wanted)], target=f"{JWKS}?x", source=source)
        assert (again.status, again.body, again.values("etag")) == (304, b"", [tag])
    assert http1(doors.port, [("If-None-Match", '"other"')], target=JWKS).body == found.body


def test_jwks_is_read_only(doors: Doors) -> None:
    head = http1(doors.port, target=JWKS, method="HEAD")
    assert (head.status, int(head.values("content-length")[0]) > 100) == (200, True)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        refused = http1(doors.port, target=JWKS, method=method)
        assert (refused.status, refused.values("allow")) == (405, ["GET, HEAD"])


def test_jwks_is_not_found_where_nothing_is_signed(tmp_path: Path) -> None:
    config = {"stamp": {"enabled": False}, "gateways": {"openclaw": gateway()}}
    with opened_doors(tmp_path, config) as unsigned:
        response = http1(unsigned.port, target=JWKS)
        assert (response.status, response.json()) == (404, {"error": "stamps_are_off"})
        # No stamp: a client's copy of it is emptied, for HTTP has no way to remove it.
        forged = Asked([("x-forwarded-user", USER), ("x-authz-stamp", "forged")])
        assert ask("traefik", unsigned.port, "openclaw", forged).values("x-authz-stamp") == [""]


# Standard clients.


def test_standard_library_client_is_content_with_every_answer(doors: Doors) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", doors.port, timeout=20)
    question = QUESTIONS["caddy"]("openclaw", Asked([("x-forwarded-user", USER)], path="/a?b=c"))
    for method, target, status in (
        ("GET", question.target, 200),
        ("HEAD", question.target, 200),
        ("HEAD", "/forward-auth/caddy/unknown", 403),
        ("GET", "/forward-auth/caddy/unknown", 403),
        ("HEAD", JWKS, 200),
        ("GET", "/", 404),
    ):
        connection.request(method, target, headers=dict(question.pairs))
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, answer.will_close) == (status, False)
        assert (body == b"") == (method == "HEAD" or status == 200)
    connection.close()


def test_denial_is_json_empty_or_without_reason_as_configured() -> None:
    def denied(**denial: Any) -> Response:
        answer = Authorizer(snapshot(denial=denial)).forward(
            HttpMessage.of("GET", b"/forward-auth/nginx/openclaw", [(b"x-forwarded-for", b"10.0.0.7")]), LOOPBACK
        )
        return Response(answer.status, tuple((n.decode(), v.decode()) for n, v in answer.headers), answer.body)

    told_all = denied()
    assert told_all.json() == {
        "error": "trusted_proxy_user_missing",
        "gateway": "openclaw",
        "decision": told_all.values("x-authz-decision")[0],
    }
    empty = denied(body="empty")
    assert (empty.status, empty.body, empty.values("content-length")) == (401, b"", ["0"])
    hidden = denied(reason=False)
    assert (hidden.json()["error"], hidden.values("x-authz-reason")) == ("unauthorized", [])


def test_connection_that_comes_as_the_door_closes_is_closed_and_nobody_waits() -> None:
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            with opened_in_process() as door:
                where = ("127.0.0.1", door.endpoints[0].port)
                opened = [stack.enter_context(socket.create_connection(where, 20)) for _ in range(20)]
            for connection in opened:
                with contextlib.suppress(ConnectionError):
                    assert connection.recv(1) == b""


@pytest.mark.parametrize(("program", "code"), [("serve", 2), ("check", 1)])
def test_loop_that_is_not_installed_is_named_with_its_cure(tmp_path: Path, program: str, code: int) -> None:
    (tmp_path / "extauthz.yaml").write_text(
        json.dumps(
            {
                # Nobody names the HTTP doors: one that is not named may stay closed, but not for this.
                "listen": {"grpc": "127.0.0.1:0", "admin": "127.0.0.1:0"},
                "server": {"httpLoop": "uvloop"},
                "gateways": {"openclaw": gateway()},
            }
        ),
        encoding="utf-8",
    )
    without = "import sys; sys.modules['uvloop'] = None; from extauthz.cli import main; sys.exit(main())"
    argv = [sys.executable, "-c", without, program, "--config", "extauthz.yaml"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "pip install 'extauthz[uvloop]', or set server.httpLoop to asyncio" in said
    assert "Traceback" not in said
    assert not (tmp_path / "keys").exists()


def test_doors_run_on_the_loop_that_is_configured(doors: Doors, loop: str) -> None:
    loaded = Path(f"/proc/{doors.service.program.pid}/maps").read_text(encoding="utf-8")
    assert ("/uvloop/" in loaded) == (loop == "uvloop")
