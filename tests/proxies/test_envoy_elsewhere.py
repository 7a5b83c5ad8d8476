"""Headers that name another path or method than the request line: real Envoy lets none of them through to a Gateway."""

from pathlib import Path

import pytest

from extauthz.config.load import loads
from extauthz.proxies.envoy import ELSEWHERE, render
from extauthz.proxies.from_config import envoy_settings
from support.clients import http1, http2
from support.stage import Stage

REQUIRES = """
gateways:
  g:
    trustedProxies: [10.0.0.1]
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-u, requiredHeaders: [X-Forwarded-Prefix]}}
"""


@pytest.mark.parametrize("send", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_header_that_rewrites_the_path_behind_the_decision_is_removed(stage: Stage, send: object, name: str) -> None:
    assert callable(send)
    assert send(stage.port, [(name, "/admin"), (name, "/other")], target="/harmless").status == 200
    (arrived,) = stage.gateway.arrived
    assert arrived.values(name) == []
    asked = stage.authorizer.asked[-1].attributes.request.http.header_map.headers
    assert name not in {header.key for header in asked}


def test_one_that_a_gateway_requires_arrives(tmp_path: Path) -> None:
    text = render(envoy_settings(loads(REQUIRES, folder=tmp_path).settings, {"g": "127.0.0.1:8000"}))
    assert '{remove: "x-original-url"}' in text
    assert '{remove: "x-forwarded-prefix"}' not in text
