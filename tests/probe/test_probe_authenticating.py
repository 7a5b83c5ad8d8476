"""The probe where the proxy itself has users signed in, by a step before extauthz: no hop is in front."""

import copy
from collections.abc import Iterator
from typing import Any, Final

import pytest

from probe.cast import CONFIG, GATEWAY, USER, USER_HEADER, Cast, probe, reporting_gateway
from support.http_proxies import NAMES, running_proxy
from support.rogue_door import RogueDoor, rogue_door
from support.service import running_service
from support.sign_in_hop import SESSION

SIGNED_IN: Final = f"HTTP/1.1 200 OK\r\n{USER_HEADER}: {USER}\r\nContent-Length: 0\r\n\r\n".encode()
NOBODY: Final = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """extauthz that takes the calling proxy's word, and a Gateway that reports."""
    directory = tmp_path_factory.mktemp("authenticating")
    config: dict[str, Any] = copy.deepcopy(CONFIG)
    config["gateways"][GATEWAY] |= {"peer": "caller", "trustedProxies": ["127.0.0.1"]}
    with running_service(directory / "service", config) as service, reporting_gateway(directory, service) as port:
        yield Cast(service, port, directory)


@pytest.fixture(scope="module")
def authenticator() -> Iterator[RogueDoor]:
    """A service that knows one session."""
    with rogue_door() as door:
        door.answer = lambda head: SIGNED_IN if SESSION.encode() in head else NOBODY
        yield door


@pytest.mark.parametrize("dialect", NAMES)
def test_a_proxy_that_has_users_signed_in_has_no_hole(cast: Cast, authenticator: RogueDoor, dialect: str) -> None:
    given = {"gateway": GATEWAY, "upstream": f"127.0.0.1:{cast.gateway_port}", "user_header": USER_HEADER}
    step = f"http://{authenticator.address}/oauth2/auth"
    directory = cast.directory / dialect
    with running_proxy(dialect, directory, extauthz=(cast.service.http,), authenticate=step, **given) as proxy:
        found = probe(f"http://127.0.0.1:{proxy.port}/", config=cast.config)
    assert (found.status, found.holes, found.ids("warning")) == (0, set(), set())
    assert {"forged_sign_in", "identity_arrives", "forged_user", "forged_websocket"} <= found.ids("passed")
