"""What a gateway decides with an assertion: the cases, the order of the steps, and what explain tells."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from assertion.cases import CASES, EVE, FORGER, HEADER, Case, assertion, gateways
from assertion.issuer import AUDIENCE, USER, Issuer
from assertion.judge import jwks_file
from cases.build import PEER, load_gateways, request_of, told
from extauthz.assertion.assertions import Assertions
from extauthz.config.compile import compile_policy
from extauthz.core.decide import decide
from extauthz.core.explain import explain
from extauthz.core.policy import Policy
from extauthz.core.reasons import REASONS
from extauthz.core.rulesets import RULESETS


class Decider:
    """A policy whose assertions are verified with one issuer's key."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        self.issuer = Issuer()
        self.assertions = Assertions(patient=True)
        self.jwks = str(jwks_file(folder, self.issuer))
        self.policy = self.compiled(gateways(self.jwks, PEER, **changed))

    def compiled(self, data: dict[str, Any]) -> Policy:
        """Compile gateways whose assertions are verified here."""
        return compile_policy(load_gateways(data), frozenset, verifiers=self.assertions.verifier)


@pytest.fixture
def decider(tmp_path: Path) -> Iterator[Decider]:
    found = Decider(tmp_path)
    yield found
    found.assertions.close()


@pytest.mark.parametrize("exact", [True, False], ids=["raw", "joined"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_cases(case: Case, exact: bool, decider: Decider) -> None:
    request = request_of(case.headers(decider.issuer), gateway=case.gateway, exact=exact)
    assert told(decide(decider.policy, request)) == case.told
    explained = explain(decider.policy, request)
    assert told(explained.decision) == case.told
    said = json.dumps([outcome.detail for outcome in explained.outcomes] + [explained.hint])
    for _, value in case.headers(decider.issuer):
        for part in value.split("."):
            assert len(part) < 40 or part not in said


def test_every_reason_has_its_case() -> None:
    wanted = {code for code in REASONS if "_assertion_" in code}
    assert wanted == {case.told.partition(":")[2] for case in CASES} & wanted


@pytest.mark.parametrize("ruleset", RULESETS)
def test_every_ruleset_asks_after_the_user_header_and_before_the_list(ruleset: str) -> None:
    names = [step.name for step in RULESETS[ruleset].steps]
    assert names.index("user_unambiguous") + 1 == names.index("assertion") == names.index("user_allowed") - 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"peer": "10.0.0.8"}, "trusted_proxy_untrusted_source"),
        ({"peer": None}, "trusted_proxy_untrusted_source"),
    ],
)
def test_a_token_that_is_carried_past_the_proxy(decider: Decider, changed: dict[str, Any], reason: str) -> None:
    request = request_of([(HEADER, decider.issuer.token())], gateway="claims", **changed)
    assert told(decide(decider.policy, request)) == f"deny:{reason}"
    assert not decider.assertions.signatures.total  # who is not trusted costs no signature


def test_required_headers_come_before_the_token(decider: Decider) -> None:
    data = gateways(decider.jwks, PEER)["claims"]
    data["auth"]["trustedProxy"]["requiredHeaders"] = ["x-forwarded-proto"]
    policy = decider.compiled({"g": data})
    assert told(decide(policy, request_of([(HEADER, "x")]))) == "deny:trusted_proxy_missing_header_x-forwarded-proto"


def _step(decider: Decider, headers: Sequence[tuple[str, str]], gateway: str = "openclaw") -> tuple[str, str]:
    explained = explain(decider.policy, request_of(headers, gateway=gateway))
    (detail,) = (outcome.detail for outcome in explained.outcomes if outcome.step == "assertion")
    return detail, explained.hint


