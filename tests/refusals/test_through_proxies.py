"""Too many refusals through the real proxies: what a client sees of them, and that nobody else sees anything of it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extauthz.core.reasons import TOO_MANY_REFUSALS
from extauthz.proxies.envoy import Route, Settings, render
from extauthz.wire.pb import check_pb2
from support.check_server import check_server, deny
from support.clients import Response, http1
from support.echo_gateway import EchoGateway, echo_gateway
from support.envoy import running_envoy
from support.http_proxies import Proxy, running_envoy_proxy, running_proxy
from support.ports import free_port
from support.service import Service, running_service
from support.stand import FRONT, IDENTITY, STRANGER, USER, USER_HEADER, WITHOUT_USER, http_port

PROXIES = ("envoy", "envoy-http", "traefik", "caddy", "nginx")
TOO_MANY = {"nginx": 403}
EVE = (("x-forwarded-user", "eve@example.com"), *IDENTITY[1:])


def gateway(**changed: Any) -> dict[str, Any]:
    rules = {"userHeader": USER_HEADER, "allowUsers": [USER]}
    return {"trustedProxies": [FRONT], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}, **changed}


CONFIG: dict[str, Any] = {
    "callers": {"addresses": ["127.0.0.1"]},
    "limits": {"refusals": {"perPeer": "5/hour", "perUser": "3/hour"}},
    "gateways": {name: gateway() for name in PROXIES},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("limited"), CONFIG) as found:
        yield found


@pytest.fixture(scope="module")
def behind() -> Iterator[EchoGateway]:
    with echo_gateway() as found:
        yield found


@pytest.fixture(scope="module")
def proxied(
    service: Service, behind: EchoGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Proxy]]:
    """Return the proxy of a name, started when it is first asked for."""
    started: dict[str, Proxy] = {}
    door = f"127.0.0.1:{http_port(service)}"
    with contextlib.ExitStack() as stack:

        def proxy(name: str) -> Proxy:
            if name not in started:
                directory = tmp_path_factory.mktemp(name)
                told: dict[str, Any] = {"gateway": name, "upstream": behind.address, "user_header": USER_HEADER}
                if name == "envoy":
                    opened = running_envoy_proxy(directory, extauthz=service.address, **told)
                elif name == "envoy-http":
                    opened = running_envoy_proxy(directory, extauthz=door, ask_over="http", **told)
                else:
                    opened = running_proxy(name, directory, extauthz=(door,), fronts=(FRONT,), **told)
                started[name] = stack.enter_context(opened)
            return started[name]

        yield proxy


def send(proxy: Proxy, headers: Any, source: str = FRONT) -> Response:
    return http1(proxy.port, headers, source=source)


def is_too_many(name: str, answer: Response) -> bool:
    status = answer.status == TOO_MANY.get(name, 429)
    return status and answer.values("x-authz-reason") == [TOO_MANY_REFUSALS.code]


@pytest.mark.parametrize("name", PROXIES)
def test_client_sees_that_it_was_too_often_and_nobody_else_does(
    name: str, proxied: Callable[[str], Proxy], behind: EchoGateway
) -> None:
    proxy = proxied(name)
    answers = [send(proxy, EVE) for _ in range(4)]
    assert [answer.status for answer in answers[:3]] == [403] * 3
    assert not any(is_too_many(name, answer) for answer in answers[:3])
    found = answers[3]
    assert is_too_many(name, found), found
    (retry_after,) = found.values("retry-after")
    assert 1 <= int(retry_after) <= 7200
    assert found.json()["error"] == TOO_MANY_REFUSALS.code
    assert not [answer for answer in answers[:3] if answer.values("retry-after")]
    behind.clear()
    assert send(proxy, IDENTITY).status == 200
    assert [arrived.values("x-authz-user") for arrived in behind.arrived] == [[USER]]


@pytest.mark.parametrize("name", PROXIES)
def test_naming_a_good_user_from_an_untrusted_peer_does_not_lock_him_out(
    name: str, proxied: Callable[[str], Proxy], behind: EchoGateway
) -> None:
    proxy = proxied(name)
    behind.clear()
    answers = [send(proxy, IDENTITY, STRANGER) for _ in range(7)]
    assert is_too_many(name, answers[-1]), answers[-1]
    assert behind.arrived == []
    assert send(proxy, IDENTITY).status == 200
    # Signing in is as it was, too.
    assert [send(proxy, WITHOUT_USER).status for _ in range(7)] == [401] * 7


@pytest.mark.parametrize("name", PROXIES)
def test_spoofed_headers_make_no_other_peer(name: str, proxied: Callable[[str], Proxy]) -> None:
    proxy, source = proxied(name), "127.0.0.9"
    for _ in range(5):
        send(proxy, IDENTITY, source)
    for number in range(5):
        forged = [
            ("x-forwarded-for", f"198.51.100.{number}"),
            ("x-real-ip", f"198.51.100.{number}"),
            ("x-extauthz-peer", f"198.51.100.{number}"),
            ("forwarded", f"for=198.51.100.{number}"),
        ]
        answer = send(proxy, [*IDENTITY[:2], *forged], source)
        assert is_too_many(name, answer), answer


@pytest.mark.parametrize("code", [7, 8], ids=["PERMISSION_DENIED", "RESOURCE_EXHAUSTED"])
def test_envoy_takes_either_code_for_a_denial_even_where_a_failure_would_let_pass(
    code: int, behind: EchoGateway, tmp_path: Path
) -> None:
    """So the code is that of every other denial: who knows fewer codes than Envoy takes it for one too."""

    def answer(_request: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
        found = deny(429, {"retry-after": "7", "x-authz-reason": TOO_MANY_REFUSALS.code}, "too many")
        found.status.code = code
        return found

    port, admin = free_port(), free_port()
    with check_server(answer) as authorizer:
        settings = Settings(
            routes=(Route(upstream=behind.address, gateway="g", user_headers=(USER_HEADER,)),),
            extauthz=(authorizer.address,),
            listen=f"127.0.0.1:{port}",
            admin=f"127.0.0.1:{admin}",
            timeout=5.0,
        )
        text = render(settings).replace("failure_mode_allow: false", "failure_mode_allow: true")
        assert "failure_mode_allow: true" in text
        with running_envoy(text, admin_port=admin, directory=tmp_path):
            behind.clear()
            found = http1(port, IDENTITY)
    assert (found.status, found.values("retry-after"), found.body) == (429, ["7"], b"too many")
    assert behind.arrived == []
