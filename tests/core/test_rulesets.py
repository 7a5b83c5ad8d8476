"""The rulesets are the table of the rules, and a ruleset that forgets a step allows nobody."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import gateway, policy_of, request_of, told
from cases.generated import bounded
from extauthz.core import steps
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.policy import Gateway, Policy
from extauthz.core.reasons import REASONS
from extauthz.core.rulesets import RULESETS, Ruleset
from extauthz.core.step import Step

# Number, reason, and where it applies: standard, openclaw-2026.2, openclaw-2026.9.
TABLE = [
    ("trusted_proxy_config_missing", "xxx"),
    ("trusted_proxy_no_proxies_configured", "xxx"),
    ("proxy_attribution_required", "--x"),
    ("trusted_proxy_untrusted_source", "xxx"),
    ("trusted_proxy_untrusted_principal", "xxx"),
    ("trusted_proxy_loopback_source", "xxx"),
    ("trusted_proxy_local_interface_check_failed", "--x"),
    ("trusted_proxy_missing_header_", "xxx"),
    ("trusted_proxy_user_missing", "xxx"),
    ("trusted_proxy_user_ambiguous", "xxx"),
    ("trusted_proxy_assertion_missing", "xxx"),
    ("trusted_proxy_user_not_allowed", "xxx"),
    ("proxy_attribution_required", "--x"),
    ("trusted_proxy_origin_not_allowed", "x-x"),
]


@pytest.mark.parametrize(
    ("column", "name", "allow_loopback"),
    [(0, "standard", True), (1, "openclaw-2026.2", True), (2, "openclaw-2026.9", False)],
)
def test_ruleset_is_its_column_of_the_table(column: int, name: str, allow_loopback: bool) -> None:
    ruleset = RULESETS[name]
    assert [step.reasons[0].code for step in ruleset.steps] == [code for code, where in TABLE if where[column] == "x"]
    assert ruleset.allow_loopback is allow_loopback
    assert ruleset.name == name


BEFORE = ("caller_not_allowed", "gateway_unknown", "caller_not_allowed", "header_alias_refused", "request_malformed")


def _asked(ruleset: str) -> list[Step]:
    """Return every step that a request passes on its way to an allow, in order."""
    found: list[Step] = []
    policy = policy_of({"g": gateway(ruleset=ruleset)})
    decision = decide(policy, request_of(), lambda step, _evaluation, _reason: found.append(step))
    assert told(decision) == "allow:nick@example.com"
    return found


@pytest.mark.parametrize("name", RULESETS)
def test_every_request_is_asked_what_comes_before_the_ruleset_in_order(name: str) -> None:
    codes = [step.reasons[0].code for step in _asked(name)]
    rules = [step.reasons[0].code for step in RULESETS[name].steps]
    # And at the end, whether the user can be stated at all.
    assert codes == [*BEFORE, *rules, "request_malformed"]


def test_every_reason_of_the_table_is_some_steps_but_the_unforeseen() -> None:
    asked = {reason.code for name in RULESETS for step in _asked(name) for reason in step.reasons}
    assert asked == REASONS.keys() - {"internal_error"}


def test_only_a_missing_user_is_a_401() -> None:
    assert {code for code, reason in REASONS.items() if reason.status == 401} == {"trusted_proxy_user_missing"}
    assert {reason.status for reason in REASONS.values()} == {401, 403}


def test_every_reason_says_what_it_means_and_what_to_do() -> None:
    for reason in REASONS.values():
        assert reason.meaning.endswith(".")
        assert reason.cure.endswith(".")
    # The way out of user_not_allowed is never to open the door to everyone.
    assert "remove" not in REASONS["trusted_proxy_user_not_allowed"].cure.lower()


def _policy(ruleset: Ruleset) -> Policy:
    """Return the ordinary gateway's policy under a ruleset of our own."""
    compiled = policy_of({"g": gateway()}).gateways["g"]
    fields = {
        name: getattr(compiled, name)
        for name in Gateway.__dataclass_fields__
        if Gateway.__dataclass_fields__[name].init and name != "ruleset"
    }
    whole = policy_of({"g": gateway()})
    return Policy(
        [Gateway(ruleset=ruleset, **fields)],
        callers=whole.callers,
        most_headers=whole.most_headers,
        longest_header_bytes=whole.longest_header_bytes,
    )


STANDARD = RULESETS["standard"]


def test_the_whole_ruleset_allows_the_request_that_the_shortened_ones_are_tried_on() -> None:
    assert told(decide(_policy(STANDARD), request_of())) == "allow:nick@example.com"


@pytest.mark.parametrize("forgotten", [(), (steps.TRUSTED,), (steps.CONFIGURED, steps.PROXIES, steps.TRUSTED)], ids=len)
def test_future_ruleset_without_a_user_step_allows_nobody(forgotten: tuple[Step, ...]) -> None:
    ruleset = replace(STANDARD, name="future", steps=forgotten)
    assert told(decide(_policy(ruleset), request_of())) == "deny:internal_error"


@pytest.mark.parametrize("peer", [None, "", "unix:", "not-an-ip"])
def test_future_ruleset_without_a_peer_step_allows_no_unreadable_peer(peer: str | None) -> None:
    ruleset = replace(STANDARD, name="future", steps=(steps.USER,))
    assert told(decide(_policy(ruleset), request_of(peer=peer))) == "deny:internal_error"


@bounded
@given(kept=st.permutations([step for step in STANDARD.steps if step is not steps.USER]), cut=st.integers(0, 8))
def test_no_selection_of_the_other_steps_makes_an_identity(kept: list[Step], cut: int) -> None:
    # Steps that read the user's value cannot be asked before it is found.
    chosen = [step for step in kept[:cut] if step != steps.UNAMBIGUOUS]
    ruleset = replace(STANDARD, name="future", steps=tuple(chosen))
    assert not told(decide(_policy(ruleset), request_of())).startswith("allow")


def test_own_addresses_that_cannot_be_read_deny() -> None:
    config = gateway(ruleset="openclaw-2026.9", localInterfaces="auto")
    unread = policy_of({"g": config}, interfaces=lambda: None)
    assert told(decide(unread, request_of())) == "deny:trusted_proxy_local_interface_check_failed"
    peer = parse_address("10.0.0.7")
    assert peer is not None
    own = policy_of({"g": config}, interfaces=lambda: frozenset({peer}))
    assert told(decide(own, request_of())) == "deny:trusted_proxy_local_interface_source"
    other = policy_of({"g": config}, interfaces=frozenset)
    assert told(decide(other, request_of())) == "allow:nick@example.com"


def test_own_addresses_of_this_host_are_read() -> None:
    # 127.0.0.1 is one of every host's; a loopback peer is exempt, so that the list itself is looked at.
    from extauthz.config.compile import own_addresses  # noqa: PLC0415 - the only test that reads the host

    own = own_addresses()
    assert own is not None
    assert parse_address("127.0.0.1") in own
