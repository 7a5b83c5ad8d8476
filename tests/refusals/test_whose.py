"""Whose a denial is: attacks on the count itself. Nobody is kept out, and nobody's denials are counted for another."""

from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, UNIX, FailingStamper, gateway, load_gateways, request_of
from cases.corpus import RULESETS
from cases.generated import bounded, examples
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.config.compile import compile_policy
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.decision import Allow, Deny, Shadowed
from extauthz.core.request import Caller
from extauthz.core.rulesets import RULESETS as STEPS
from extauthz.core.steps import TRUSTED
from extauthz.refusals import whose_is
from refusals.limiting import EVE, NICK, NOBODY, STRANGER, TOO_MANY, Limited, limits

ORIGIN = {"controlUi": {"allowedOrigins": ["https://gateway.example.com"]}}


def test_naming_a_good_user_from_an_untrusted_peer_does_not_lock_him_out() -> None:
    limited = Limited()
    assert TOO_MANY in limited.ask_often(50, NICK, peer=STRANGER)
    assert limited.ask(NICK).told == "allow:nick@example.com"
    # Nor are his denials the stranger's.
    assert limited.ask([*NICK[:1], *NICK[2:]]).status == 403


def test_naming_a_user_from_an_untrusted_peer_counts_for_no_user() -> None:
    limited = Limited()
    limited.ask_often(50, EVE, peer=STRANGER)
    assert limited.limiter.tracked == (1, 0)
    assert limited.ask_often(4, EVE) == [403, 403, 403, TOO_MANY]


def test_who_is_allowed_is_allowed_however_often_he_was_refused() -> None:
    limited = Limited({"g": gateway(**ORIGIN)})
    evil = [*NICK, ("origin", "https://evil.example.com")]
    assert limited.ask_often(5, evil)[-2:] == [TOO_MANY, TOO_MANY]
    for _ in range(50):
        assert limited.ask(NICK).told == "allow:nick@example.com"
        assert limited.ask(evil).status == TOO_MANY


def test_proxys_own_address_locks_out_nobody_behind_it() -> None:
    limited = Limited()
    for pairs in (PAIRS[:1], [*PAIRS, ("x_authz_user", "root")], [("x-forwarded-user", "a, b"), *PAIRS[1:]], NOBODY):
        assert TOO_MANY not in limited.ask_often(50, pairs)
    assert limited.limiter.tracked == (0, 0)


def test_sign_in_is_never_refused_as_too_much() -> None:
    """A 401 is what sends people to the sign-in: a flood of them through the proxy must not take it from others."""
    limited = Limited()
    assert set(limited.ask_often(500, NOBODY)) == {401}


def test_one_users_denials_are_not_anothers() -> None:
    limited = Limited()
    limited.ask_often(50, EVE)
    assert limited.ask([("x-forwarded-user", "mallory@example.com"), *PAIRS[1:]]).status == 403


def test_one_proxys_word_of_a_user_is_not_anothers() -> None:
    limited = Limited({"g": gateway(trustedProxies=["10.0.0.7", "10.0.0.8"])})
    limited.ask_often(50, EVE, peer="10.0.0.7")
    assert limited.ask(EVE, peer="10.0.0.8").status == 403


def test_one_gateways_denials_are_not_anothers() -> None:
    limited = Limited({"g": gateway(), "other": gateway()})
    limited.ask_often(50, EVE)
    limited.ask_often(50, NICK, peer=STRANGER)
    assert limited.ask(EVE, gateway="other").status == 403
    assert limited.ask(NICK, gateway="other", peer=STRANGER).status == 403


def test_rotating_addresses_within_a_64_is_one_peer() -> None:
    limited = Limited()
    statuses = [limited.ask(peer=f"2001:db8:1:2:{number:x}::{number:x}").status for number in range(50)]
    assert statuses == [403] * 5 + [TOO_MANY] * 45
    assert limited.limiter.tracked == (1, 0)
    assert limited.ask(peer="2001:db8:1:3::1").status == 403


