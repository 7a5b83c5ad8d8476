"""Decisions through real Envoy and the real service, as the Gateway and the client see them: allow, and each denial."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from cases.corpus import OF_PROOFS
from extauthz.core.reasons import REASONS
from support.clients import Headers, Response
from support.process import wait_until
from support.world import IDENTITY, LOCAL_REMOTE, STRANGER, TRUSTED, TRUSTED_REMOTE, USER, Way, World, identity


def refused_for(answer: Response, reason: str, status: int = 403) -> bool:
    """Whether an answer is extauthz's denial with this reason."""
    said = answer.json() if answer.body else {}
    return (
        answer.status == status
        and answer.values("x-authz-reason") == [reason] == [said["error"]]
        and answer.values("x-authz-decision") == [said["decision"]]
    )


@dataclass(frozen=True)
class Case:
    """One denial: what is sent where, by whom, and what is said to it."""

    reason: str
    headers: Headers = IDENTITY
    gateway: str = "openclaw"
    peer: str = TRUSTED
    status: int = 403
    front: dict[str, Any] = field(default_factory=dict)


DENIALS = {
    "unknown-gateway": Case("gateway_unknown", gateway="nobody"),
    "caller-of-the-gateway": Case("caller_not_allowed", gateway="elsewhere"),
    "alias-with-a-dot": Case("header_alias_refused", [*IDENTITY, ("x.authz.user", "root")]),
    "alias-with-underscores": Case(
        "header_alias_refused", [*IDENTITY, ("x_forwarded_user", "root")], front={"underscores": "allow"}
    ),
    "alias-from-a-stranger": Case("header_alias_refused", [("x.authz.stamp", "")], peer=STRANGER),
    "header-over-its-limit": Case("request_malformed", identity(x_other="a" * 16_385)),
    "no-rules": Case("trusted_proxy_config_missing", gateway="no-rules"),
    "no-proxies": Case("trusted_proxy_no_proxies_configured", gateway="no-proxies"),
    "stranger": Case("trusted_proxy_untrusted_source", peer=STRANGER),
    "stranger-far-away": Case("trusted_proxy_untrusted_source", peer="203.0.113.66"),
    "stranger-by-ipv6": Case("trusted_proxy_untrusted_source", peer="2001:db8::66"),
    "loopback": Case("trusted_proxy_loopback_source", gateway="no-loopback"),
    "blank-required-header": Case("trusted_proxy_missing_header_X-Forwarded-Host", identity(x_forwarded_host=" ,")),
    "no-required-header": Case("trusted_proxy_missing_header_X-Forwarded-Host", identity(x_forwarded_host=None)),
    "no-user": Case("trusted_proxy_user_missing", identity(x_forwarded_user=None), status=401),
    "blank-user": Case("trusted_proxy_user_missing", identity(x_forwarded_user=" , "), status=401),
    "no-user-header-configured": Case("trusted_proxy_user_missing", gateway="no-user-header", status=401),
    "two-users": Case("trusted_proxy_user_ambiguous", [*IDENTITY, ("x-forwarded-user", "root")]),
    "the-same-user-twice": Case("trusted_proxy_user_ambiguous", [*IDENTITY, ("x-forwarded-user", USER)]),
    "two-users-in-one": Case("trusted_proxy_user_ambiguous", identity(x_forwarded_user=f"{USER},root")),
    "user-and-nothing": Case("trusted_proxy_user_ambiguous", [*IDENTITY, ("x-forwarded-user", "")]),
    "other-user": Case("trusted_proxy_user_not_allowed", identity(x_forwarded_user="eve@example.com")),
    "other-case": Case("trusted_proxy_user_not_allowed", identity(x_forwarded_user=USER.upper())),
    "other-origin": Case("trusted_proxy_origin_not_allowed", identity(origin="https://evil.example")),
    "no-origin": Case("trusted_proxy_origin_not_allowed", identity(origin="null")),
    # openclaw-2026.9. Envoy always sends X-Forwarded-Proto, which is forwarded evidence: so a stranger fails there.
    "claw-stranger": Case("proxy_attribution_required", gateway="claw", peer="203.0.113.66"),
    "claw-nameless-client": Case(
        "proxy_attribution_required", identity(x_forwarded_for=None), gateway="claw", peer=TRUSTED_REMOTE
    ),
    "claw-loopback-client": Case(
        "proxy_attribution_required", identity(x_forwarded_for="127.0.0.1"), gateway="claw", peer=TRUSTED_REMOTE
    ),
    "claw-loopback": Case("trusted_proxy_loopback_source", gateway="claw"),
    "claw-own-host": Case("trusted_proxy_local_interface_source", gateway="claw", peer=LOCAL_REMOTE),
    "claw-no-required-header": Case(
        "trusted_proxy_missing_header_X-Forwarded-Host",
        identity(x_forwarded_host=None),
        gateway="claw",
        peer=TRUSTED_REMOTE,
    ),
    "claw-other-origin": Case(
        "trusted_proxy_origin_not_allowed",
        identity(origin="https://evil.example"),
        gateway="claw",
        peer=TRUSTED_REMOTE,
    ),
    "claw-old-stranger": Case("trusted_proxy_untrusted_source", gateway="claw-old", peer=STRANGER),
}

# What no request through Envoy can bring about: the first two are faults of this host, and the whole service's
# callers have a test of their own.
OUT_OF_REACH = {"internal_error", "trusted_proxy_local_interface_check_failed", *OF_PROOFS}


