"""config/examples/envoy-jwt-authn.yaml on real Envoy, before a Gateway that believes whatever reaches it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from extauthz.gateway.reference import application
from gateway.forge import GATEWAY, HOST, USER, Forge
from gateway.servers import JwksServer, raw_request, uvicorn_running
from support.envoy import running_envoy
from support.ports import free_port

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "envoy-jwt-authn.yaml"
FORGE = Forge()
OTHER = Forge()


def port_value(holder: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = holder["address"]["socket_address"]
    return found


def filters(config: dict[str, Any]) -> list[dict[str, Any]]:
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    found: list[dict[str, Any]] = chain["typed_config"]["http_filters"]
    return found


def adapted(folder: Path, listen: int, admin: int, upstream: int) -> dict[str, Any]:
    """Read the example, and change what its head says is to be changed, no more."""
    (folder / "jwks.json").write_text(json.dumps(FORGE.jwks))
    config: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text().replace("/etc/extauthz", str(folder)))
    port_value(config["admin"])["port_value"] = admin
    port_value(config["static_resources"]["listeners"][0]).update(address="127.0.0.1", port_value=listen)
    for cluster in config["static_resources"]["clusters"]:
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        if cluster["name"] == "gateway":
            port_value(endpoint)["port_value"] = upstream
    return config


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("envoy")
    listen, admin = free_port(), free_port()
    with uvicorn_running(application(None)) as upstream:
        config = yaml.safe_dump(adapted(folder, listen, admin, upstream))
        with running_envoy(config, admin_port=admin, directory=folder):
            yield listen


def good(claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
    return FORGE.stamp(claims, header, now=time.time())


def get(port: int, *headers: tuple[str, str], method: str = "GET", host: str = HOST) -> tuple[int, str]:
    lines = [f"{method} /a?b=1 HTTP/1.1", f"host: {host}", "connection: close", *(f"{n}: {v}" for n, v in headers)]
    status, _, body = raw_request(port, ("\r\n".join(lines) + "\r\n\r\n").encode())
    return status, body.decode()


def test_a_stamped_request_arrives_with_the_claims_identity(sidecar: int) -> None:
    status, body = get(sidecar, ("x-authz-stamp", good()), host=f"{HOST.upper()}:8443")
    assert status == 200
    headers = json.loads(body)["headers"]
    assert [value for name, value in headers if name == "x-authz-user"] == [USER]
    assert [value for name, value in headers if name == "x-authz-gateway"] == [GATEWAY]
    assert [value for name, value in headers if name == "x-forwarded-user"] == [USER]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (f"{HOST}:", {200, 400}),
        (f"{HOST}:8443", {200}),
        (f"{HOST}:evil", {400, 401}),
        (f"{HOST}:443:1", {400, 401}),
        (f"{HOST}:443, evil", {400, 401}),
        (f"[{HOST}]", {400, 401}),
    ],
)
def test_a_host_with_something_other_than_a_port(sidecar: int, host: str, status: set[int]) -> None:
    assert get(sidecar, ("x-authz-stamp", good()), host=host)[0] in status


def test_an_eddsa_stamp_is_one_of_another_key(sidecar: int) -> None:
    assert get(sidecar, ("x-authz-stamp", Forge("EdDSA").stamp(now=time.time())))[0] == 401


@pytest.mark.parametrize(
    "name",
    [
        "x-authz-user",
        "X-Authz-User",
        "x.authz.user",
        "x_authz_user",
        "x-authz-gateway",
        "x-authz-decision",
        "x.authz-stamp",
        "x-authz.stamp",
        "x-forwarded-user",
        "X-Forwarded-User",
        "x.forwarded.user",
        "x_forwarded_user",
    ],
)
def test_altered_companion_headers_and_their_aliases(sidecar: int, name: str) -> None:
    status, body = get(sidecar, (name, "root"), ("x-authz-stamp", good()), (name, "root"))
    assert status in {200, 400}
    assert "root" not in body


@pytest.mark.parametrize("stamp", [None, "", "x", "a.b.c"])
def test_no_stamp(sidecar: int, stamp: str | None) -> None:
    headers = [] if stamp is None else [("x-authz-stamp", stamp)]
    assert get(sidecar, ("x-authz-user", "root"), *headers)[0] == 401


def test_two_stamps(sidecar: int) -> None:
    assert get(sidecar, ("x-authz-stamp", good()), ("x-authz-stamp", good()))[0] == 401
    assert get(sidecar, ("x-authz-stamp", f"{good()},{good()}"))[0] == 401
    assert get(sidecar, ("x-authz-stamp", good()), ("x-authz-stamp", ""))[0] == 401
    assert get(sidecar, ("x-authz-stamp", f"Bearer {good()}"))[0] == 401


def test_a_stamp_removed_by_a_hop_by_hop_connection_header(sidecar: int) -> None:
    request = f"GET / HTTP/1.1\r\nhost: {HOST}\r\nx-authz-stamp: {good()}\r\nconnection: close, x-authz-stamp\r\n\r\n"
    status, _, body = raw_request(sidecar, request.encode())
    assert status != 200 or [v for n, v in json.loads(body)["headers"] if n == "x-authz-user"] == [USER]


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"aud": "other"}, {}),
        ({"aud": None}, {}),
        ({"iss": "evil"}, {}),
        ({"exp": 1}, {}),
        ({"exp": None}, {}),
        ({"exp": int(time.time()) + 90_000}, {}),
        ({"nbf": int(time.time()) + 3600}, {}),
        ({"htm": "POST"}, {}),
        ({"hth": "evil.example"}, {}),
        ({"pth": "x"}, {}),
        ({}, {"typ": "JWT"}),
        ({}, {"typ": None}),
        ({}, {"alg": "none"}),
        ({}, {"alg": "HS256"}),
        ({}, {"kid": "../../etc/passwd"}),
        ({}, {"kid": "A" * 43}),
    ],
)
def test_a_stamp_of_something_else(sidecar: int, claims: dict[str, Any], header: dict[str, Any]) -> None:
    # Envoy answers another audience by 403.
    assert get(sidecar, ("x-authz-stamp", good(claims, header)))[0] in {401, 403}


def test_a_stamp_of_another_key(sidecar: int) -> None:
    now = time.time()
    assert get(sidecar, ("x-authz-stamp", OTHER.stamp(now=now)))[0] == 401
    assert get(sidecar, ("x-authz-stamp", OTHER.stamp(header={"kid": FORGE.key.kid}, now=now)))[0] == 401
    assert get(sidecar, ("x-authz-stamp", OTHER.stamp(header={"jwk": OTHER.jwks["keys"][0]}, now=now)))[0] == 401


def test_a_websocket_is_held_to_it_too(sidecar: int) -> None:
    stamp = good({"hth": "127.0.0.1"})
    with connect(f"ws://127.0.0.1:{sidecar}/ws", additional_headers={"x-authz-stamp": stamp}) as ws:
        assert ["x-authz-user", USER] in json.loads(ws.recv())["headers"]
    with pytest.raises(InvalidStatus) as raised, connect(f"ws://127.0.0.1:{sidecar}/ws"):
        pass
    assert raised.value.response.status_code == 401


def test_the_keys_can_come_from_extauthz(tmp_path: Path, source: JwksServer) -> None:
    source.serve(FORGE.jwks)
    listen, admin = free_port(), free_port()
    with uvicorn_running(application(None)) as upstream:
        config = adapted(tmp_path, listen, admin, upstream)
        provider = filters(config)[1]["typed_config"]["providers"]["extauthz"]
        del provider["local_jwks"]
        # What the example has as a comment.
        comment = EXAMPLE.read_text().partition("# remote_jwks:\n")[2].splitlines()[:3]
        provider["remote_jwks"] = yaml.safe_load("\n".join(line.replace("#", "", 1) for line in comment))
        # A fetch that takes longer is a refusal, and a slow machine is none.
        provider["remote_jwks"]["http_uri"]["timeout"] = "20s"
        endpoint = config["static_resources"]["clusters"][1]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        port_value(endpoint["endpoint"])["port_value"] = int(source.url.split(":")[2].split("/")[0])
        with running_envoy(yaml.safe_dump(config), admin_port=admin, directory=tmp_path):
            assert get(listen, ("x-authz-stamp", good()))[0] == 200
            assert source.requests
