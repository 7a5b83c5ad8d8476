"""What the reference Gateway tells of what arrived: only where that is switched on, only when asked, no secret."""

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from extauthz.gateway.arrivals import PROBE_HEADER, REPORT_KEY, WITHHELD
from probe.cast import GATEWAY, Cast
from support.reference_gateway import running_gateway

WORD = "probe0123456789abcdef"
ASKING = {PROBE_HEADER: WORD}


def get(cast: Cast, headers: Any, method: str = "GET", path: str = "/") -> httpx.Response:
    return httpx.request(method, f"http://127.0.0.1:{cast.gateway_port}{path}", headers=headers, timeout=30)


def arrived(answer: httpx.Response) -> list[list[str]]:
    report = answer.json()[REPORT_KEY]
    assert report["probe"] == WORD
    found: list[list[str]] = report["headers"]
    return found


def test_what_is_refused_is_told_as_it_arrived(cast: Cast) -> None:
    sent = [
        *ASKING.items(),
        ("x-authz-user", "root"),
        ("x-authz-user", "nick"),
        ("x_authz_user", "a"),
        ("x.authz.user", ""),
    ]
    answer = get(cast, sent)
    assert (answer.status_code, answer.json()["error"]) == (401, "stamp_missing")
    assert [pair for pair in arrived(answer) if "user" in pair[0] and "agent" not in pair[0]] == [
        list(pair) for pair in sent[1:]
    ]


def test_a_refused_websocket_is_told_as_well(cast: Cast) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{cast.gateway_port}/", additional_headers={**ASKING, "x-authz-user": "root"})
    assert b'["x-authz-user", "root"]' in refused.value.response.body


def test_nobody_is_told_who_does_not_ask(cast: Cast) -> None:
    for headers in ({}, {PROBE_HEADER: "short"}, {PROBE_HEADER: "Probe0123456789<script>"}):
        assert REPORT_KEY not in get(cast, headers).json()
    assert get(cast, ASKING, path="/healthz").json() == {"status": "ok"}
    assert get(cast, ASKING, method="HEAD").content == b""


def test_nobody_is_told_where_it_is_not_switched_on(cast: Cast, tmp_path: Any) -> None:
    with running_gateway(tmp_path, audience=GATEWAY, jwks=cast.service.jwks_url) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/", headers=ASKING, timeout=30)
    assert answer.json() == {"error": "stamp_missing"}


def test_no_secret_is_told(cast: Cast) -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJuaWNrIn0.c2lnbmF0dXJl"
    sent = {
        "cookie": "a=secret",
        "authorization": "Bearer secret",
        "proxy-authorization": "secret",
        "x-jwt": f"Bearer {token}",
    }
    answer = get(cast, {**ASKING, **sent})
    told = dict(arrived(answer))
    assert [told[name] for name in ("cookie", "authorization", "proxy-authorization")] == [WITHHELD] * 3
    assert told["x-jwt"] == f"Bearer {token.rpartition('.')[0]}.{WITHHELD}"
    assert "secret" not in answer.text
