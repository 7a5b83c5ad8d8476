"""Real stamps used again, elsewhere or otherwise: through real Envoy and around it, as requests and as WebSockets."""

from typing import Any

import pytest

from proxies.stamp_chain import Chain, said, seen
from support.clients import Refused, Response, http1, http2, raw, websocket
from support.world import IDENTITY, STRANGER, TRUSTED, USER, identity

HOST = "openclaw.example.com"
EVE = [("x-forwarded-user", "eve@example.com"), *identity(x_forwarded_user=None)]


def allowed(chain: Chain, **request: Any) -> Response:
    """The answer to a request that was allowed; a Gateway shows its client the stamp, as no other should."""
    answer = http1(chain.front.port, IDENTITY, **{"host": HOST, "source": TRUSTED, **request})
    assert said(answer) == f"hello {USER}"
    return answer


def stolen(chain: Chain, **request: Any) -> tuple[str, str]:
    """The stamp header of such a request."""
    (stamp,) = seen(allowed(chain, **request), "x-authz-stamp")
    return ("x-authz-stamp", stamp)


@pytest.mark.parametrize(
    ("reason", "request_changed"),
    [
        ("stamp_method", {"method": "DELETE"}),
        ("stamp_host", {"host": "research.example.com"}),
        ("stamp_host", {"host": "openclaw.example.com.evil.example"}),
        ("stamp_path", {"target": "/admin"}),
        ("stamp_path", {"target": "/?admin"}),
        ("stamp_path", {"target": "//"}),
    ],
)
def test_a_stamp_is_not_good_for_another_request_of_its_gateway(
    chain: Chain, reason: str, request_changed: dict[str, Any]
) -> None:
    sent = {"host": HOST, **request_changed}
    assert said(http1(chain.gateway_ports["openclaw"], [stolen(chain)], **sent)) == reason
    if sent["host"] == HOST and sent.get("target") != "//":  # Envoy makes "/" of it
        assert said(http1(chain.careless_port, [stolen(chain)], **sent)) == reason
        assert said(http2(chain.careless_port, [stolen(chain)], **sent)) == reason


def test_a_stamp_is_not_good_for_another_gateway(chain: Chain) -> None:
    for host in (HOST, "research.example.com"):
        answer = http1(chain.gateway_ports["research"], [stolen(chain)], host=host)
        assert (answer.status, said(answer)) == (401, "stamp_audience")
    answer = http1(chain.careless_port, [stolen(chain)], host="research.example.com")
    assert said(answer) == "stamp_audience"
    # The research team's own stamp is of no use here either.
    other = stolen(chain, host="research.example.com")
    assert said(http1(chain.gateway_ports["openclaw"], [other], host="research.example.com")) == "stamp_audience"


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
def test_a_stolen_stamp_makes_nobody_someone_else_through_envoy(chain: Chain, client: Any) -> None:
    for front in (chain.front, chain.overwriting):
        theft = [stolen(chain), ("x-authz-user", USER)]
        for source, headers, reason in (
            (STRANGER, [*IDENTITY, *theft], "trusted_proxy_untrusted_source"),
            (TRUSTED, [*identity(x_forwarded_user=None), *theft], "trusted_proxy_user_missing"),
            (TRUSTED, [*EVE, *theft], "trusted_proxy_user_not_allowed"),
        ):
            assert said(client(front.port, headers, host=HOST, source=source)) == reason


def test_every_request_has_the_stamp_of_itself(chain: Chain) -> None:
    # The Gateway verifies each, so it would refuse one that was reused for another request.
    for method, target, host in (
        ("GET", "/a", HOST),
        ("POST", "/a", HOST),
        ("GET", "/a?b", HOST),
        ("GET", "/a/../b//c?d=%2F", "OpenClaw.Example.com:8443"),
        ("OPTIONS", "/", "research.example.com"),
    ):
        for _ in range(2):
            allowed(chain, method=method, target=target, host=host)


def test_what_a_stamp_does_not_stop_the_same_request_again_while_it_lasts(chain: Chain) -> None:
    # docs/stamp.md says so: it is bound to a request's form, not to a connection.
    assert said(http1(chain.gateway_ports["openclaw"], [stolen(chain)], host=HOST)) == f"hello {USER}"


