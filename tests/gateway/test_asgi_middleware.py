"""Attacks on a Gateway behind the ASGI middleware, under real uvicorn: each test is named for what it stops."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from extauthz.gateway import HeaderNames, StampASGIMiddleware, StampVerifier
from extauthz.gateway.reference import application
from extauthz.stamp.claims import path_hash
from gateway.forge import GATEWAY, HOST, USER, Forge
from gateway.servers import raw_request, uvicorn_running

FORGE = Forge()
NAMES = HeaderNames(user_header="X-Forwarded-User")


def verifier(**options: Any) -> StampVerifier:
    return StampVerifier(FORGE.jwks, audience=GATEWAY, **options)


@pytest.fixture(scope="module", params=["h11", "httptools"])
def gateway(request: pytest.FixtureRequest) -> Iterator[int]:
    with uvicorn_running(application(verifier(), NAMES), http=request.param) as port:
        yield port


def good(claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
    return FORGE.stamp(claims, header, now=time.time())


def get(
    port: int, *headers: tuple[str, str], method: str = "GET", path: str = "/", host: str = HOST
) -> tuple[int, dict[str, str], bytes]:
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *(f"{n}: {v}" for n, v in headers)]
    return raw_request(port, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def shown(port: int, *headers: tuple[str, str], **request: str) -> dict[str, Any]:
    status, _, body = get(port, *headers, **request)
    assert status == 200, body
    value: dict[str, Any] = json.loads(body)
    return value


def refused(port: int, *headers: tuple[str, str], **request: str) -> str:
    status, fields, body = get(port, *headers, **request)
    assert status == 401
    assert fields["cache-control"] == "no-store"
    assert fields["content-type"] == "application/json"
    reason: str = json.loads(body)["error"]
    assert fields["www-authenticate"] == f'authz-stamp error="{reason}"'
    return reason


def values(seen: dict[str, Any], name: str) -> list[str]:
    return [value for field, value in seen["headers"] if field == name]


def test_a_stamped_request_arrives_with_the_claims_identity(gateway: int) -> None:
    stamp = good()
    seen = shown(gateway, ("x-authz-stamp", stamp), path="/a%20b?c=1")
    assert (seen["method"], seen["path"], seen["query"]) == ("GET", "/a%20b", "c=1")
    assert values(seen, "x-authz-user") == values(seen, "x-forwarded-user") == [USER]
    assert values(seen, "x-authz-gateway") == [GATEWAY]
    assert values(seen, "x-authz-stamp") == [stamp]
    assert (seen["identity"]["user"], seen["identity"]["peer"]) == (USER, "10.0.0.7")
    assert seen["identity"]["claims"]["hth"] == HOST


def test_no_stamp_as_when_a_request_comes_around_the_proxy(gateway: int) -> None:
    assert refused(gateway, ("x-authz-user", "root"), ("x-forwarded-user", "root")) == "stamp_missing"


def test_a_stamp_removed_by_a_hop_by_hop_connection_header(gateway: int) -> None:
    lines = f"GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close, x-authz-stamp\r\nx-authz-user: root\r\n\r\n"
    status, _, body = raw_request(gateway, lines.encode())
    assert (status, json.loads(body)["error"]) == (401, "stamp_missing")


def test_altered_companion_headers(gateway: int) -> None:
    seen = shown(
        gateway,
        ("X-Authz-User", "root"),
        ("x-authz-user", "admin"),
        ("x-authz-gateway", "other"),
        ("x-authz-decision", "forged"),
        ("x-forwarded-user", "root"),
        ("x-authz-stamp", good()),
        ("x-authz-user", "eve"),
        ("x-kept", "yes"),
    )
    assert values(seen, "x-authz-user") == values(seen, "x-forwarded-user") == [USER]
    assert values(seen, "x-authz-gateway") == [GATEWAY]
    assert values(seen, "x-authz-decision") == []
    assert values(seen, "x-kept") == ["yes"]


@pytest.mark.parametrize(
    "alias", ["x_authz_user", "X_Authz_User", "x.authz.user", "x-authz_user", "x!authz~user", "x_forwarded_user"]
)
def test_an_alias_of_an_identity_header(gateway: int, alias: str) -> None:
    status, _, body = get(gateway, (alias, "root"), ("x-authz-stamp", good()))
    assert status in {200, 400}  # what the server itself refuses is stopped, too
    assert "root" not in body.decode()


def test_an_alias_of_the_stamp_is_no_stamp(gateway: int) -> None:
    assert refused(gateway, ("x_authz_stamp", good())) == "stamp_missing"


def test_two_stamps(gateway: int) -> None:
    stamp = good()
    assert refused(gateway, ("x-authz-stamp", stamp), ("X-Authz-Stamp", stamp)) == "stamp_repeated"
    assert refused(gateway, ("x-authz-stamp", f"{stamp},{stamp}")) == "stamp_repeated"
    assert refused(gateway, ("x-authz-stamp", ""), ("x-authz-stamp", stamp)) == "stamp_repeated"


def test_a_replay_to_another_gateway(gateway: int) -> None:
    assert refused(gateway, ("x-authz-stamp", good({"aud": "other"}))) == "stamp_audience"


def test_a_stamp_of_another_issuer(gateway: int) -> None:
    assert refused(gateway, ("x-authz-stamp", good({"iss": "evil"}))) == "stamp_issuer"


def test_a_stamp_of_another_host_or_method(gateway: int) -> None:
    assert refused(gateway, ("x-authz-stamp", good()), host="evil.example") == "stamp_host"
    assert refused(gateway, ("x-authz-stamp", good()), method="POST") == "stamp_method"
    assert refused(gateway, ("x-authz-stamp", good({"hth": "evil.example"}))) == "stamp_host"
    status, _, _ = get(gateway, ("x-authz-stamp", good()), ("host", HOST))
    assert status in {400, 401}  # h11 refuses a second host by itself


def test_a_stamp_of_another_path(gateway: int) -> None:
    stamp = good({"pth": path_hash("/a/../b?c=%2F")})
    shown(gateway, ("x-authz-stamp", stamp), path="/a/../b?c=%2F")
    assert refused(gateway, ("x-authz-stamp", stamp), path="/b?c=%2F") == "stamp_path"
    assert refused(gateway, ("x-authz-stamp", stamp), path="/a/../b?c=/") == "stamp_path"


def test_the_lone_question_mark_that_servers_drop(gateway: int) -> None:
    shown(gateway, ("x-authz-stamp", good({"pth": path_hash("/a?")})), path="/a?")
    shown(gateway, ("x-authz-stamp", good({"pth": path_hash("/a?")})), path="/a")


def test_expired_and_not_yet_valid_stamps(gateway: int) -> None:
    now = time.time()
    assert refused(gateway, ("x-authz-stamp", FORGE.stamp(now=now - 3000))) == "stamp_expired"
    assert refused(gateway, ("x-authz-stamp", FORGE.stamp(now=now + 3000))) == "stamp_not_yet_valid"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none"}, "stamp_algorithm"),
        ({"alg": "HS256"}, "stamp_algorithm"),
        ({"kid": "../../etc/passwd"}, "stamp_header"),
        ({"kid": "A" * 43}, "stamp_key_unknown"),
        ({"jku": "http://127.0.0.1/"}, "stamp_header"),
        ({"x5u": "http://127.0.0.1/"}, "stamp_header"),
        ({"jwk": FORGE.jwks["keys"][0]}, "stamp_header"),
        ({"typ": "JWT"}, "stamp_type"),
    ],
)
def test_a_header_that_asks_for_trust(gateway: int, header: dict[str, Any], reason: str) -> None:
    assert refused(gateway, ("x-authz-stamp", good(header=header))) == reason


def test_a_64_kib_token(gateway: int) -> None:
    status, _, body = get(gateway, ("x-authz-stamp", "A" * 65536))
    assert status in {400, 401, 431}
    assert status != 401 or json.loads(body)["error"] == "stamp_too_large"


def test_bytes_that_are_no_text(gateway: int) -> None:
    status, _, _ = get(gateway, ("x-authz-stamp", "\xff\xfe\xe9"))
    assert status in {400, 401}


def test_a_user_with_letters_of_the_world_arrives_as_utf_8(gateway: int) -> None:
    seen = shown(gateway, ("x-authz-stamp", good({"sub": "ニック@例え.jp"})))
    assert values(seen, "x-authz-user") == ["ニック@例え.jp"]


def test_head_is_refused_without_a_body(gateway: int) -> None:
    status, fields, body = get(gateway, method="HEAD")
    assert (status, body) == (401, b"")
    assert "stamp_missing" in fields["www-authenticate"]


def test_the_reference_gateways_health_needs_no_stamp(gateway: int) -> None:
    assert shown(gateway, path="/healthz") == {"status": "ok"}
    for path in ("/healthz/", "/healthz/x", "/Healthz", "//healthz"):
        assert refused(gateway, path=path) == "stamp_missing"


@pytest.fixture(scope="module")
def sockets() -> Iterator[int]:
    with uvicorn_running(application(verifier(), NAMES)) as port:
        yield port


def test_a_stamped_websocket_is_accepted_with_the_claims_identity(sockets: int) -> None:
    headers = {"x-authz-stamp": good({"hth": "127.0.0.1"}), "x-authz-user": "root"}
    with connect(f"ws://127.0.0.1:{sockets}/chat?a=1", additional_headers=headers) as socket:
        seen = json.loads(socket.recv())
        assert values(seen, "x-authz-user") == [USER]
        assert seen["identity"]["user"] == USER
        assert (seen["path"], seen["query"]) == ("/chat", "a=1")
        socket.send("text")
        assert socket.recv() == "text"
        socket.send(b"\x00\xff")
        assert socket.recv() == b"\x00\xff"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "stamp_missing"),
        ({"x-authz-user": "root"}, "stamp_missing"),
        ({"x-authz-stamp": "x"}, "stamp_malformed"),
    ],
)
def test_a_websocket_without_a_stamp_is_refused_before_it_is_accepted(
    sockets: int, headers: dict[str, str], reason: str
) -> None:
    with pytest.raises(InvalidStatus) as raised, connect(f"ws://127.0.0.1:{sockets}/", additional_headers=headers):
        pass
    answer = raised.value.response
    assert answer.status_code == 401
    assert answer.headers["cache-control"] == "no-store"
    assert reason in answer.headers["www-authenticate"]


def test_a_websocket_with_a_stamp_of_another_host(sockets: int) -> None:
    headers = {"x-authz-stamp": good({"hth": "evil.example"})}
    with pytest.raises(InvalidStatus) as raised, connect(f"ws://127.0.0.1:{sockets}/", additional_headers=headers):
        pass
    assert raised.value.response.status_code == 401


async def refuse_everything(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("the application was reached")


def drive(scope: dict[str, Any], *, app: Any = refuse_everything, **options: Any) -> list[dict[str, Any]]:
    """Run the middleware as a server would; returns what was sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": f"{scope['type']}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = StampASGIMiddleware(app, options.pop("verifier", None) or verifier(), **options)
    asyncio.run(middleware(scope, receive, send))
    return sent


