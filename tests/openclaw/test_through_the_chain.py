"""The real OpenClaw behind the real Envoy and extauthz: who is allowed gets in, and who is denied never reaches it."""

import json
from typing import Any, NamedTuple

import pytest

from cases.corpus import OF_PROOFS
from extauthz.core.reasons import REASONS
from openclaw.chain import HERE, IDENTITY, LOCAL, ORIGIN, REMOTE, STRANGER, TRUSTED, USER, Chain
from openclaw.claw import greet
from support.clients import Refused, http1
from support.process import wait_until

Headers = list[tuple[str, str]]


def identity(*more: tuple[str, str], **changed: str | None) -> Headers:
    """Return `IDENTITY` with headers changed, or left out where None, and more of them behind."""
    merged: dict[str, str | None] = {**IDENTITY, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return [*((name, value) for name, value in merged.items() if value is not None), *more]


ALLOWED = {
    "standard": ("openclaw", TRUSTED, identity()),
    "standard, a proxy on another host": ("openclaw", REMOTE, identity()),
    "an allowed origin": ("openclaw", TRUSTED, identity(("origin", ORIGIN))),
    "OpenClaw's own rules": ("claw", REMOTE, identity()),
    "OpenClaw's own rules, on one host": ("claw-loopback", TRUSTED, identity()),
    "a proxy at this host's usual address": ("here", HERE, identity()),
    "made-up stamps, which are overwritten": (
        "openclaw",
        TRUSTED,
        identity(("x-authz-stamp", "made-up"), ("x-authz-user", "eve@example.com")),
    ),
}


class Denied(NamedTuple):
    """A request that extauthz denies."""

    reason: str
    gateway: str
    peer: str
    headers: Headers
    status: int = 403


DENIED = [
    Denied("caller_not_allowed", "elsewhere", TRUSTED, identity()),
    Denied("gateway_unknown", "gone", TRUSTED, identity()),
    Denied("header_alias_refused", "openclaw", TRUSTED, identity(("x.authz.user", USER))),
    Denied("request_malformed", "openclaw", TRUSTED, identity(("x-long", "a" * 17_000))),
    Denied("trusted_proxy_config_missing", "no-rules", TRUSTED, identity()),
    Denied("trusted_proxy_no_proxies_configured", "no-proxies", TRUSTED, identity()),
    Denied("proxy_attribution_required", "claw-loopback", TRUSTED, identity(x_forwarded_for=None)),
    Denied("trusted_proxy_untrusted_source", "openclaw", STRANGER, identity()),
    Denied("trusted_proxy_loopback_source", "claw", TRUSTED, identity()),
    Denied("trusted_proxy_local_interface_source", "claw", LOCAL, identity()),
    Denied("trusted_proxy_missing_header_X-Forwarded-Host", "openclaw", TRUSTED, identity(x_forwarded_host=" ")),
    Denied("trusted_proxy_user_missing", "openclaw", TRUSTED, identity(x_forwarded_user=None), 401),
    Denied("trusted_proxy_user_ambiguous", "openclaw", TRUSTED, identity(("x-forwarded-user", "eve@example.com"))),
    Denied("trusted_proxy_user_not_allowed", "openclaw", TRUSTED, identity(x_forwarded_user="eve@example.com")),
    Denied("trusted_proxy_origin_not_allowed", "openclaw", TRUSTED, identity(("origin", "https://evil.example"))),
]

# What only a fault inside, or a host whose own addresses cannot be read, would bring about.
UNREACHABLE = {"internal_error", "trusted_proxy_local_interface_check_failed", *OF_PROOFS}

allowed = pytest.mark.parametrize(("gateway", "peer", "headers"), ALLOWED.values(), ids=ALLOWED)
denied = pytest.mark.parametrize("case", DENIED, ids=[case.reason for case in DENIED])


@allowed
def test_allowed_request_is_answered_by_openclaw(chain: Chain, gateway: str, peer: str, headers: Headers) -> None:
    answer = chain.invoke(gateway, headers, peer=peer)
    assert answer.status == 200, answer
    assert answer.json()["result"]["details"]["count"] == 0


@denied
def test_denied_request_never_reaches_openclaw(chain: Chain, case: Denied) -> None:
    before = chain.reached()
    answer = chain.invoke(case.gateway, case.headers, peer=case.peer)
    assert (answer.status, answer.values("x-authz-reason")) == (case.status, [case.reason])
    assert answer.json()["error"] == case.reason
    assert chain.reached() == before


def test_every_reason_is_among_the_denied() -> None:
    there = {case.reason.removesuffix("X-Forwarded-Host") for case in DENIED}
    assert set(REASONS) - there == UNREACHABLE


def test_pages_that_openclaw_shows_to_everybody_are_closed_too(chain: Chain) -> None:
    for path in ("/", "/healthz", "/readyz", "/chat/main"):
        assert http1(chain.claw.port, target=path).status == 200
        through: Any = {"target": path, "host": "openclaw.example.com", "source": TRUSTED}
        assert http1(chain.envoy_port, identity(x_forwarded_user=None), **through).status == 401
        assert http1(chain.envoy_port, identity(), **through).status == 200


@allowed
def test_websocket_goes_through_and_openclaw_lets_its_user_in(
    chain: Chain, gateway: str, peer: str, headers: Headers
) -> None:
    with chain.open(gateway, [*(pair for pair in headers if pair[0] != "origin"), ("origin", ORIGIN)], peer=peer) as ws:
        greeting = greet(ws)
    assert greeting.challenge["event"] == "connect.challenge"
    assert greeting.answer["ok"], greeting
    assert greeting.answer["payload"]["type"] == "hello-ok"
    wait_until(lambda: f"user={USER}" in chain.claw.program.log_text(), "OpenClaw's line about its user")
    assert "eve@example.com" not in json.dumps(greeting.answer)


@denied
def test_denied_websocket_is_not_even_opened(chain: Chain, case: Denied) -> None:
    before = chain.reached()
    with pytest.raises(Refused) as refused, chain.open(case.gateway, case.headers, peer=case.peer):
        pass
    answer = refused.value.response
    assert (answer.status, answer.values("x-authz-reason")) == (case.status, [case.reason])
    assert chain.reached() == before


def test_nothing_but_this_host_was_reached(chain: Chain) -> None:
    # Shortly after its start OpenClaw looks for its list of plugins, which no setting turns off. It was refused.
    assert chain.claw.tried_to_reach() <= {"dns clawhub.ai"}