def test_a_websocket_is_accepted_by_its_own_stamp(chain: Chain) -> None:
    with websocket(chain.front.port, IDENTITY, host=HOST, source=TRUSTED, path="/ws?a=b") as opened:
        assert opened.hello["identity"]["user"] == USER
        assert opened.hello["identity"]["claims"]["htm"] == "GET"
        assert opened.echo("hello") == "hello"
        assert opened.echo(b"\x00\xff") == b"\x00\xff"


@pytest.mark.parametrize(
    "headers",
    [
        [("x-authz-stamp", "forged"), ("x-authz-user", "root")],
        [("x-authz-stamp", "")],
        [("x-authz-stamp", "a"), ("x-authz-stamp", "b")],
    ],
    ids=["forged", "empty", "two"],
)
def test_a_websocket_cannot_bring_a_stamp_of_its_own(chain: Chain, headers: list[tuple[str, str]]) -> None:
    with websocket(chain.overwriting.port, [*IDENTITY, *headers], host=HOST, source=TRUSTED) as opened:
        assert opened.hello["identity"]["user"] == USER
        assert [value for name, value in opened.hello["headers"] if name == "x-authz-user"] == [USER]
    assert refused(chain.careless_port, [*IDENTITY, *headers]) in {"stamp_malformed", "stamp_missing", "stamp_repeated"}


def test_a_websocket_without_a_stamp_is_refused_before_it_is_accepted(chain: Chain) -> None:
    for port in (chain.careless_port, chain.gateway_ports["openclaw"]):
        assert refused(port, [*IDENTITY, ("x-authz-user", USER)]) == "stamp_missing"


def test_a_websockets_stamp_used_again_elsewhere_is_refused(chain: Chain) -> None:
    with websocket(chain.front.port, IDENTITY, host=HOST, source=TRUSTED, path="/ws") as opened:
        (stamp,) = [value for name, value in opened.hello["headers"] if name == "x-authz-stamp"]
    theft = [("x-authz-stamp", stamp)]
    gateway = chain.gateway_ports["openclaw"]
    assert refused(chain.gateway_ports["research"], theft, path="/ws") == "stamp_audience"
    assert refused(gateway, theft, path="/ws", host="research.example.com") == "stamp_host"
    for port in (gateway, chain.careless_port):
        assert refused(port, theft, path="/other") == "stamp_path"
        assert said(http1(port, theft, target="/ws", method="POST", host=HOST)) == "stamp_method"
    for front in (chain.front, chain.overwriting):
        assert refused(front.port, [*IDENTITY, *theft], path="/ws", source=STRANGER) == "trusted_proxy_untrusted_source"


def test_a_stamp_of_an_ordinary_request_opens_no_websocket_elsewhere(chain: Chain) -> None:
    theft = [stolen(chain, target="/chat")]
    assert refused(chain.gateway_ports["openclaw"], theft, path="/ws") == "stamp_path"
    posted = [stolen(chain, target="/ws", method="POST")]
    assert refused(chain.gateway_ports["openclaw"], posted, path="/ws") == "stamp_method"


@pytest.mark.parametrize("line", ["Upgrade, x-authz-stamp", "x-authz-stamp, keep-alive, Upgrade"])
def test_an_upgrade_cannot_remove_its_stamp_by_naming_it_in_connection(chain: Chain, line: str) -> None:
    # What comes is an answer from behind the stamp's check, whatever it is: 101.
    head = f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: {line}\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in IDENTITY)
    request = f"{head}{key}{fields}\r\n".encode()
    for front in (chain.front, chain.overwriting):
        assert raw(front.port, request, source=TRUSTED).status == 101


def refused(
    port: int, headers: list[tuple[str, str]], *, path: str = "/", host: str = HOST, source: str = "127.0.0.1"
) -> str:
    """Why an upgrade was refused."""
    with pytest.raises(Refused) as caught, websocket(port, headers, host=host, path=path, source=source):
        pass
    return said(caught.value.response)
