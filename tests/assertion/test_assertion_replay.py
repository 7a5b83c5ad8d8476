"""A decision log decided again: the token is not in it, and what it was worth then counts, or is said to be unknown."""

from pathlib import Path
from typing import Any

import pytest

from assertion.cases import EVE, FORGER, HEADER, assertion
from assertion.issuer import USER, Issuer
from assertion.judge import jwks_file
from cases.build import gateway, load_gateways, request_of, told
from extauthz.assembly import version_of
from extauthz.assertion.assertions import Assertions
from extauthz.config.compile import compile_policy
from extauthz.core.policy import Policy
from extauthz.explaining.asserted import AsLogged, UntoldError
from extauthz.explaining.decision_log import decide_again, read_decision
from extauthz.telemetry.lines import line
from telemetry.records import record_of


class Log:
    """Lines of requests as a service with these rules decided them."""

    def __init__(self, folder: Path) -> None:
        self.issuer = Issuer()
        self.assertion = assertion(str(jwks_file(folder, self.issuer)))

    def rules(self, **changed: Any) -> dict[str, Any]:
        """The rules of the gateway, with changes; None takes a key away."""
        every = {"userHeader": "x-forwarded-user", "requiredHeaders": [], "assertion": self.assertion, **changed}
        return gateway(
            {key: value for key, value in every.items() if value is not None} | {"userHeader": every["userHeader"]}
        )

    def line(self, pairs: list[tuple[str, str]], **changed: Any) -> dict[str, Any]:
        """The line of one request, as it was decided then."""
        loaded = load_gateways({"g": self.rules(**changed)})
        assertions = Assertions(patient=True)
        policy = compile_policy(loaded, frozenset, verifiers=assertions.verifier)
        request = request_of(pairs)
        record = record_of(policy, request, version=version_of(loaded.settings))
        assertions.close()
        return dict(line(record, ()))

    def policy(self, **changed: Any) -> Policy:
        """The policy of a file, as a replay compiles it."""
        return compile_policy(load_gateways({"g": self.rules(**changed)}), frozenset, verifiers=AsLogged)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def both(token: str, user: str = USER) -> list[tuple[str, str]]:
    return [("x-forwarded-user", user), (HEADER, token)]


@pytest.mark.parametrize("before", [True, False], ids=["with the file of then", "without"])
def test_what_a_token_was_worth_then_counts_again(log: Log, before: bool) -> None:
    for pairs in (
        both(log.issuer.token()),
        both(log.issuer.token({"aud": "other"})),
        both(log.issuer.token(now=1_700_000_000)),
        both(FORGER.token()),
        both(log.issuer.token(), EVE),
        [("x-forwarded-user", USER)],
    ):
        found = log.line(pairs)
        again = decide_again(log.policy(), read_decision(found), log.policy() if before else None)
        assert told(again.decision) == (f"allow:{USER}" if found["result"] == "allow" else f"deny:{found['reason']}")
        rests = [] if before or len(pairs) == 1 else ["the assertion was wanted then as now"]
        assert list(again.rests_on) == rests


def test_who_was_not_on_the_list_is_let_in_by_a_list_that_has_them(log: Log) -> None:
    found = log.line(both(log.issuer.token({"email": EVE}), EVE))
    assert found["reason"] == "trusted_proxy_user_not_allowed"
    again = decide_again(log.policy(allowUsers=[EVE]), read_decision(found), log.policy())
    assert told(again.decision) == f"allow:{EVE}"


def test_the_user_of_the_claim_is_who_it_was(log: Log) -> None:
    found = log.line([(HEADER, log.issuer.token())], userHeader=None)
    again = decide_again(log.policy(userHeader=None), read_decision(found), log.policy(userHeader=None))
    assert told(again.decision) == f"allow:{USER}"


@pytest.mark.parametrize(
    "then",
    [{"assertion": None}, {"assertion": {"preset": "pomerium", "audience": "research.example.com"}}],
    ids=["none", "other"],
)
def test_a_token_that_was_not_verified_then_cannot_be_told(log: Log, then: dict[str, Any]) -> None:
    found = log.line(both(log.issuer.token()), assertion=None)
    with pytest.raises(UntoldError, match="what it was worth is not logged"):
        decide_again(log.policy(), read_decision(found), log.policy(**then))


def test_a_request_that_did_not_get_that_far_cannot_be_told(log: Log) -> None:
    found = log.line(both(log.issuer.token()), requiredHeaders=["x-proof"])
    with pytest.raises(UntoldError):
        decide_again(log.policy(), read_decision(found))


def test_a_token_that_did_not_come_is_missing_now_too(log: Log) -> None:
    found = log.line([("x-forwarded-user", USER)], assertion=None)
    again = decide_again(log.policy(), read_decision(found))
    assert told(again.decision) == "deny:trusted_proxy_assertion_missing"
