"""A log decided again under another file says what that file decides about the same request, or that it cannot tell."""

import io
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.build import load_gateways, request_of, told
from cases.corpus import RULESETS, cases
from cases.generated import Example, bounded, examples
from explaining.logged import log_line
from extauthz.config.compile import compile_policy
from extauthz.core.decide import decide
from extauthz.explaining.asserted import UntoldError
from extauthz.explaining.decision_log import decide_again, read_decision
from extauthz.explaining.lines import read_lines
from extauthz.explaining.replay import replay

CASES = cases()


def test_under_the_same_file_nothing_changes() -> None:
    loaded = load_gateways({case.gateway_id: case.gateway for case in CASES})
    policy = compile_policy(loaded, frozenset)
    requests = [request_of(case.pairs, peer=case.peer, gateway=case.gateway_id) for case in CASES]
    # One policy for each line takes long: every tenth of the corpus is enough here, the random files below do the rest.
    log = b"".join(log_line(loaded, request) for request in requests[::10])
    *_, report = replay(policy, read_lines(io.BytesIO(log)))
    assert report.lines == len(requests[::10]) > 40
    assert +report.kinds == Counter(unchanged=report.lines)


@pytest.mark.parametrize("before", RULESETS)
@pytest.mark.parametrize("now", RULESETS)
def test_what_is_told_is_what_would_be_decided_and_nothing_is_guessed(before: str, now: str) -> None:
    seen = Counter[str]()

    @settings(bounded, max_examples=40, derandomize=True, database=None)
    @given(then=examples(before, requests=8), present=examples(now, requests=4), exact=st.booleans())
    def agree(then: Example, present: Example, *, exact: bool) -> None:
        old, new = load_gateways({"g": then.gateway}), load_gateways({"g": present.gateway})
        policy = compile_policy(new, frozenset)
        old_policy = compile_policy(old, frozenset)
        for asked in (*then.requests, *present.requests):
            request = request_of(asked.pairs, peer=asked.peer, host=asked.host, exact=exact)
            logged = read_decision(json.loads(log_line(old, request)))
            wanted = told(decide(policy, request))
            try:
                found = told(decide_again(policy, logged, old_policy).decision)
            except UntoldError:
                seen["untold"] += 1
                continue
            seen[found.partition(":")[0]] += 1
            assert found == wanted, (then.gateway, present.gateway, asked)

    agree()
    # It would be true of a replay that never tells anything, too.
    assert seen["allow"] > 0
    assert seen["deny"] > seen["untold"]


@pytest.mark.parametrize("ruleset", RULESETS)
def test_an_allow_that_is_wrong_for_want_of_the_old_file_says_what_it_rests_on(ruleset: str) -> None:
    @settings(bounded, max_examples=40, derandomize=True, database=None)
    @given(then=examples(ruleset, requests=8), present=examples(ruleset, requests=4))
    def says(then: Example, present: Example) -> None:
        old, policy = (
            load_gateways({"g": then.gateway}),
            compile_policy(load_gateways({"g": present.gateway}), frozenset),
        )
        for asked in (*then.requests, *present.requests):
            request = request_of(asked.pairs, peer=asked.peer, host=asked.host)
            logged = read_decision(json.loads(log_line(old, request)))
            try:
                again = decide_again(policy, logged)
            except UntoldError:
                continue
            if told(again.decision) != told(decide(policy, request)):
                assert any(what.endswith("was not blank") for what in again.rests_on), (then, present, asked)

    says()
