"""What the audit says about assertions: where one would help, and where one proves less than it may."""

from typing import Any

import pytest

from audit.finding_out import found, the
from cases.build import gateway
from extauthz.assertion.presets import PRESETS

POMERIUM = {"preset": "pomerium", "audience": "openclaw.example.com"}


def of(rules: dict[str, Any], **gateways: Any) -> list[str]:
    """The ids of the findings about assertions."""
    findings = found({"g": gateway(rules), **gateways})
    return [finding.id for finding in findings if "assertion" in finding.id]


@pytest.mark.parametrize(
    ("rules", "preset"),
    [
        ({"requiredHeaders": ["X-Pomerium-Jwt-Assertion"]}, "pomerium"),
        ({"userHeader": "x-pomerium-claim-email"}, "pomerium"),
        ({"userHeader": "Cf-Access-Authenticated-User-Email"}, "cloudflare-access"),
        ({"userHeader": "x-goog-authenticated-user-email"}, "google-iap"),
        ({"requiredHeaders": ["x-amzn-oidc-data"]}, "aws-alb"),
    ],
)
def test_proxies_that_sign_and_are_not_asked_for_it(rules: dict[str, Any], preset: str) -> None:
    seen = the("gateway.trusted_proxy_assertion_unverified", found({"g": gateway(rules)})).seen
    assert f"which signs {PRESETS[preset].header} (preset: {preset})" in seen
    assert not of({**rules, "assertion": POMERIUM})


def test_proxies_that_are_not_known_to_sign_are_left_alone() -> None:
    assert not of({"userHeader": "x-forwarded-user", "requiredHeaders": ["x-forwarded-proto"]})


@pytest.mark.parametrize(("key", "value"), [("maxAge", "25h"), ("keysKept", "2d")])
def test_what_is_believed_for_days(key: str, value: str) -> None:
    rules = {"assertion": {**POMERIUM, key: value}}
    assert of(rules) == ["gateway.trusted_proxy_assertion_long_lived"]
    seen = the("gateway.trusted_proxy_assertion_long_lived", found({"g": gateway(rules)})).seen
    assert seen == f"gateways.g.auth.trustedProxy.assertion.{key} is {value}"
    assert not of({"assertion": {**POMERIUM, key: "24h"}})


@pytest.mark.parametrize("claim", ["name", "preferred_username", "nickname"])
def test_a_claim_that_its_user_may_write(claim: str) -> None:
    assert of({"assertion": {**POMERIUM, "userClaim": claim}}) == ["gateway.trusted_proxy_assertion_chosen_claim"]


@pytest.mark.parametrize("claim", ["email", "sub"])
def test_a_claim_that_the_provider_gives(claim: str) -> None:
    assert not of({"assertion": {**POMERIUM, "userClaim": claim}})


def test_tokens_that_open_two_gateways() -> None:
    both = {"assertion": POMERIUM}
    assert of(both, h=gateway(both)) == ["service.assertion_opens_several"]
    assert not of(both, h=gateway({"assertion": {**POMERIUM, "audience": "research.example.com"}}))


def test_gateways_whose_user_the_claim_names_have_a_user() -> None:
    findings = found({"g": gateway({"userHeader": None, "requiredHeaders": [], "assertion": POMERIUM})})
    ids = [finding.id for finding in findings]
    assert "gateway.trusted_proxy_no_user_header" not in ids
    assert "gateway.trusted_proxy_no_required_headers" not in ids
    assert "who the user is, by a signed assertion" in the("gateway.trusted_proxy_auth", findings).seen