def test_explain_says_what_was_verified(decider: Decider) -> None:
    detail, hint = _step(decider, [(HEADER, decider.issuer.token())], "claims")
    assert detail.startswith(f"signed with key key-1 of openclaw.example.com for {AUDIENCE}, expires in ")
    assert detail.endswith(f'; its email is "{USER}"')
    assert not hint


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ([("x-pomerium-jwt-asertion", "x")], 'Is it "x-pomerium-jwt-asertion", which arrived and differs'),
        ([(HEADER, " ")], "arrived and is blank"),
        ([(HEADER, "a,b")], "it came more than once, or holds a comma"),
    ],
)
def test_hint_says_what_arrived(decider: Decider, headers: list[tuple[str, str]], seen: str) -> None:
    assert seen in _step(decider, headers, "claims")[1]


def test_hint_says_who_each_of_the_two_names(decider: Decider) -> None:
    _, hint = _step(decider, [("x-forwarded-user", EVE), (HEADER, decider.issuer.token())])
    assert f'"x-forwarded-user" names "{EVE}", and email of the token is "{USER}"' in hint


def test_hint_says_for_whom_a_token_is(decider: Decider) -> None:
    _, hint = _step(decider, [(HEADER, decider.issuer.token())], "research")
    assert "it is for openclaw.example.com; wanted is research.example.com" in hint


def test_explain_says_of_another_scheme_that_it_is_none(decider: Decider) -> None:
    _, hint = _step(decider, [("authorization", "Basic bmljazpw")], "bearer")
    assert "has another scheme than Bearer" in hint
    assert "bmljazpw" not in hint


def test_gateways_without_an_assertion_are_not_asked_for_one(decider: Decider) -> None:
    data = gateways(decider.jwks, PEER)["openclaw"]
    del data["auth"]["trustedProxy"]["assertion"]
    policy = decider.compiled({"g": data})
    assert "assertion" not in [step.name for step in policy.gateways["g"].asked]
    assert told(decide(policy, request_of([("x-forwarded-user", USER)]))) == f"allow:{USER}"


def test_policies_that_nobody_gave_keys_believe_no_token(decider: Decider) -> None:
    policy = compile_policy(load_gateways(gateways(decider.jwks, PEER)), frozenset)
    request = request_of([(HEADER, decider.issuer.token())], gateway="claims")
    assert told(decide(policy, request)) == "deny:trusted_proxy_assertion_invalid"


def test_a_claim_of_white_space_around_a_user_is_that_user(decider: Decider) -> None:
    request = request_of([(HEADER, decider.issuer.token({"email": f" {USER}\t"}))], gateway="claims")
    assert told(decide(decider.policy, request)) == f"allow:{USER}"


def test_a_control_character_in_the_claim_is_never_stated(decider: Decider) -> None:
    data = gateways(decider.jwks, PEER)["claims"]
    del data["auth"]["trustedProxy"]["allowUsers"]
    policy = decider.compiled({"g": data})
    for user in ("nick\nx-admin: 1", "nick\0", "u" * 1025):
        request = request_of([(HEADER, decider.issuer.token({"email": user}))])
        assert told(decide(policy, request)) == "deny:request_malformed"


def test_gateways_that_want_the_same_share_what_was_verified(decider: Decider) -> None:
    token = decider.issuer.token()
    for gateway in ("openclaw", "claims", "openclaw"):
        headers = [("x-forwarded-user", USER), (HEADER, token)]
        assert told(decide(decider.policy, request_of(headers, gateway=gateway))) == f"allow:{USER}"
    assert decider.assertions.signatures.total == 1
    assert len(decider.assertions.statuses()) == 1
    assert assertion(decider.jwks)["jwks"] == decider.assertions.statuses()[0].name


def test_a_forged_token_of_the_right_kid_is_looked_at_each_time(decider: Decider) -> None:
    for _ in range(2):
        request = request_of([(HEADER, FORGER.token())], gateway="claims")
        assert told(decide(decider.policy, request)) == "deny:trusted_proxy_assertion_invalid"
    assert decider.assertions.signatures.total == 2
