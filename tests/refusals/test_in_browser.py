"""What people see of it in a real browser: the one who was refused too often, and the operator in the console."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cases.build import GATEWAY
from extauthz.core.reasons import TOO_MANY_REFUSALS
from forward_auth.asking import Asked, ask
from refusals.limiting import EVE
from support.browser import Page, running_browser
from support.service import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = {
        "limits": {"refusals": {"perUser": "1/hour", "perPeer": "1/hour"}},
        "denial": {"body": "html"},
        "gateways": {"g": GATEWAY},
    }
    with running_service(tmp_path_factory.mktemp("limited"), config) as found:
        for _ in range(2):
            ask("traefik", int(found.http.rpartition(":")[2]), "g", Asked(EVE))
        yield found


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with running_browser(tmp_path) as browser, browser.page() as found:
        yield found


def test_person_is_told_to_wait(page: Page, service: Service) -> None:
    # No gateway has this name, and no proxy asks: the browser itself comes too often.
    door = f"http://{service.http}/forward-auth/traefik/nobody"
    page.open(door)
    page.wait_text("Access denied")
    page.open(door)
    page.wait_text("Too many refused requests")
    page.wait_text("Wait a little before you try again")
    assert TOO_MANY_REFUSALS.code in page.text("main")
    assert [text for text in page.complaints if "429" not in text and "403" not in text and "favicon" not in text] == []


def test_operator_sees_the_reason_and_that_the_client_was_not_told(page: Page, service: Service) -> None:
    page.open(f"http://{service.admin}/console#decisions?gateway=g")
    page.wait("document.querySelectorAll('#rows tr').length >= 2", "the decisions are shown")
    assert page.text("#rows").count("limited") == 1
    assert page.text("#rows").count("trusted_proxy_user_not_allowed") == 2
    page.run(
        "[...document.querySelectorAll('#rows tr')].find(row => row.innerText.includes('limited'))"
        ".querySelector('button').click()"
    )
    page.wait_text("The client was told", "#drawer")
    assert TOO_MANY_REFUSALS.code in page.text("#drawer")
    assert "trusted_proxy_user_not_allowed" in page.text("#drawer")
