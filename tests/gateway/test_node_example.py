"""config/examples/node, installed from the npm registry and run with the machine's node."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import stamp_vectors
from gateway.forge import GATEWAY, Forge
from gateway.servers import raw_request
from support.process import READY_SECONDS

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "node"
FORGE = Forge()
INSTALL_SECONDS = 240

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="node is not on this machine"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(EXAMPLE, path, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
        cwd=path,
        check=True,
        capture_output=True,
        timeout=INSTALL_SECONDS,
    )
    return path


@pytest.fixture(scope="module")
def service(installed: Path) -> Iterator[int]:
    (installed / "jwks.json").write_text(json.dumps(FORGE.jwks))
    environment = {"JWKS": "jwks.json", "AUDIENCE": GATEWAY, "PORT": "0", "USER_HEADER": "X-Forwarded-User"}
    with subprocess.Popen(
        ["node", "server.mjs"], cwd=installed, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split()[-1])
        finally:
            process.terminate()


def good() -> str:
    return FORGE.stamp({"hth": "127.0.0.1"}, now=time.time())


def get(url: str, headers: Any) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=READY_SECONDS)


def test_it_says_of_every_vector_what_the_vector_says(installed: Path) -> None:
    script = Path(__file__).with_name("run_vectors.mjs")
    result = subprocess.run(
        ["node", script, installed / "stamp.mjs", stamp_vectors.FILE],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    vectors = json.loads(stamp_vectors.FILE.read_text())["vectors"]
    wanted = {vector["name"]: vector["reason"] for vector in vectors}
    # jose looks a key up by its kid and its algorithm together.
    wanted["an algorithm that is not the key's"] = "stamp_key_unknown"
    assert json.loads(result.stdout) == wanted


def test_a_stamped_request_arrives_with_the_claims_identity(service: int) -> None:
    headers = {"x-authz-stamp": good(), "x-authz-user": "root", "x_authz_user": "root", "x-forwarded-user": "root"}
    answer = get(f"http://127.0.0.1:{service}/a?b=1", headers)
    assert answer.status_code == 200
    assert "root" not in answer.text
    assert answer.json()["user"] == answer.json()["headers"]["x-forwarded-user"] == "nick@example.com"


def test_no_stamp_and_two_stamps_are_refused(service: int) -> None:
    url = f"http://127.0.0.1:{service}/"
    answer = get(url, {"x-authz-user": "root"})
    assert (answer.status_code, answer.json()) == (401, {"error": "stamp_missing"})
    answer = get(url, [("x-authz-stamp", good()), ("x-authz-stamp", good())])
    assert (answer.status_code, answer.json()) == (401, {"error": "stamp_repeated"})


def test_a_websocket_without_a_stamp_is_refused_before_it_is_accepted(service: int) -> None:
    upgrade = "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    status, _, body = raw_request(service, f"{upgrade}\r\n".encode())
    assert (status, json.loads(body)) == (401, {"error": "stamp_missing"})
    status, _, _ = raw_request(service, f"{upgrade}x-authz-stamp: {good()}\r\n\r\n".encode())
    assert status == 501  # where the example hands over to a WebSocket library


def test_no_host_and_several_hosts_are_refused(service: int) -> None:
    stamp = f"x-authz-stamp: {FORGE.stamp({'hth': None}, now=time.time())}\r\n"
    several = f"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n{stamp}\r\n"
    joined = f"GET / HTTP/1.1\r\nhost: a, b\r\nconnection: close\r\n{stamp}\r\n"
    for request in (f"GET / HTTP/1.0\r\n{stamp}\r\n", several, joined):
        status, _, body = raw_request(service, request.encode())
        assert (status, b'"stamp_host"' in body) == (401, True)


def test_identity_headers_that_arrived_are_in_none_of_the_forms_that_node_has(installed: Path) -> None:
    script = """
import { createServer, request } from "node:http";
import { rewriteHeaders } from "./stamp.mjs";
const server = createServer((incoming, response) => {
  rewriteHeaders(incoming, { sub: "nick", aud: "openclaw" }, "X-Forwarded-User");
  const { headers, headersDistinct, rawHeaders } = incoming;
  response.end(JSON.stringify({ headers, headersDistinct, rawHeaders }));
}).listen(0, "127.0.0.1", () => {
  const headers = { "X-Authz-User": ["root", "root"], x_authz_user: "root", "x-forwarded.user": "root", accept: "a/b" };
  request({ port: server.address().port, host: "127.0.0.1", headers }, (answer) => {
    answer.pipe(process.stdout);
    answer.on("end", () => server.close());
  }).end();
});
"""
    result = subprocess.run(
        ["node", "--input-type=module", "-e", script], cwd=installed, check=True, capture_output=True, timeout=60
    )
    seen = json.loads(result.stdout)
    assert b"root" not in result.stdout
    raw = dict(zip(seen["rawHeaders"][::2], seen["rawHeaders"][1::2], strict=True))
    for headers in (seen["headers"], raw, {name: value for name, [value] in seen["headersDistinct"].items()}):
        assert headers["x-authz-user"] == headers["x-forwarded-user"] == "nick"
        assert headers["accept"] == "a/b"
