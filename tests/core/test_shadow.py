"""Shadow mode: what it lets pass, that it lets nothing pass with an identity, and what it never lets pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, ask, gateway, policy_of, request_of, told
from cases.corpus import RULESETS
from cases.generated import examples, few
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.decision import Shadowed
from extauthz.core.reasons import REASONS
from extauthz.core.request import Caller

NEVER_SHADOWED = {
    *("caller_not_allowed", "gateway_unknown", "header_alias_refused", "request_malformed", "internal_error"),
}


def test_table_says_which_reasons_deny_in_shadow_too() -> None:
    assert {code for code, reason in REASONS.items() if not reason.shadowed} == NEVER_SHADOWED


@pytest.mark.parametrize("service", ["enforce", "shadow"])
@pytest.mark.parametrize("own", [None, "enforce", "shadow"])
def test_mode_of_the_gateway_beats_that_of_the_service(service: str, own: str | None) -> None:
    policy = policy_of({"g": gateway(mode=own)}, mode=service)
    shadow = (own or service) == "shadow"
    assert ask(policy, peer="192.0.2.1") == ("shadow" if shadow else "deny") + ":trusted_proxy_untrusted_source"


def test_would_be_allow_is_an_allow() -> None:
    assert ask(policy_of({"g": gateway(mode="shadow")})) == "allow:nick@example.com"


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"caller": Caller(parse_address("10.9.9.9"))}, "deny:caller_not_allowed"),
        ({"gateway": "unknown"}, "deny:gateway_unknown"),
        ({"pairs": [*PAIRS, ("x_authz_user", "eve")]}, "deny:header_alias_refused"),
        ({"pairs": [("x-forwarded-user", "nick@example.com\0"), *PAIRS[1:]]}, "deny:request_malformed"),
        ({"pairs": [*PAIRS, *((f"x-{n}", "1") for n in range(300))]}, "deny:request_malformed"),
        ({"pairs": PAIRS[1:]}, "shadow:trusted_proxy_user_missing"),
        ({"pairs": PAIRS[:1]}, "shadow:trusted_proxy_missing_header_x-forwarded-proto"),
        ({"pairs": [*PAIRS, PAIRS[0]]}, "shadow:trusted_proxy_user_ambiguous"),
        ({"peer": None}, "shadow:trusted_proxy_untrusted_source"),
    ],
)
def test_attack_on_the_service_itself_is_denied_in_shadow_too(request_: dict[str, object], wanted: str) -> None:
    config = gateway({"allowUsers": []}, mode="shadow")
    assert ask(policy_of({"g": config}, mode="shadow"), **request_) == wanted


def test_second_caller_check_denies_in_shadow_too() -> None:
    config = gateway(mode="shadow", callers={"addresses": ["127.0.0.2"]})
    assert ask(policy_of({"g": config})) == "deny:caller_not_allowed"


@pytest.mark.parametrize("ruleset", RULESETS)
@few
@given(data=st.data())
def test_shadow_changes_no_decision_but_only_what_is_enforced(ruleset: str, data: st.DataObject) -> None:
    example = data.draw(examples(ruleset))
    enforced = policy_of({"g": example.gateway})
    shadow = policy_of({"g": {**example.gateway, "mode": "shadow"}})
    for asked in example.requests:
        request = request_of(asked.pairs, peer=asked.peer, host=asked.host)
        kind, _, what = told(decide(enforced, request)).partition(":")
        decision = decide(shadow, request)
        wanted = "shadow" if kind == "deny" and what not in NEVER_SHADOWED else kind
        assert told(decision) == f"{wanted}:{what}"
        if isinstance(decision, Shadowed):
            assert decision.gateway is shadow.gateways["g"]
