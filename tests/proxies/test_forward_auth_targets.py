"""Requests whose host or target a proxy reads in one way and hands on in another, through the real programs."""

from collections.abc import Iterator

import pytest

from support.clients import http2, raw
from support.http_proxies import NAMES
from support.stand import FRONT, IDENTITY, Stand, outcome, running_stand

every_http_proxy = pytest.mark.parametrize("dialect", NAMES)
FIELDS = b"".join(f"{name}: {value}\r\n".encode() for name, value in IDENTITY)
NO_HARM = {"only extauthz's arrives", "refused by the proxy"}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The cast, with the proxies that were asked for."""
    with running_stand(tmp_path_factory.mktemp("stand")) as found:
        yield found


def became(stand: Stand, dialect: str, head: bytes) -> str:
    """What became of a request that the proxy in front passes on."""
    stand.gateway.clear()
    answer = raw(stand.proxy(dialect).port, head + FIELDS + b"\r\n", source=FRONT)
    return outcome(answer, stand.gateway.arrived)


@every_http_proxy
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n",
        b"GET / HTTP/1.0\r\nHost:\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n",
        b"GET / HTTP/1.1\r\nHost: :80\r\n",
    ],
)
def test_a_request_without_a_host_does_not_get_to_the_gateway_under_another(
    stand: Stand, dialect: str, head: bytes
) -> None:
    assert became(stand, dialect, head) == "refused by the proxy"


@pytest.mark.parametrize("dialect", ["traefik", "caddy"])
def test_a_request_over_http2_without_a_host_does_not_get_to_the_gateway_under_another(
    stand: Stand, dialect: str
) -> None:
    stand.gateway.clear()
    answer = http2(stand.proxy(dialect).port, IDENTITY, host=None, source=FRONT)
    assert outcome(answer, stand.gateway.arrived) == "refused by the proxy"


@every_http_proxy
@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT gateway.example.com:443 HTTP/1.1\r\nHost: gateway.example.com:443\r\n",
        b"CONNECT /x HTTP/1.1\r\nHost: gateway.example.com\r\n",
    ],
)
def test_connect_is_not_stamped_for_a_path_that_it_does_not_have(stand: Stand, dialect: str, head: bytes) -> None:
    assert became(stand, dialect, head) in NO_HARM


@pytest.mark.parametrize("dialect", ["traefik", "caddy"])
@pytest.mark.parametrize("host", ["gateway.example.com/x?y", "gateway.example.com#x", "a@gateway.example.com", "a b"])
def test_a_path_in_the_host_of_http2_is_not_stamped_as_host(stand: Stand, dialect: str, host: str) -> None:
    stand.gateway.clear()
    answer = http2(stand.proxy(dialect).port, IDENTITY, host=host, source=FRONT)
    assert outcome(answer, stand.gateway.arrived) in NO_HARM


@every_http_proxy
@pytest.mark.parametrize("target", [b"http://gateway.example.com?x=1", b"http://gateway.example.com", b"?x=1"])
def test_a_target_without_a_path_is_stamped_for_the_one_that_arrives(stand: Stand, dialect: str, target: bytes) -> None:
    assert became(stand, dialect, b"GET " + target + b" HTTP/1.1\r\nHost: gateway.example.com\r\n") in NO_HARM
