"""Every case of the corpus through the core, and through the code that explains."""

import pytest

from cases.build import ask, policy_of, request_of, told
from cases.corpus import Case, Expected, addresses, cases, refused_entries
from cases.oracle import decide as oracle
from extauthz.core.address import AddressSet, parse_address, parse_entry
from extauthz.core.decide import decide
from extauthz.core.explain import explain

CASES = cases()


def _wanted(expected: Expected) -> str:
    return f"allow:{expected.user}" if expected.allowed else f"deny:{expected.reason}"


def _split(case: Case) -> tuple[list[tuple[str, str]], str]:
    """Return the headers and the host apart, as Envoy tells them."""
    hosts = [value for name, value in case.pairs if name.lower() == "host"]
    return [pair for pair in case.pairs if pair[0].lower() != "host"], hosts[0] if hosts else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_is_decided_as_observed_and_explained_as_decided(case: Case) -> None:
    pairs, host = _split(case)
    policy = policy_of({"g": case.gateway})
    for exact, expected in ((True, case.exact), (False, case.joined)):
        assert ask(policy, pairs=pairs, peer=case.peer, host=host, exact=exact) == _wanted(expected)
    request = request_of(pairs, peer=case.peer, host=host)
    explanation = explain(policy, request)
    assert told(explanation.decision) == told(decide(policy, request)) == _wanted(case.exact)
    *before, last = explanation.outcomes
    assert all(outcome.passed for outcome in before)
    assert last.passed == case.exact.allowed
    assert bool(explanation.hint) != case.exact.allowed


def test_independent_reading_of_the_rules_agrees_with_every_case() -> None:
    # The oracle of the random tests is itself held to what was observed.
    for case in CASES:
        pairs, host = _split(case)
        for exact, expected in ((True, case.exact), (False, case.joined)):
            found = oracle(case.gateway, peer=case.peer, pairs=pairs, host=host, exact=exact)
            assert found == _wanted(expected).removeprefix("deny:"), case.name


@pytest.mark.parametrize("case", addresses(), ids=lambda case: case["id"])
def test_address_is_in_the_list_or_is_not(case: dict[str, object]) -> None:
    entries = case["trustedProxies"]
    assert isinstance(entries, list)
    address = parse_address(case["ip"] if isinstance(case["ip"], str) else None)
    found = address is not None and address in AddressSet(map(parse_entry, entries))
    assert found == case["trusted"]


@pytest.mark.parametrize("entry", refused_entries(), ids=repr)
def test_entry_that_could_be_read_in_two_ways_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"write|prefix length"):
        parse_entry(entry)


def test_corpus_reaches_every_reason_of_the_rules() -> None:
    # A rule without a case could change unseen.
    reached = {case.exact.reason or "" for case in CASES}
    missing_header = {reason for reason in reached if reason.startswith("trusted_proxy_missing_header_")}
    assert missing_header
    assert reached - missing_header >= {
        "",
        "trusted_proxy_config_missing",
        "trusted_proxy_no_proxies_configured",
        "proxy_attribution_required",
        "trusted_proxy_untrusted_source",
        "trusted_proxy_loopback_source",
        "trusted_proxy_local_interface_source",
        "trusted_proxy_user_missing",
        "trusted_proxy_user_ambiguous",
        "trusted_proxy_user_not_allowed",
        "trusted_proxy_origin_not_allowed",
        "header_alias_refused",
        "request_malformed",
    }
