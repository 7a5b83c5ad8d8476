"""What is tried against the admin address, each test named for the attack that it stops."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.watching import API, TOKEN, Watched, bearer, opened_door, watched_service, write_token
from extauthz.doors.admin import HEAD_BYTES
from extauthz.doors.http_bodies import BODY_BYTES
from extauthz.doors.http_limits import Patience
from forward_auth.opening import gateway
from support.clients import raw

DATA = API + "status"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    config = {"admin": {"hosts": ["extauthz.internal"]}, "gateways": {"openclaw": gateway()}}
    with watched_service(tmp_path_factory.mktemp("open"), config) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("guarded")
    write_token(folder / "token")
    with watched_service(folder, {"admin": {"tokenFile": "token"}, "gateways": {"openclaw": gateway()}}) as found:
        yield found


# DNS rebinding: a page's own name resolves to this address, and its script reads as if from its own site.


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9193",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80@127.0.0.1",
        "notlocalhost",
        "0x7f000001",
        "127.1",
        "127.0.0.1 evil.example",
        "",
    ],
)
@pytest.mark.parametrize("target", ["/livez", "/metrics", "/console", DATA])
def test_dns_rebinding_by_a_foreign_host(host: str, target: str, watched: Watched) -> None:
    response = watched.get(target, host=host)
    assert response.status == 421
    assert response.json()["error"] == "host_not_allowed"


def test_dns_rebinding_behind_a_second_host(watched: Watched) -> None:
    assert watched.get(DATA, [("host", "127.0.0.1")], host="evil.example").status == 421


def test_dns_rebinding_by_a_whole_url_as_target(watched: Watched) -> None:
    assert watched.get(f"http://evil.example{DATA}", host="127.0.0.1").status == 404


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "[::1]:9193",
        "10.0.0.9:9193",
        "console.localhost",
        "EXTAUTHZ.internal:80",
    ],
)
def test_operators_probes_and_scrapers_are_not_taken_for_rebinding(host: str, watched: Watched) -> None:
    assert watched.get(DATA, host=host).status == 200


def test_program_without_a_host_is_no_browser(watched: Watched) -> None:
    assert raw(watched.admin, b"GET /livez HTTP/1.0\r\n\r\n").status == 200


# Other sites' pages in the operator's browser.


@pytest.mark.parametrize("site", ["cross-site", "same-site", "cross-site, same-origin"])
@pytest.mark.parametrize("target", [DATA, "/metrics", API + "decisions"])
def test_cross_site_read(site: str, target: str, watched: Watched) -> None:
    response = watched.get(target, [("sec-fetch-site", site)])
    assert (response.status, response.json()["error"]) == (403, "cross_site")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:9193", "*"])
def test_cross_site_read_by_origin(origin: str, watched: Watched) -> None:
    assert watched.get(DATA, [("origin", origin)]).status == 403


def test_own_page_reads(watched: Watched) -> None:
    own = [("origin", f"http://127.0.0.1:{watched.admin}"), ("sec-fetch-site", "same-origin")]
    assert watched.get(DATA, own).status == 200


def test_cross_site_preflight_is_told_nothing(watched: Watched) -> None:
    asked = [("origin", "https://evil.example"), ("access-control-request-method", "POST")]
    response = watched.get(API + "explain", asked, method="OPTIONS")
    assert response.status == 403
    assert not [name for name, _ in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_cross_site_form_that_posts(kind: str, watched: Watched) -> None:
    response = watched.get(API + "explain", [("content-type", kind)], method="POST", body=b'{"gateway": "openclaw"}')
    assert response.status == 415


# Methods and paths.


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("target", ["/livez", "/metrics", "/console", DATA, API + "keys", API + "gateways/openclaw"])
def test_wrong_method_changes_nothing(method: str, target: str, watched: Watched) -> None:
    response = watched.get(target, method=method)
    assert (response.status, response.values("allow")) == (405, ["GET, HEAD"])


@pytest.mark.parametrize(
    "target",
    [
        "/console/../extauthz.yaml",
        "/console/..%2fextauthz.yaml",
        "/console/%2e%2e/%2e%2e/etc/passwd",
        "/console//etc/passwd",
        "/console/console.js/",
        "/console/./console.js",
        "/console/index.html",
        "/console/keys/key-000001.jwk",
        "/console/api/",
        "/console/api/gateways/",
        "/console/api/gateways/../keys",
        "/console/api/gateways/openclaw/..",
        "/console/api/__init__",
        "/console/api/status%00",
        "/livez/",
        "/livez%20",
    ],
)
def test_path_traversal_and_paths_that_only_look_like_ours(target: str, watched: Watched) -> None:
    assert watched.get(target).status == 404


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=1e3", "after=" + "9" * 40, "after=\u0661", "most=x", "&".join(f"a{n}=1" for n in range(40))],
)
def test_query_that_means_nothing_is_refused(query: str, watched: Watched) -> None:
    target = (API + "decisions?" + query).encode().decode("latin-1")
    assert watched.get(target).status == 400


# The token.


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [bearer(TOKEN[:-1])],
        [bearer(TOKEN + "x")],
        [bearer(TOKEN.upper())],
        [bearer("")],
        [("authorization", TOKEN)],
        [("authorization", f"Basic {TOKEN}")],
        [bearer(), bearer("another-token-0123456789")],
        [("cookie", f"token={TOKEN}")],
        [("x-authorization", f"Bearer {TOKEN}")],
    ],
)
@pytest.mark.parametrize("target", ["/metrics", DATA, API + "decisions", API + "nothing", API + "explain"])
def test_stranger_without_the_token(target: str, headers: list[tuple[str, str]], guarded: Watched) -> None:
    response = guarded.get(target, headers)
    assert (response.status, response.json()["error"]) == (401, "token_wanted")
    assert response.values("www-authenticate") == ['Bearer realm="extauthz admin"']


@pytest.mark.parametrize("query", [f"?token={TOKEN}", f"?access_token={TOKEN}", f"?authorization=Bearer%20{TOKEN}"])
def test_token_in_the_url_which_logs_would_keep(query: str, guarded: Watched) -> None:
    assert guarded.get(DATA + query).status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_who_has_the_token_reads(scheme: str, guarded: Watched) -> None:
    for target in ("/metrics", DATA):
        assert guarded.get(target, [("authorization", f"{scheme} {TOKEN}")]).status == 200


@pytest.mark.parametrize("target", ["/livez", "/readyz", "/console", "/console/console.js"])
def test_health_and_the_page_itself_want_no_token(target: str, guarded: Watched) -> None:
    assert guarded.get(target).status == 200


def test_token_opens_nothing_for_a_foreign_page(guarded: Watched) -> None:
    assert guarded.get(DATA, [bearer(), ("sec-fetch-site", "cross-site")]).status == 403
    assert guarded.get(DATA, [bearer()], host="evil.example").status == 421


def test_token_that_is_taken_away_or_spoiled_lets_nobody_in(tmp_path: Path) -> None:
    token = write_token(tmp_path / "token")
    with watched_service(tmp_path, {"admin": {"tokenFile": "token"}, "gateways": {"openclaw": gateway()}}) as found:
        assert found.get(DATA, [bearer()]).status == 200
        write_token(token, "another-token-0123456789")
        assert found.get(DATA, [bearer()]).status == 401
        assert found.get(DATA, [bearer("another-token-0123456789")]).status == 200
        for spoil in (lambda: write_token(token, ""), lambda: write_token(token, "short"), token.unlink):
            spoil()
            for tried in ("", "short", "another-token-0123456789", TOKEN):
                assert found.get(DATA, [bearer(tried)]).status == 401
        write_token(token)
        assert found.get(DATA, [bearer()]).status == 200
        token.chmod(0o644)
        assert found.get(DATA, [bearer()]).status == 401
        assert "nobody is let in" in found.service.program.log_text()
        assert TOKEN not in found.service.program.log_text()


# Too much, too slowly.


def _post(length: str, body: bytes = b"", *more: str) -> bytes:
    lines = ["POST /console/api/explain HTTP/1.1", "Host: localhost", "Content-Type: application/json", *more, length]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    "length",
    [
        f"Content-Length: {BODY_BYTES + 1}",
        "Content-Length: 99999999999",
        "Transfer-Encoding: chunked",
        "Content-Length: 0",
    ],
)
def test_huge_body_to_explain_is_refused_unread(length: str, watched: Watched) -> None:
    response = raw(watched.admin, _post(length))
    assert response.status == 413


def test_body_as_large_as_allowed_is_read(watched: Watched) -> None:
    request = {"gateway": "openclaw", "path": "/"}
    request["path"] = "/" + "a" * (BODY_BYTES - len(json.dumps(request)))
    body = json.dumps(request).encode()
    assert len(body) == BODY_BYTES
    assert raw(watched.admin, _post(f"Content-Length: {len(body)}", body)).status == 200


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"a":' * 10_000, b"null", b"[]", b"{", b"\xff\xfe", b'{"headers": 1}']
)
def test_body_that_is_no_request(body: bytes, watched: Watched) -> None:
    response = raw(watched.admin, _post(f"Content-Length: {len(body)}", body))
    assert (response.status, response.json()["error"]) == (400, "request_malformed")


def test_client_that_waits_to_be_asked_for_its_body_is_asked_for_one_that_is_read(watched: Watched) -> None:
    body = b'{"gateway": "openclaw"}'
    with socket.create_connection(("127.0.0.1", watched.admin), 20) as connection:
        connection.sendall(_post(f"Content-Length: {len(body)}", b"", "Expect: 100-continue"))
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
    refused = _everything(watched.admin, _post(f"Content-Length: {BODY_BYTES + 1}", b"", "Expect: 100-continue"))
    assert refused.startswith(b"HTTP/1.1 413 ")


def test_request_behind_a_body_is_not_answered(watched: Watched) -> None:
    body = b'{"gateway": "openclaw"}'
    sent = _post(f"Content-Length: {len(body)}", body) + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert _everything(watched.admin, sent).count(b"HTTP/1.1 ") == 1


def test_slow_body_is_not_waited_for() -> None:
    with opened_door(patience=Patience(body=0.2)) as endpoint:
        assert _everything(endpoint.port, _post("Content-Length: 10", b"{")) == b""


def test_slowloris_does_not_hold_up_the_others(watched: Watched) -> None:
    slow = [socket.create_connection(("127.0.0.1", watched.admin), 20) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(b"GET /livez HTTP/1.1\r\nX-")
        assert watched.get("/livez").status == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: 1\r\n" * 101 + b"\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_head_without_measure_or_meaning_is_refused(sent: bytes, watched: Watched) -> None:
    found = _everything(watched.admin, sent)
    assert found == b"" or found.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert watched.get("/livez").status == 200


def _everything(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        found = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65_536):
                found += data
        return found
