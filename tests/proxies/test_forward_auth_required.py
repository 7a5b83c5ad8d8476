"""Headers that a gateway requires: who can send them, through the real programs with what is written for them."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extauthz.proxies.values import CLIENTS_WORD
from support.http_proxies import NAMES, running_proxy
from support.stand import FORGED, FRONT, IDENTITY, STRANGER, USER, USER_HEADER, WITHOUT_USER, Stand, running_stand

every_http_proxy = pytest.mark.parametrize("dialect", NAMES)
PROOF = ("x-proof", FORGED)
HASH = "$2a$08$Wq.DD91CB/mxPdhd2O830OjFTqRq/Mg2DAcIp4beP2sk2AnjQPviW"  # of "correct horse"
WHO = f"basic_auth {{\n\t{USER} {HASH}\n}}\n"
PASSWORD = ("authorization", "Basic " + base64.b64encode(f"{USER}:correct horse".encode()).decode())


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The cast, with the proxies that were asked for."""
    with running_stand(tmp_path_factory.mktemp("stand")) as found:
        yield found


def told(stand: Stand, gateway: str, **more: Any) -> dict[str, Any]:
    """What a proxy before this gateway is told."""
    plain = {"gateway": gateway, "upstream": stand.gateway.address, "user_header": USER_HEADER}
    return {**plain, "extauthz": (stand.door,), **more}


@every_http_proxy
def test_a_client_does_not_bring_the_proof_that_the_authenticating_step_did_not_give(
    stand: Stand, dialect: str, tmp_path: Path
) -> None:
    step = f"http://{stand.authenticator.address}/oauth2/auth"
    before = stand.authenticator.answer
    settings = told(stand, "proof", authenticate=step, authenticated_headers=("x-proof",))
    try:
        with running_proxy(dialect, tmp_path, **settings) as proxy:
            answer, arrived = stand.send(proxy, [*WITHOUT_USER, PROOF], source=STRANGER)
            assert arrived == []
            assert answer.status == 403
            stand.authenticator.answer = b"HTTP/1.1 200 OK\r\nX-Proof: given\r\n%s: %s\r\nContent-Length: 0\r\n\r\n" % (
                USER_HEADER.encode(),
                USER.encode(),
            )
            answer, arrived = stand.send(proxy, [*WITHOUT_USER, PROOF], source=STRANGER)
            assert answer.status == 200
            assert arrived[0].values("x-proof") == ["given"]
    finally:
        stand.authenticator.answer = before


@pytest.mark.parametrize("given", [False, True])
def test_a_client_does_not_bring_the_proof_that_caddys_own_directives_did_not_give(
    stand: Stand, given: bool, tmp_path: Path
) -> None:
    who = tmp_path / "who.caddy"
    who.write_text(WHO + "request_header -Authorization\n" + "request_header X-Proof given\n" * given, encoding="utf-8")
    settings = told(stand, "proof", authentication_file=str(who), authenticated_headers=("x-proof",))
    with running_proxy("caddy", tmp_path / "caddy", **settings) as proxy:
        answer, arrived = stand.send(proxy, [*WITHOUT_USER, PASSWORD, PROOF], source=STRANGER)
    assert answer.status == (200 if given else 403)
    assert [one.values("x-proof") for one in arrived] == ([["given"]] if given else [])


@every_http_proxy
def test_a_required_header_of_the_proxy_in_front_gets_through(stand: Stand, dialect: str, tmp_path: Path) -> None:
    settings = told(stand, "real-ip", fronts=(FRONT,), passed=("x-real-ip",))
    with running_proxy(dialect, tmp_path, **settings) as proxy:
        answer, arrived = stand.send(proxy, [*IDENTITY, ("x-real-ip", "203.0.113.10")])
        assert answer.status == 200
        assert len(arrived) == 1
        answer, arrived = stand.send(proxy, [*IDENTITY, ("x-real-ip", "203.0.113.10")], source=STRANGER)
        assert answer.status == 403
        assert arrived == []


@every_http_proxy
def test_no_word_of_the_client_on_the_method_or_its_place_gets_to_the_gateway(stand: Stand, dialect: str) -> None:
    answer, arrived = stand.send(stand.proxy(dialect), [*IDENTITY, *((name, FORGED) for name in CLIENTS_WORD)])
    assert answer.status == 200
    assert [name for name, value in arrived[0].headers if FORGED in value] == []
