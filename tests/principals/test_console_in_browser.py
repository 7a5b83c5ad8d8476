"""What the console shows of principals, in a real browser; a hostile one is text."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from admin.watching import Watched, watched_service
from cases.build import PAIRS, gateway
from cases.messages import check_request, read
from support.browser import Browser, Page, running_browser
from support.check_server import SERVICE

PROXY = "spiffe://cluster.local/ns/ingress/sa/pomerium"
BELOW = "spiffe://cluster.local/ns/edge/*"
SCRIPT = "spiffe://cluster.local/ns/edge/<img src=x onerror=alert(1)>\0\x1b[2J"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    config = {
        "openclaw": gateway(trustedProxies=[], trustedPrincipals=[PROXY, BELOW]),
        "both": gateway(trustedPrincipals=[PROXY], require="all"),
    }
    with watched_service(tmp_path_factory.mktemp("console"), {"gateways": config}) as found:
        yield found


def asked(watched: Watched, *principals: str) -> None:
    """Have requests decided over gRPC, as Envoy would ask, and return when the console has them."""
    before = watched.data("decisions")["last"]
    with grpc.insecure_channel(watched.service.address) as channel:
        check: Any = channel.unary_unary(f"/{SERVICE}/Check")
        for principal in principals:
            read(check(check_request(PAIRS, gateway="openclaw", peer="10.0.0.8", principal=principal), timeout=30))
    watched.seen(before + len(principals))


def opened(page: Page, watched: Watched, principal: str) -> str:
    """Open the drawer of a request with this principal, and return what it says."""
    asked(watched, principal)
    page.open(f"{watched.url}#decisions")
    page.wait("document.querySelectorAll('#rows tr').length > 0", "the decisions are shown")
    page.run("document.querySelector('#rows .row-open').click()")
    page.wait_text("Headers", "#drawer")
    return page.text("#drawer")


def test_decision_shows_the_principal_and_what_it_matched(browser: Browser, watched: Watched) -> None:
    with browser.page() as page:
        shown = opened(page, watched, "spiffe://cluster.local/ns/edge/sa/envoy")
        assert f"spiffe://cluster.local/ns/edge/sa/envoy, trusted by {BELOW}" in shown
    with browser.page() as page:
        assert "none was told of" in opened(page, watched, "")


def test_decision_is_explained_with_its_principal(browser: Browser, watched: Watched) -> None:
    with browser.page() as page:
        opened(page, watched, PROXY)
        page.run("document.querySelector('#drawer .main').click()")
        page.wait_text("which trustedPrincipals has", "#explained")


def test_hostile_principal_is_text(browser: Browser, watched: Watched) -> None:
    with browser.page() as page:
        shown = opened(page, watched, SCRIPT)
        assert "<img src=x onerror=alert(1)>" in shown
        assert "not trusted" in shown
        page.run("document.querySelector('#drawer .main').click()")
        page.wait_text("no name of an honest certificate", "#explained")
        assert page.run("document.querySelectorAll('main img, dialog img').length") == 0
        assert page.dialogs == []


def test_gateway_shows_whom_it_trusts_and_for_what(browser: Browser, watched: Watched) -> None:
    with browser.page() as page:
        page.open(f"{watched.url}#gateways?id=both")
        page.wait_text("A proxy is trusted by both, its address and its principal.", "main")
        assert PROXY in page.text("main")
        page.run("location.hash = '#gateways?id=openclaw'")
        page.wait_text(BELOW, "main")
        assert "none by address" in page.text("main")