@pytest.mark.parametrize("form", ["fe80::1%eth0", "fe80::1%eth1", "FE80::1", "[fe80::2]", " fe80::3 "])
def test_writing_an_address_otherwise_makes_no_other_peer(form: str) -> None:
    limited = Limited()
    limited.ask_often(50, NICK, peer="fe80::1")
    assert limited.ask(peer=form).status == TOO_MANY


def test_ipv4_address_written_as_ipv6_is_the_same_peer() -> None:
    limited = Limited()
    limited.ask_often(50, NICK, peer=STRANGER)
    assert limited.ask(peer=f"::ffff:{STRANGER}").status == TOO_MANY
    assert limited.ask(peer="203.0.113.67").status == 403


def test_many_peers_fill_the_table_and_nobody_is_let_in_or_kept_out() -> None:
    limited = Limited(refusals=limits(tracked=100))
    for number in range(5000):
        limited.ask(NICK, peer=f"198.18.{number // 256}.{number % 256}")
    assert limited.limiter.tracked == (100, 0)
    assert limited.ask(NICK).told == "allow:nick@example.com"
    assert limited.ask(NICK, peer=STRANGER).status == 403


def test_many_peers_do_not_make_a_users_count_be_forgotten() -> None:
    limited = Limited(refusals=limits(tracked=100))
    limited.ask_often(10, EVE)
    for number in range(2000):
        limited.ask(NICK, peer=f"198.18.{number // 256}.{number % 256}")
    assert limited.ask(EVE).status == TOO_MANY


@pytest.mark.parametrize("spoofed", ["203.0.113.1", "10.0.0.7", "198.51.100.1, 10.0.0.7", "::1", "junk"])
def test_spoofed_x_forwarded_for_makes_no_other_peer(spoofed: str) -> None:
    limited = Limited()
    limited.ask_often(50, NICK, peer=STRANGER)
    for name in ("x-forwarded-for", "x-real-ip", "forwarded", "x-extauthz-peer"):
        assert limited.ask([*PAIRS[:2], (name, spoofed)], peer=STRANGER).status == TOO_MANY


def test_spoofed_x_forwarded_for_counts_for_nobody_behind_the_proxy() -> None:
    limited = Limited()
    limited.ask_often(50, [*EVE[:2], ("x-forwarded-for", "192.0.2.1")])
    assert limited.limiter.tracked == (0, 1)
    assert limited.ask([("x-forwarded-user", "mallory@example.com"), *PAIRS[1:]]).status == 403


@pytest.mark.parametrize(
    "user", ["eve@example.com\ng\n4 1", "user\ng\n4 167772167\nnick@example.com", "eve\x00@example.com"]
)
def test_user_whose_name_holds_what_parts_a_key_is_nobody_else(user: str) -> None:
    policy = compile_policy(load_gateways({"g": gateway()}))
    one = whose_is(request_of(), deny(policy, request_of([("x-forwarded-user", user), *PAIRS[1:]])))
    for other in ("nick@example.org", "eve@example.com", user.rpartition("\n")[2] + "x"):
        assert one != whose_is(request_of(), deny(policy, request_of([("x-forwarded-user", other), *PAIRS[1:]])))


def deny(policy: Any, request: Any) -> Deny:
    found = decide(policy, request)
    assert isinstance(found, Deny)
    return found


def test_caller_that_may_not_ask_is_counted_by_its_own_address() -> None:
    limited = Limited()
    foreign = Caller(parse_address("192.0.2.9"))
    assert limited.ask_often(6, NICK, caller=foreign) == [403] * 5 + [TOO_MANY]
    assert limited.ask(NICK, caller=Caller(parse_address("192.0.2.10"))).status == 403
    assert limited.ask(NICK).told == "allow:nick@example.com"


def test_gateway_that_is_not_there_is_counted_for_who_asked_for_it_and_not_for_the_proxy() -> None:
    limited = Limited()
    assert limited.ask_often(6, NICK, gateway="nobody", peer=STRANGER)[-1] == TOO_MANY
    assert limited.ask(NICK, gateway="nobody", peer="203.0.113.67").status == 403
    assert limited.ask(NICK, peer="10.0.0.7").told == "allow:nick@example.com"


def test_peer_that_cannot_be_read_is_no_trusted_one() -> None:
    limited = Limited()
    assert limited.ask_often(6, NICK, peer=None)[-1] == TOO_MANY
    assert limited.ask(NICK).told == "allow:nick@example.com"


