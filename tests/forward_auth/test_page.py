"""The page that a person sees when denied: who gets it, and that nothing in it can be made to run."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.config.load import loads
from extauthz.core.address import Address
from extauthz.core.request import Caller
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage
from extauthz.wire.page import DenialPage, wants_page
from forward_auth.opening import gateway

FIREFOX = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LOOPBACK = Caller(Address(4, 0x7F000001, "", loopback=True))


def denied(accept: bytes | None, required: str = "x-a", **denial: Any) -> HttpAnswer:
    """Return the answer to a request that lacks a required header."""
    config = {
        "denial": {"body": "html", **denial},
        "gateways": {"openclaw": gateway(rules={"requiredHeaders": [required]})},
    }
    headers = [(b"x-forwarded-for", b"10.0.0.7"), *([(b"accept", accept)] if accept is not None else [])]
    authorizer = Authorizer(make_snapshot(loads(json.dumps(config))))
    return authorizer.forward(HttpMessage.of("GET", b"/forward-auth/traefik/openclaw", headers), LOOPBACK)


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (FIREFOX, True),
        (b"text/html", True),
        (b"TEXT/HTML;level=1;q=0.3", True),
        (b"application/json, text/html", True),
        (b"application/json;q=0.9, text/html;q=0.5", False),
        (b"application/json, text/html;q=0.9", False),
        (b"*/*", False),
        (b"text/*", False),
        (b"text/html;q=0", False),
        (b"text/html;q=", False),
        (b"text/html;q=nan", False),
        (b"text/html;q=2", False),
        (b"application/json", False),
        (b"text/htmlx", False),
        (b"", False),
        (None, False),
        (b"text/html," + b"a" * 1100, False),
        (b"\xff\xfe", False),
    ],
)
def test_page_is_for_who_names_html(accept: bytes | None, page: bool) -> None:
    assert wants_page(accept) == page
    answer = denied(accept)
    kind = dict(answer.headers)[b"content-type"]
    assert kind == (b"text/html; charset=utf-8" if page else b"application/json")


@bounded
@given(st.binary(max_size=200))
def test_no_accept_makes_the_choice_fall_over(accept: bytes) -> None:
    assert wants_page(accept) in {True, False}


def test_page_has_the_reason_and_the_decision_and_the_same_headers_as_json() -> None:
    answer = denied(FIREFOX)
    headers = dict(answer.headers)
    text = answer.body.decode()
    assert "trusted_proxy_missing_header_x-a" in text
    assert headers[b"x-authz-decision"].decode() in text
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-authz-reason"] == b"trusted_proxy_missing_header_x-a"
    assert int(headers[b"content-length"]) == len(answer.body)
    hidden = denied(FIREFOX, reason=False).body.decode()
    assert "missing_header" not in hidden
    assert "Decision" in hidden


def test_markup_in_a_reason_is_text() -> None:
    name = "<script>alert(1)</script>\"'&{{7*7}}"
    answer = denied(FIREFOX, required=name)
    text = answer.body.decode()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text


class Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@bounded
@given(reason=st.text(max_size=100), gateway_id=st.text(max_size=60))
def test_no_text_becomes_markup(reason: str, gateway_id: str) -> None:
    page = DenialPage()
    plain = Page(page.render(status=403, gateway="g", decision="d", reason="r"))
    found = Page(page.render(status=403, gateway=gateway_id or "g", decision="d", reason=reason))
    assert found.tags == plain.tags


@pytest.mark.parametrize("status", [401, 403])
def test_page_loads_and_runs_nothing_and_can_be_read_aloud(status: int) -> None:
    page = DenialPage()
    text = page.render(status=status, gateway="openclaw", decision="d", reason="r")
    found = Page(text)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "link", "img", "iframe", "form", "object", "svg", "base", "a"}
    assert all(
        not attribute.startswith("on") and attribute not in {"src", "style"}
        for _, attributes in found.tags
        for attribute in attributes
    )
    assert ("html", {"lang": "en"}) in found.tags
    assert {"title", "main", "h1"} <= names
    policy = dict(page.headers)["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
