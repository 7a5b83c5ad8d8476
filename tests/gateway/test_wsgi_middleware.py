"""Attacks on a Gateway behind the WSGI middleware, under a real server: each test is named for what it stops."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from extauthz.gateway import HeaderNames, StampVerifier, StampWSGIMiddleware
from extauthz.stamp.claims import path_hash
from gateway.forge import GATEWAY, HOST, USER, Forge
from gateway.servers import raw_request, wsgi_running

FORGE = Forge()


def show(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    seen["identity"] = environ["extauthz.identity"].user
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]


def protected(app: Any = show, **options: Any) -> StampWSGIMiddleware:
    return StampWSGIMiddleware(
        app,
        options.pop("verifier", None) or StampVerifier(FORGE.jwks, audience=GATEWAY),
        headers=HeaderNames(user_header="X-Forwarded-User"),
        **options,
    )


@pytest.fixture(scope="module")
def gateway() -> Iterator[int]:
    with wsgi_running(protected()) as port:
        yield port


def good(claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
    return FORGE.stamp(claims, header, now=time.time())


def get(
    port: int, *headers: tuple[str, str], method: str = "GET", path: str = "/", host: str = HOST
) -> tuple[int, dict[str, str], bytes]:
    lines = [f"{method} {path} HTTP/1.0", f"host: {host}", *(f"{n}: {v}" for n, v in headers)]
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
    reason: str = json.loads(body)["error"]
    assert reason in fields["www-authenticate"]
    return reason


def test_a_stamped_request_arrives_with_the_claims_identity(gateway: int) -> None:
    stamp = good()
    seen = shown(gateway, ("x-authz-stamp", stamp))
    assert seen["REMOTE_USER"] == seen["HTTP_X_AUTHZ_USER"] == seen["HTTP_X_FORWARDED_USER"] == USER
    assert seen["HTTP_X_AUTHZ_GATEWAY"] == GATEWAY
    assert seen["HTTP_X_AUTHZ_STAMP"] == stamp
    assert seen["identity"] == USER


def test_no_stamp_as_when_a_request_comes_around_the_proxy(gateway: int) -> None:
    assert refused(gateway, ("x-authz-user", "root"), ("remote-user", "root")) == "stamp_missing"


@pytest.mark.parametrize(
    "name",
    [
        "X-Authz-User",
        "x_authz_user",
        "x.authz.user",
        "X-Authz_User",
        "x-authz-gateway",
        "x-authz-decision",
        "x_forwarded_user",
    ],
)
def test_altered_companion_headers_and_their_aliases(gateway: int, name: str) -> None:
    _, _, body = get(gateway, (name, "forged"), ("x-authz-stamp", good()), (name.upper(), "forged"))
    assert "forged" not in body.decode()
    assert json.loads(body)["REMOTE_USER"] == USER


def test_two_stamps_also_under_an_alias(gateway: int) -> None:
    stamp = good()
    assert refused(gateway, ("x-authz-stamp", stamp), ("x-authz-stamp", stamp)) == "stamp_repeated"
    assert refused(gateway, ("x-authz-stamp", stamp), ("x_authz_stamp", "x")) == "stamp_repeated"
    assert refused(gateway, ("x_authz_stamp", ""), ("x-authz-stamp", stamp)) == "stamp_repeated"


def test_a_replay_to_another_gateway_host_or_method(gateway: int) -> None:
    assert refused(gateway, ("x-authz-stamp", good({"aud": "other"}))) == "stamp_audience"
    assert refused(gateway, ("x-authz-stamp", good()), host="evil.example") == "stamp_host"
    assert refused(gateway, ("x-authz-stamp", good()), ("host", HOST)) == "stamp_host"
    joined = good({"hth": f"{HOST},{HOST}"})
    assert refused(gateway, ("x-authz-stamp", joined), ("host", HOST)) == "stamp_host"
    assert refused(gateway, ("x-authz-stamp", good()), method="POST") == "stamp_method"


def test_a_stamp_of_another_issuer_or_time(gateway: int) -> None:
    now = time.time()
    assert refused(gateway, ("x-authz-stamp", good({"iss": "evil"}))) == "stamp_issuer"
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
        ({"typ": "JWT"}, "stamp_type"),
    ],
)
def test_a_header_that_asks_for_trust(gateway: int, header: dict[str, Any], reason: str) -> None:
    assert refused(gateway, ("x-authz-stamp", good(header=header))) == reason


def test_a_64_kib_token(gateway: int) -> None:
    status, _, body = get(gateway, ("x-authz-stamp", "A" * 60000))
    assert (status, json.loads(body)["error"]) == (401, "stamp_too_large")


def test_a_stamp_of_another_path(gateway: int) -> None:
    stamp = good({"pth": path_hash("/a%2Fb?c=1")})
    shown(gateway, ("x-authz-stamp", stamp), path="/a%2Fb?c=1")
    assert refused(gateway, ("x-authz-stamp", stamp), path="/a/b?c=1") == "stamp_path"


def test_a_user_with_letters_of_the_world_is_utf_8_as_pep_3333_wants(gateway: int) -> None:
    seen = shown(gateway, ("x-authz-stamp", good({"sub": "ニック"})))
    assert seen["REMOTE_USER"].encode("latin-1").decode() == "ニック"
    assert seen["HTTP_X_AUTHZ_USER"] == seen["REMOTE_USER"]
    assert seen["identity"] == "ニック"


def call(environ: dict[str, Any], **options: Any) -> tuple[str, dict[str, Any]]:
    """Call the middleware as a server would; returns the status, and what the body says."""
    complete: dict[str, Any] = {}
    setup_testing_defaults(complete)
    statuses: list[str] = []

    def start_response(status: str, *_: object) -> Callable[[bytes], object]:
        statuses.append(status)
        return bytes

    body = b"".join(protected(**options)({**complete, "HTTP_HOST": HOST, **environ}, start_response))
    return statuses[0], json.loads(body)


def test_a_remote_user_of_the_server_is_not_believed() -> None:
    status, seen = call({"HTTP_X_AUTHZ_STAMP": good(), "REMOTE_USER": "root", "AUTH_TYPE": "Basic"})
    assert (status, seen["REMOTE_USER"]) == ("200 OK", USER)
    assert "AUTH_TYPE" not in seen
    assert call({"REMOTE_USER": "root"})[1] == {"error": "stamp_missing"}


def test_a_path_binding_without_a_raw_target_is_refused() -> None:
    stamp = good({"pth": path_hash("/")})
    assert call({"HTTP_X_AUTHZ_STAMP": stamp})[1] == {"error": "stamp_path"}
    assert call({"HTTP_X_AUTHZ_STAMP": stamp, "RAW_URI": "/"})[0] == "200 OK"


@pytest.mark.parametrize(
    "environ", [{"HTTP_X_AUTHZ_STAMP": 5}, {"HTTP_X_AUTHZ_STAMP": "a.b.c", "REQUEST_URI": "/\u20ac"}]
)
def test_a_fault_in_the_middleware_refuses(environ: dict[str, Any]) -> None:
    assert call(environ) == ("401 Unauthorized", {"error": "stamp_internal_error"})


def test_it_keeps_to_the_wsgi_specification() -> None:
    environ: dict[str, Any] = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    answer = validator(protected())(environ, lambda *_: bytes)
    assert b"stamp_missing" in b"".join(answer)
    answer.close()  # type: ignore[attr-defined]


def test_head_is_refused_without_a_body(gateway: int) -> None:
    status, _, body = get(gateway, method="HEAD")
    assert (status, body) == (401, b"")