@pytest.mark.parametrize("case", DENIALS.values(), ids=DENIALS.keys())
def test_a_denial_names_its_reason_and_the_gateway_is_not_reached(way: Way, case: Case) -> None:
    answer = way.send(case.headers, gateway=case.gateway, peer=case.peer, front=case.front)
    assert refused_for(answer, case.reason, case.status), answer
    assert way.world.arrived() == []


def test_every_reason_within_reach_has_a_case() -> None:
    seen = {case.reason for case in DENIALS.values()}
    missing = {code for code in REASONS if not any(reason.startswith(code) for reason in seen)}
    assert missing == OUT_OF_REACH


@pytest.mark.parametrize(
    ("gateway", "peer"),
    [
        ("openclaw", TRUSTED),
        ("openclaw", TRUSTED_REMOTE),
        ("claw", TRUSTED_REMOTE),
        ("claw-loopback", TRUSTED),
        ("claw-old", TRUSTED),
        ("no-loopback", TRUSTED_REMOTE),
    ],
)
def test_an_allow_brings_the_verified_identity_and_nothing_else_is_changed(way: Way, gateway: str, peer: str) -> None:
    headers = [*IDENTITY, ("x-other", "1"), ("x-other", "2"), ("cookie", "a=b")]
    answer = way.send(headers, gateway=gateway, peer=peer, method="POST", target="/a?b=c", body=b"hello")
    assert answer.status == 200
    (arrived,) = way.world.arrived()
    assert arrived.values("x-authz-user") == arrived.values("x-forwarded-user") == [USER]
    assert arrived.values("x-authz-gateway") == [gateway]
    (decision,) = arrived.values("x-authz-decision")
    assert decision
    stamped = way.world.verified(arrived)
    assert (stamped.user, stamped.gateway, stamped.peer) == (USER, gateway, peer)
    assert (arrived.method, arrived.target, arrived.body) == ("POST", "/a?b=c", "hello")
    assert arrived.values("host") == [f"{gateway}.example.com"]
    assert arrived.values("x-other") == ["1", "2"]
    assert arrived.values("cookie") == ["a=b"]
    assert arrived.values("x-forwarded-proto") == ["https"]
    assert arrived.values("x-forwarded-for") == [f"203.0.113.10,{peer}"]


def test_a_stamp_is_bound_to_the_request_as_it_arrives_not_as_it_was_sent(way: Way) -> None:
    assert way.send(target="/a/../b//c?x=%2F", host="OpenClaw.Example.com:8443").status == 200
    (arrived,) = way.world.arrived()
    assert arrived.target == "/b/c?x=%2F"
    assert way.world.verified(arrived).user == USER


def test_the_user_arrives_trimmed_and_in_utf_8(way: Way) -> None:
    user = "  Zoë <zoë@example.com>\t"
    answer = way.send([("x-email", user.encode()), *identity(x_forwarded_user=None)], gateway="research")
    assert answer.status == 200
    (arrived,) = way.world.arrived()
    assert [value.encode("latin-1").decode() for value in arrived.values("x-authz-user")] == [user.strip()]
    assert arrived.values("x-email") == arrived.values("x-authz-user")


def test_bytes_that_are_no_text_are_no_user(way: Way) -> None:
    answer = way.send([("x-email", b"nick\xff"), *identity(x_forwarded_user=None)], gateway="research")
    if way.raw:
        assert refused_for(answer, "request_malformed")
        assert way.world.arrived() == []
    else:
        # In this form Envoy has put "!" in place of the byte: to extauthz a user like any other, as to the Gateway.
        (arrived,) = way.world.arrived()
        assert arrived.values("x-authz-user") == arrived.values("x-email") == ["nick!"]


def test_a_comma_in_the_user_passes_only_where_envoy_proves_that_it_came_once(way: Way) -> None:
    once = way.send(identity(x_forwarded_user="Doe, Jane"), gateway="commas")
    if way.proves_copies:
        assert [one.values("x-authz-user") for one in way.world.arrived()] == [["Doe, Jane"]]
    else:
        assert refused_for(once, "trusted_proxy_user_ambiguous")
    way.world.clear()
    twice = way.send([*identity(x_forwarded_user="Doe"), ("x-forwarded-user", "Jane")], gateway="commas")
    assert refused_for(twice, "trusted_proxy_user_ambiguous")
    assert way.world.arrived() == []


def test_the_answer_to_head_has_no_body(way: Way) -> None:
    answer = way.send(identity(x_forwarded_user=None), method="HEAD")
    assert (answer.status, answer.body) == (401, b"")
    assert answer.values("x-authz-reason") == ["trusted_proxy_user_missing"]


def test_the_access_log_tells_what_was_decided(world: World) -> None:
    way = Way(world, raw=True, version=1)
    denied = way.send(identity(x_forwarded_user="eve@example.com"), target="/denied")
    way.send(target="/allowed")
    (arrived,) = world.arrived()
    log = world.front(encode_raw_headers=True).envoy.access_log
    wait_until(lambda: {"/denied", "/allowed"} <= {line["path"] for line in log()}, "the lines of both requests")
    lines = {line["path"]: line for line in log() if line["path"] in {"/denied", "/allowed"}}
    assert lines["/denied"]["authz"] == {
        "decision": denied.json()["decision"],
        "gateway": "openclaw",
        "reason": "trusted_proxy_user_not_allowed",
        "user": "eve@example.com",
    }
    assert lines["/allowed"]["authz"] == {
        "decision": arrived.values("x-authz-decision")[0],
        "gateway": "openclaw",
        "reason": "",
        "user": USER,
    }
    assert lines["/denied"]["details"] == "ext_authz_denied"