def http_scope(*headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", HOST.encode()), *headers]} | more


def test_a_server_without_the_response_extension_is_told_to_close() -> None:
    sent = drive({"type": "websocket", "path": "/", "headers": []})
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "stamp_missing"}]


@pytest.mark.parametrize("kind", ["webtransport", "http2", "", "HTTP"])
def test_a_scope_of_another_type_does_not_pass(kind: str) -> None:
    with pytest.raises(RuntimeError, match="passes"):
        drive({"type": kind, "headers": []})


def test_lifespan_passes() -> None:
    reached: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        reached.append(scope["type"])

    drive({"type": "lifespan"}, app=app)
    assert reached == ["lifespan"]


@pytest.mark.parametrize(
    "scope",
    [
        {"headers": None},
        {"headers": [(b"x-authz-stamp", None)]},
        {"headers": [("x-authz-stamp", "text")]},
        {"method": None, "headers": [(b"x-authz-stamp", b"a.b.c")]},
        {"state": 5},
    ],
)
def test_a_fault_in_the_middleware_refuses(scope: dict[str, Any]) -> None:
    sent = drive(http_scope(**scope))
    assert sent[0]["status"] == 401


def test_a_verifier_that_breaks_refuses() -> None:
    class Broken:
        async def verify_async(self, *_: object, **__: object) -> None:
            raise ValueError("unforeseen")

    sent = drive(http_scope((b"x-authz-stamp", b"x")), verifier=Broken())
    assert sent[0]["status"] == 401
    assert b"stamp_internal_error" in sent[1]["body"]


