"""Steps that a configuration settles are left out of decisions: nothing passes for it that would have been refused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, PEER, ask, gateway, policy_of, request_of, told
from cases.corpus import RULESETS
from cases.generated import examples, few
from extauthz.core import steps
from extauthz.core.decide import decide
from extauthz.core.explain import explain
from extauthz.core.policy import Gateway
from extauthz.core.rulesets import OPENCLAW_2026_9
from extauthz.core.step import Step
from extauthz.core.steps import LONGEST_USER_BYTES, MOST_USERS_LOOKED_THROUGH

NICK = "nick@example.com"
MALFORMED = "deny:request_malformed"


def _gateway(**keys: Any) -> Gateway:
    return policy_of({"g": keys}).gateways["g"]


def _users(*users: str) -> dict[str, Any]:
    return gateway({"allowUsers": list(users)})


@pytest.mark.parametrize("ruleset", RULESETS)
@few
@given(data=st.data())
def test_settled_step_never_fails_a_request(ruleset: str, data: st.DataObject) -> None:
    example = data.draw(examples(ruleset))
    policy = policy_of({"g": example.gateway})
    found = policy.gateways["g"]
    settled = {step.name for step in found.ruleset.whole if step.settled(found)}
    assert {step.name for step in found.asked} == {step.name for step in found.ruleset.whole} - settled
    for asked in example.requests:
        outcomes = explain(policy, request_of(asked.pairs, peer=asked.peer, host=asked.host)).outcomes
        assert not {outcome.step for outcome in outcomes if not outcome.passed} & settled, (example.gateway, asked)


@pytest.mark.parametrize("user", ["ni\x00ck", "ni\tck", "x\u0085y", "x" * (LONGEST_USER_BYTES + 1)])
def test_listed_user_that_no_header_could_carry_is_refused(user: str) -> None:
    for listed in ([user], [NICK, user]):
        policy = policy_of({"g": _users(*listed)})
        assert steps.STATABLE in policy.gateways["g"].asked
        assert ask(policy, pairs=[("x-forwarded-user", user), *PAIRS[1:]]) == MALFORMED


def test_users_of_a_list_are_looked_at_once_and_those_of_a_long_one_when_they_come() -> None:
    def asked(users: Sequence[str]) -> bool:
        return steps.STATABLE in _gateway(**_users(*users)).asked

    assert not asked([NICK])
    assert not asked([f"user-{number}" for number in range(MOST_USERS_LOOKED_THROUGH)])
    assert asked([f"user-{number}" for number in range(MOST_USERS_LOOKED_THROUGH + 1)])
    # Where everyone may enter, nobody was looked at.
    assert asked([])


def test_users_of_a_list_are_looked_at_when_they_come_where_no_step_holds_them_to_it() -> None:
    def without(step: Step) -> Gateway:
        ruleset = replace(OPENCLAW_2026_9, steps=tuple(one for one in OPENCLAW_2026_9.steps if one is not step))
        return replace(_gateway(**gateway(ruleset="openclaw-2026.9")), ruleset=ruleset)

    assert steps.STATABLE in without(steps.ALLOWED_USER).asked
    assert steps.STATABLE not in without(steps.ORIGIN).asked
    # Nor is a local process known to be refused before its lack of evidence is looked at.
    assert steps.REAL_PROXY in without(steps.LOOPBACK).asked
    assert steps.REAL_PROXY in without(steps.TRUSTED).asked
    assert steps.REAL_PROXY not in without(steps.ORIGIN).asked


@pytest.mark.parametrize(("allowed", "wanted"), [(True, "proxy_attribution_required"), (False, "loopback_source")])
def test_local_process_that_names_a_user_is_refused_whether_loopback_is_allowed_or_not(
    allowed: bool, wanted: str
) -> None:
    config = gateway(
        {"userHeader": "x-id", "requiredHeaders": [], "allowLoopback": allowed},
        trustedProxies=[PEER, "127.0.0.1"],
        ruleset="openclaw-2026.9",
    )
    policy = policy_of({"g": config})
    assert (steps.REAL_PROXY in policy.gateways["g"].asked) is allowed
    request = request_of([("x-id", NICK)], peer="127.0.0.1")
    assert told(decide(policy, request)).endswith(wanted)