def test_bytes_that_are_no_request_are_counted_for_who_sent_them() -> None:
    limited = Limited()
    answers = [limited.authorizer.refuse(LOOPBACK) for _ in range(6)]
    assert [dict(answer.headers).get(b"retry-after") is not None for answer in answers] == [False] * 5 + [True]
    assert {answer.status for answer in answers} == {403}  # whoever it is, it may be nginx
    assert dict(limited.authorizer.refuse(UNIX).headers).get(b"retry-after") is None


def test_failure_of_ours_is_nobodys() -> None:
    limited = Limited(refusals=limits(1, 1))
    whole = limited.authorizer.snapshot
    limited.authorizer.snapshot = replace(whole, stamper=FailingStamper(RuntimeError("no key")))  # whatever may break
    outcomes = [limited.ask(NICK) for _ in range(20)]
    assert {(outcome.status, outcome.reason) for outcome in outcomes} == {(403, "internal_error")}
    assert limited.limiter.tracked == (0, 0)


def test_what_shadow_mode_lets_pass_is_no_refusal() -> None:
    limited = Limited({"g": gateway(mode="shadow")})
    for _ in range(50):
        assert limited.ask(EVE).told == "shadow:trusted_proxy_user_not_allowed"
    assert limited.limiter.tracked == (0, 0)
    alias = [*PAIRS, ("x_authz_user", "root")]
    assert limited.ask_often(6, alias, peer=STRANGER) == [403] * 5 + [TOO_MANY]


@pytest.mark.parametrize("ruleset", STEPS.values(), ids=lambda ruleset: ruleset.name)
def test_no_step_names_a_user_before_the_peer_is_known_to_be_trusted(ruleset: Any) -> None:
    before = ruleset.steps[: ruleset.steps.index(TRUSTED) + 1]
    assert not [step.name for step in before if step.names_user]


@pytest.mark.parametrize("ruleset", RULESETS)
@bounded
@given(data=st.data())
def test_only_a_trusted_peers_word_counts_for_a_user_and_only_a_strangers_for_an_address(
    ruleset: str, data: st.DataObject
) -> None:
    example = data.draw(examples(ruleset))
    policy = compile_policy(load_gateways({"g": example.gateway}))
    for asked in example.requests:
        request = request_of(asked.pairs, peer=asked.peer, host=asked.host)
        decision = decide(policy, request)
        if isinstance(decision, Allow | Shadowed):
            continue
        whose = whose_is(request, decision)
        trusted = decision.peer is not None and decision.peer in policy.gateways["g"].trusted_proxies
        assert whose is None or whose.startswith("user\n") == trusted
        assert decision.reason.status != 401 or whose is None


@pytest.mark.parametrize("ruleset", RULESETS)
@bounded
@given(data=st.data())
def test_no_limit_turns_an_allow_into_a_denial_or_a_denial_into_an_allow(ruleset: str, data: st.DataObject) -> None:
    example = data.draw(examples(ruleset))
    gateways = {"g": example.gateway}
    limited = Limited(gateways, limits(1, 1, seconds=3600))
    plain = Authorizer(make_snapshot(load_gateways(gateways)))
    limited_not = Limited(gateways, limits(None, 1))
    limited_not.authorizer = plain
    for asked in example.requests * 3:
        about: dict[str, Any] = {"peer": asked.peer, "host": asked.host}
        found, wanted = limited.ask(asked.pairs, **about), limited_not.ask(asked.pairs, **about)
        assert found.told == wanted.told
        assert found.passes == wanted.passes
        if found.passes:
            assert found.response.ok_response.headers_to_remove == wanted.response.ok_response.headers_to_remove
        else:
            assert found.status in {wanted.status, TOO_MANY}


def test_threads_that_ask_at_once_get_no_more_than_the_limit_together() -> None:
    limited, per_thread, threads = Limited(refusals=limits(5, 50)), 200, 8
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(limited.ask_often(per_thread, EVE))

    running = [Thread(target=ask) for _ in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert (statuses.count(403), statuses.count(TOO_MANY)) == (50, per_thread * threads - 50)
