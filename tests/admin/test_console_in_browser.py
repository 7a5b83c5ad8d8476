"""The console as a person has it: in a real browser, by mouse and by keyboard, wide and narrow, under attack."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from admin.watching import TOKEN, USER, Watched, watched_service, write_token
from forward_auth.opening import gateway
from support.browser import Browser, Page, running_browser
from support.process import wait_until

SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`"
# Of a token's characters, as methods and the names of headers must be.
NAME = "x-'`$!#|~^-script"
VIEWS = ["overview", "decisions", "gateways", "gateways?id=openclaw", "explain", "findings", "keys", "service"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.page() as found:
        yield found
        assert found.dialogs == []


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    config = {
        "stamp": {"issuer": SCRIPT},
        "accepted": [{"id": SCRIPT, "by": SCRIPT, "because": SCRIPT}],
        "gateways": {
            "openclaw": gateway(),
            "research": gateway(mode="shadow"),
            "script": gateway(rules={"requiredHeaders": [SCRIPT], "allowUsers": [SCRIPT]}),
            "forgotten": {},
        },
    }
    with watched_service(tmp_path_factory.mktemp("console"), config) as found:
        found.decide("openclaw", [("x-forwarded-user", USER)], path="/page")
        found.decide("openclaw", [("x-forwarded-user", "eve@example.com")])
        found.decide("research", [])
        found.seen(3)
        yield found


def _rows(page: Page) -> int:
    return int(page.run("document.querySelectorAll('#rows tr').length"))


def test_script_in_every_field_is_text(page: Page, watched: Watched) -> None:
    asked = {"host": SCRIPT, "path": f"/{SCRIPT}", "method": SCRIPT, "peer": SCRIPT}
    headers = [("x-forwarded-user", SCRIPT), ("x-real-ip", SCRIPT), ("origin", SCRIPT), (NAME, SCRIPT)]
    before = watched.data("decisions")["last"]
    for name in ("openclaw", "script", "research", f"{SCRIPT}"):
        for peer in ("10.0.0.7", SCRIPT):
            watched.decide(re.sub(r"[\s<>\"`]", "x", name), headers, **{**asked, "peer": peer})
            watched.decide(re.sub(r"[\s<>\"`]", "x", name), headers, host=SCRIPT, path=f"/{SCRIPT}")
    watched.seen(before + 16)
    page.open(f"{watched.url}#decisions")
    page.wait("document.querySelectorAll('#rows tr').length >= 16", "the decisions are shown")
    assert SCRIPT in page.text("#rows")
    for row in range(16):
        page.run(f"document.querySelectorAll('#rows .row-open')[{row}].click()")
        page.wait_text("Headers", "#drawer")
        page.run("document.getElementById('drawer').close()")
    page.run(
        "[...document.querySelectorAll('#rows tr')].find(row => row.innerText.includes('onerror'))"
        ".querySelector('button').click()"
    )
    page.wait_text(SCRIPT, "#drawer")
    page.run("document.querySelector('#drawer .main').click()")
    page.wait("document.querySelector('#explained .steps') !== null", "it is explained")
    for view in [*VIEWS, "gateways?id=script", f"gateways?id={SCRIPT}", f"decisions?reason={SCRIPT}&gateway={SCRIPT}"]:
        page.run(f"location.hash = {view!r}")
        page.wait("document.querySelector('[role=tabpanel]:not([hidden])').innerText.length > 20", f"{view} is shown")
        time.sleep(0.6)  # what would run in it runs now, or never
    page.run("location.hash = '#overview'")
    page.wait_text("onerror", "#top-peers")
    assert page.run("document.querySelectorAll('main img, main script, dialog img, dialog script').length") == 0
    assert page.dialogs == []
    assert [text for text in page.complaints if "404" not in text] == []
    assert {re.sub(r"^(https?://[^/]+).*", r"\1", url) for url in page.requested if url != "about:blank"} == {
        f"http://127.0.0.1:{watched.admin}"
    }


def test_page_under_its_policy_runs_no_inline_script(page: Page, watched: Watched) -> None:
    page.open(watched.url)
    page.wait_text("Decisions over time")
    page.run("document.body.append(Object.assign(document.createElement('a'), {href: '#x'}))")
    refused = (
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return false; }"
        " catch (error) { return error instanceof TypeError; } })()"
    )
    assert page.run(refused)
    # The browser tells of it in a message of its own, which is read with the next answers.
    wait_until(lambda: page.run("true") and "Trusted" in str(page.complaints), "it is told")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_shown_without_a_complaint(view: str, page: Page, watched: Watched) -> None:
    page.open(f"{watched.url}#{view}")
    expected = {
        "overview": "Why denied",
        "decisions": "eve@example.com",
        "gateways": "research",
        "gateways?id=openclaw": "Who is let in",
        "explain": "What would happen to it?",
        "findings": "forgotten",
        "keys": "signs",
        "service": "Incomplete gateways",
    }[view]
    page.wait_text(expected, "[role=tabpanel]:not([hidden])")
    page.wait_text("Serving 4 gateways", "#state")
    assert page.complaints == []


# What is cut with an ellipsis, scrolls by itself, or is there for those who do not see, may be wider than it looks.
_MAY_BE_WIDE = ".unseen, svg, code, td, .rank-name, .who, .why, .rank-bar"
_TOO_WIDE = (
    f"[...document.querySelectorAll('main *')].filter(node => !node.closest('{_MAY_BE_WIDE}')"
    " && node.getBoundingClientRect().right > 361).map(node => node.outerHTML.slice(0, 90))"
)


@pytest.mark.parametrize(("view", "scheme"), [*((view, "light") for view in VIEWS), ("overview", "dark")])
def test_narrow_screen_is_enough(view: str, scheme: str, page: Page, watched: Watched, tmp_path: Path) -> None:
    page.resize(360, 740, mobile=True)
    page.prefer("prefers-color-scheme", scheme)
    page.open(f"{watched.url}#{view}")
    page.wait("document.querySelector('[role=tabpanel]:not([hidden])')?.innerText.length > 60", f"{view} is shown")
    page.wait("document.readyState === 'complete'", "it is laid out")
    assert page.run("document.documentElement.scrollWidth") == 360
    assert page.run(_TOO_WIDE) == []
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def _is_answered(page: Page) -> bool:
    """Whether every question for decisions has its answer: one that is on its way may bring what is decided next."""
    answered = "performance.getEntriesByType('resource').filter(one => one.name.includes('/api/decisions?')).length"
    return bool(page.run(answered) == sum("/api/decisions?" in url for url in page.requested))


def test_decisions_appear_as_they_happen_and_pause(page: Page, watched: Watched) -> None:
    page.open(f"{watched.url}#decisions")
    page.wait("document.querySelectorAll('#rows tr').length >= 3", "what was decided is shown")
    watched.decide("openclaw", [("x-forwarded-user", "first@example.com")])
    page.wait_text("first@example.com", "#rows tr")
    page.click("#live")
    page.wait_text("Paused", "#live")
    wait_until(lambda: _is_answered(page), "what was asked for before has come")
    assert page.run("document.getElementById('live').getAttribute('aria-pressed')") == "false"
    last = watched.data("decisions")["last"]
    watched.decide("openclaw", [("x-forwarded-user", "second@example.com")])
    watched.seen(last + 1)
    time.sleep(2.5)  # two rounds in which it would have been asked for
    assert "second@example.com" not in page.text("#rows")
    page.click("#live")
    page.wait_text("second@example.com", "#rows tr")


def test_filter_is_kept_in_the_address_and_taken_from_it(page: Page, watched: Watched) -> None:
    page.open(f"{watched.url}#decisions?result=shadow")
    page.wait_text("research", "#rows")
    assert page.run("document.getElementById('filters').elements.result.value") == "shadow"
    assert page.run("[...document.querySelectorAll('#rows tr')].every(r => r.innerText.includes('shadow'))")
    page.run(
        "(() => { const chosen = document.getElementById('filters').elements.result; chosen.value = 'allow';"
        " chosen.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    page.wait_text(USER, "#rows")
    assert page.run("location.hash") == "#decisions?result=allow"
    page.run("location.hash = '#decisions?reason=nothing_like_this'")
    page.wait_text("No decision of late is like this.", "#no-rows")


def test_rows_are_bounded(page: Page, tmp_path: Path) -> None:
    with watched_service(tmp_path, {"gateways": {"openclaw": gateway()}}) as found:
        page.open(f"{found.url}#decisions")
        page.wait_text("Nothing was decided yet.")
        for rounds, rows in ((1, 190), (2, 300)):
            for number in range(190):
                found.decide("openclaw", [("x-forwarded-user", f"{rounds}-{number}@example.com")])
            page.wait_text(f"{rounds}-189@example.com", "#rows tr")
            assert _rows(page) == rows


def test_everything_is_reached_by_keyboard(page: Page, watched: Watched) -> None:
    page.open(f"{watched.url}#overview")
    page.wait_text("Decisions over time")
    focused = "(document.activeElement.id || document.activeElement.className)"
    page.press("Tab")
    page.wait(f"{focused} === 'skip'", "the way to the content has the focus")
    page.wait("document.getElementById('skip').getBoundingClientRect().top >= 0", "it is seen")
    page.press("Enter")
    page.wait(f"{focused} === 'main'", "the content has the focus")
    page.press("Tab", shift=True)
    page.wait(f"{focused} === 'tab-overview'", "the tabs are before it")
    for key, tab in [
        ("ArrowRight", "decisions"),
        ("End", "service"),
        ("ArrowRight", "overview"),
        ("ArrowLeft", "service"),
    ]:
        page.press(key)
        page.wait(f"document.activeElement.id === 'tab-{tab}'", f"{tab} has the focus")
        page.wait(f"!document.getElementById('panel-{tab}').hidden", f"{tab} is shown")
        page.wait("document.activeElement.getAttribute('aria-selected') === 'true'", f"{tab} is selected")
    assert page.run("document.querySelectorAll('[role=tab][tabindex=\"0\"]').length") == 1
    page.press("Home")
    page.press("ArrowRight")
    page.wait("document.querySelectorAll('#rows .row-open').length >= 3", "the decisions are shown")
    page.click("#live")
    page.run("document.querySelector('#rows .row-open').focus()")
    page.press("Enter")
    page.wait("document.getElementById('drawer').open", "a decision is opened")
    page.press("Escape")
    page.wait("!document.getElementById('drawer').open", "it is closed")
    page.wait("document.activeElement.className === 'row-open'", "who opened it has the focus again")
    page.press("Tab")
    page.wait("getComputedStyle(document.activeElement).outlineStyle === 'solid'", "the focus is seen")


def test_chart_is_read_by_keyboard(page: Page, tmp_path: Path) -> None:
    # A service of its own: of the other, somebody may have asked five minutes ago.
    with watched_service(tmp_path, {"gateways": {"openclaw": gateway()}}) as found:
        found.decide("openclaw", [("x-forwarded-user", USER)])
        _read_the_chart(page, found)


def _read_the_chart(page: Page, watched: Watched) -> None:
    page.open(f"{watched.url}#overview")
    page.wait("document.querySelectorAll('#chart .bar').length > 0", "the chart is drawn")
    page.run("document.getElementById('chart').focus()")
    page.press("Home")
    page.wait_text("no requests", "#chart-told")
    page.press("Escape")
    page.wait_text("in the last 5 minutes", "#chart-told")
    assert "in the last 5 minutes" in page.run("document.getElementById('chart').getAttribute('aria-label')")
    page.click("input[value='6h'] + span")
    page.wait_text("in the last 6 hours", "#chart-told")
    assert page.run("location.hash") == "#overview?range=6h"


def test_decision_is_explained_with_its_hint(page: Page, watched: Watched) -> None:
    page.open(f"{watched.url}#decisions?reason=trusted_proxy_user_not_allowed")
    page.wait_text("eve@example.com", "#rows")
    page.run("[...document.querySelectorAll('#rows .row-open')].at(-1).click()")
    page.wait_text("The user is not in allowUsers", "#drawer")
    page.click("#drawer .main")
    page.wait_text("Denied with 403", "#explained")
    assert "trusted_proxy_user_not_allowed" in page.text("#explained")
    assert "Add the user, exactly as seen" in page.text("#explained")
    assert page.run("document.getElementById('request').elements.headers.value").count("eve@example.com") == 1
    page.run("document.getElementById('request').elements.headers.value = 'x-forwarded-user: nick@example.com'")
    page.click("#request button[type=submit]")
    page.wait_text("Allowed as nick@example.com", "#explained")
    page.run("document.getElementById('request').elements.headers.value = 'no colon'")
    page.click("#request button[type=submit]")
    page.wait_text("Line 1 of the headers is not", "#explained")


def test_reader_who_wants_no_motion_sees_none(page: Page, watched: Watched) -> None:
    page.prefer("prefers-reduced-motion", "reduce")
    page.open(f"{watched.url}#decisions")
    page.wait("document.querySelectorAll('#rows tr').length >= 3", "the decisions are shown")
    watched.decide("openclaw", [("x-forwarded-user", USER)])
    page.wait("document.querySelector('#rows tr.new') !== null", "a new one came")
    assert page.run("getComputedStyle(document.querySelector('#rows tr.new')).animationName") == "none"


def test_reload_that_is_refused_is_seen(page: Page, tmp_path: Path) -> None:
    with watched_service(tmp_path, {"gateways": {"openclaw": gateway()}}) as found:
        page.open(f"{found.url}#service")
        page.wait_text("Serving 1 gateway", "#state")
        file = tmp_path / "extauthz.yaml"
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        config["gateways"]["openclaw"]["trustedProxies"] = ["everyone", "10.0.0.0/33"]
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        page.wait_text("2 faults in the new configuration", "#state")
        page.wait_text("The new configuration is refused", "#panel-service")
        assert "'everyone' is not an IP address" in page.text("#panel-service")
        assert page.text("#badge-service") == "2"


def test_service_that_is_gone_is_told_and_found_again(page: Page, tmp_path: Path) -> None:
    with watched_service(tmp_path, {"gateways": {"openclaw": gateway()}}) as found:
        page.open(f"{found.url}#decisions")
        page.wait_text("Nothing was decided yet.")
        found.decide("openclaw", [("x-forwarded-user", USER)])
        page.wait_text(USER, "#rows")
        found.service.program.kill()
        page.wait_text("extauthz does not answer", "#banner")
        page.wait_text("Not reachable", "#state")
        assert USER in page.text("#rows")
        found.service.restart()
        page.wait_text("Serving 1 gateway", "#state")
        page.wait("document.getElementById('banner').hidden", "nothing is said to be wrong any more")
        found.decide("openclaw", [("x-forwarded-user", "after@example.com")])
        page.wait_text("after@example.com", "#rows")


def test_token_is_asked_for_kept_in_the_tab_and_sent_in_no_url(page: Page, tmp_path: Path) -> None:
    write_token(tmp_path / "token")
    with watched_service(tmp_path, {"admin": {"tokenFile": "token"}, "gateways": {"openclaw": gateway()}}) as found:
        page.open(found.url)
        page.wait("document.getElementById('token').open", "the token is asked for")
        page.press("Escape")
        wanted = "document.getElementById('token').open && document.activeElement.id === 'token-input'"
        page.wait(wanted, "it cannot be put away")
        page.type("not-the-token-0123456789")
        page.press("Enter")
        refused = "!document.getElementById('token-wrong').hidden"
        page.wait(f"{wanted} && {refused}", "it is asked for again")
        page.type(TOKEN)
        page.press("Enter")
        page.wait_text("Serving 1 gateway", "#state")
        page.open("about:blank")
        page.open(found.url)
        page.wait_text("Serving 1 gateway", "#state")
        assert not [url for url in page.requested if TOKEN in url]
        assert page.run("Object.keys(localStorage).length") == 0
        assert page.run("document.cookie") == ""
        write_token(tmp_path / "token", "another-token-0123456789")
        page.wait("document.getElementById('token').open", "the token is asked for again")
    wait_until(lambda: found.service.program.returncode is not None, "it ended")