def test_a_path_binding_without_a_raw_path_is_refused() -> None:
    stamp = good({"pth": path_hash("/")}).encode()
    sent = drive(http_scope((b"x-authz-stamp", stamp)))
    assert b"stamp_path" in sent[1]["body"]


def test_the_servers_state_is_kept_and_not_written_to() -> None:
    states: list[dict[str, Any]] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        states.append(scope["state"])

    shared = {"database": 1, "identity": "forged"}
    drive(http_scope((b"x-authz-stamp", good().encode()), state=shared), app=app)
    assert states[0]["database"] == 1
    assert states[0]["identity"].user == USER
    assert shared == {"database": 1, "identity": "forged"}


def test_more_headers_can_be_protected() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.extend(scope["headers"])

    scope = http_scope((b"x-authz-stamp", good().encode()), (b"Remote_User", b"root"), (b"remote-groups", b"x"))
    drive(scope, app=app, protect=["Remote-User"])
    assert not any(b"root" in value for _, value in seen)
    assert (b"remote-groups", b"x") in seen


@pytest.mark.parametrize(
    "names",
    [
        {"user": ""},
        {"user": "x authz"},
        {"user": "x-authz-user:"},
        {"stamp": "x\u00e9"},
        {"user": "x-authz-stamp"},
        {"gateway": "x_authz_user"},
        {"user_header": "x_authz_user"},
        {"user_header": "x-authz-stamp"},
        {"user_header": ""},
    ],
)
def test_header_names_that_clash_or_cannot_be_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        HeaderNames(**names)


def test_the_user_header_may_be_the_user_name_itself() -> None:
    assert HeaderNames(user_header="X-Authz-User").user_header == "x-authz-user"
