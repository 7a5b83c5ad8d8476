"""The admin address as a server: what it serves, when it says that it is ready, where it listens."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from admin.watching import API, USER, Watched, opened_door, watched_service
from forward_auth.opening import gateway
from support.clients import http1
from support.ports import free_port, taken
from support.process import running, wait_until
from support.service import Service

EVERYWHERE = ["/", "/livez", "/readyz", "/metrics", "/console", "/console/console.js", API + "status", "/nowhere"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_service(tmp_path_factory.mktemp("admin"), {"gateways": {"openclaw": gateway()}}) as found:
        yield found


def test_health_metrics_and_console_are_there(watched: Watched) -> None:
    assert watched.get("/livez").body == b"alive\n"
    assert watched.get("/readyz").body == b"ready\n"
    assert b"# TYPE extauthz_decisions_total counter" in watched.get("/metrics").body
    page = watched.get("/console")
    assert page.values("content-type") == ["text/html; charset=utf-8"]
    assert b"<title>extauthz</title>" in page.body
    assert watched.get("/").values("location") == ["/console"]


@pytest.mark.parametrize("name", ["console.js", "console.css", "icon.svg"])
def test_what_the_page_loads_is_served_beside_it(name: str, watched: Watched) -> None:
    response = watched.get(f"/console/{name}")
    assert response.status == 200
    assert response.values("content-type")[0].split(";")[0] in {"text/javascript", "text/css", "image/svg+xml"}


@pytest.mark.parametrize("target", EVERYWHERE)
def test_every_answer_says_what_a_browser_may_do_with_it(target: str, watched: Watched) -> None:
    response = watched.get(target)
    (policy,) = response.values("content-security-policy")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.values("x-content-type-options") == ["nosniff"]
    assert response.values("referrer-policy") == ["no-referrer"]
    assert response.values("cache-control") == ["no-store"]
    assert response.values("cross-origin-resource-policy") == ["same-origin"]
    assert not [name for name, _ in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("target", ["/livez", "/readyz", "/metrics", "/console", API + "status"])
def test_head_is_answered_as_get_without_the_body(target: str, watched: Watched) -> None:
    response = watched.get(target, method="HEAD")
    assert (response.status, response.body) == (200, b"")


def test_ready_is_said_only_while_it_is() -> None:
    ready = [False]
    with opened_door(ready=lambda: ready[0]) as endpoint:
        assert http1(endpoint.port, target="/readyz", host="localhost").status == 503
        ready[0] = True
        assert http1(endpoint.port, target="/readyz", host="localhost").status == 200
        assert http1(endpoint.port, target="/livez", host="localhost").status == 200
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", endpoint.port), 5)


def test_a_service_that_goes_says_so_here_to_the_last(tmp_path: Path) -> None:
    config = {"server": {"drainSeconds": 60}, "gateways": {"openclaw": gateway()}}
    with watched_service(tmp_path, config) as leaving:
        # A client that does not end its request keeps the doors draining until it goes.
        with socket.create_connection(("127.0.0.1", leaving.http), 20) as held:
            held.sendall(b"GET /forward-auth/traefik/openclaw HTTP/1.1\r\nX-")
            leaving.service.program.signal(signal.SIGTERM)
            wait_until(lambda: leaving.get("/readyz").status == 503, "it says that it goes")
        assert leaving.service.program.wait_end() == 0


def test_address_that_somebody_else_has_ends_the_service_where_it_was_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = subprocess.run(
            _serve(tmp_path, "--admin", address), capture_output=True, text=True, check=False, timeout=60
        )
    assert ended.returncode == 2
    assert f"listen.admin (or --admin): cannot listen on {address}" in ended.stderr


def test_default_address_that_somebody_else_has_is_told_and_the_service_goes_on(tmp_path: Path) -> None:
    with taken(9193):
        argv = _serve(tmp_path)
        service_address = argv[argv.index("--grpc") + 1]
        with running(argv, log=tmp_path / "log", cwd=tmp_path) as program:
            program.wait_ready(Service(program, service_address).is_serving)
            assert "this door stays closed: name an address under listen.admin" in program.log_text()


def _serve(folder: Path, *more: str) -> list[str]:
    file = folder / "extauthz.yaml"
    file.write_text(yaml.safe_dump({"gateways": {"openclaw": gateway()}}), encoding="utf-8")
    argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(file)]
    return [*argv, "--grpc", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{free_port()}", *more]


def test_admin_address_may_be_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with opened_door(f"unix:{path}"), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


def test_what_goes_wrong_inside_is_not_told_to_whoever_asks() -> None:
    with opened_door() as endpoint:
        response = http1(endpoint.port, target=API + "anything", host="localhost")
    assert (response.status, response.json()["error"]) == (500, "internal_error")
    assert USER.encode() not in response.body
