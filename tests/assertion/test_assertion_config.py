"""What an assertion may say: every fault names its place and its cure, and what a preset knows is filled in."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from assertion.issuer import Issuer
from assertion.judge import jwks_file
from cases.build import gateway, load_gateways, text_of
from extauthz.assertion.rules import MAX_SOURCES, KeySource
from extauthz.cli import main
from extauthz.config.assertions import rules_of
from extauthz.config.faults import ConfigError

ARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/claw/50dc6c495c0c9188"
POMERIUM = {"preset": "pomerium", "audience": "openclaw.example.com"}
CUSTOM = {
    "header": "x-id-token",
    "issuer": "https://idp.example.com",
    "audience": "claw",
    "jwks": "https://idp.example.com/keys",
    "algorithms": ["ES256"],
}


def faults(assertion: Any, **rules: Any) -> list[str]:
    """The faults of a file whose gateway has this assertion, without its place."""
    with pytest.raises(ConfigError) as raised:
        load_gateways({"g": gateway({"assertion": assertion, **rules})})
    place = "gateways.g.auth.trustedProxy.assertion."
    return [f"{fault.path.removeprefix(place)}: {fault.message}" for fault in raised.value.faults]


def rules(assertion: dict[str, Any]) -> Any:
    """The rules that come of an assertion."""
    (found,) = load_gateways({"g": gateway({"assertion": assertion})}).settings.gateways.values()
    assert found.auth is not None
    assert found.auth.trusted_proxy is not None
    assert found.auth.trusted_proxy.assertion is not None
    return rules_of(found.auth.trusted_proxy.assertion, Path("/folder").joinpath)


@pytest.mark.parametrize(
    ("assertion", "fault"),
    [
        ({}, "audience: is missing: without it, a token that the proxy signed for another application would open"),
        ({"preset": "pomerium"}, "audience: is missing: without it, a token that the proxy signed for another app"),
        ({"preset": "pomerium", "audience": ""}, "audience: '' is blank"),
        ({"preset": "pomerium", "audience": []}, "audience: must not be empty"),
        ({"preset": "google"}, "preset: must be 'pomerium', 'cloudflare-access', 'google-iap', 'aws-alb' or"),
        ({"preset": "cloudflare-access", "audience": "x"}, "issuer: is missing: write your team's address, such as"),
        (
            {"preset": "oauth2-proxy", "audience": "x", "issuer": "y"},
            "jwks: is missing: write where the issuer publish",
        ),
        ({"preset": "aws-alb", "audience": "x", "issuer": "y"}, "signer: is missing: anybody's AWS Application Load"),
        (
            {"preset": "aws-alb", "audience": "x", "issuer": "y", "signer": "mine"},
            "jwks: is missing: the signer 'mine' is",
        ),
        ({**POMERIUM, "algorithms": ["none"]}, "algorithms[0]: must be 'ES256', "),
        ({**POMERIUM, "algorithms": ["HS256"]}, "algorithms[0]: must be 'ES256', "),
        ({**POMERIUM, "algorithms": []}, "algorithms: must not be empty"),
        (
            {**POMERIUM, "jwks": "http://keys.example.com/"},
            "jwks: JWKS source http://keys.example.com: plain http is for",
        ),
        ({**POMERIUM, "jwks": "ftp://127.0.0.1/"}, "jwks: JWKS source ftp: only https, loopback http, a file"),
        ({**POMERIUM, "jwks": "https://nick:secret@a.example/"}, "jwks: JWKS source: a URL without user, password"),
        (
            {**POMERIUM, "jwks": "https://{kid}.example.com/"},
            "jwks: 'https://{kid}.example.com/': {kid} stands once, in",
        ),
        (
            {**POMERIUM, "jwks": "https://a.example/{region}"},
            "jwks: 'https://a.example/{region}': {kid} is the only name",
        ),
        ({**POMERIUM, "audience": "a b"}, "jwks: is taken from the other keys, and wrong: "),
        ({**POMERIUM, "audience": "{kid}.example.com"}, "jwks: is taken from the other keys, and wrong: "),
        ({**CUSTOM, "header": "X-Forwarded-User"}, "header: 'x-forwarded-user' is also userHeader, or an alias of it"),
        ({**CUSTOM, "header": "x_forwarded_user"}, "header: 'x_forwarded_user' is also userHeader, or an alias of it"),
        ({**CUSTOM, "header": "x-authz-stamp"}, "header: 'x-authz-stamp' is also headers.stamp, or an alias of it"),
        (
            {**CUSTOM, "header": "Cookie"},
            "header: 'cookie' carries something else: the token needs a header of its own",
        ),
        ({**CUSTOM, "header": "x-forwarded-for"}, "header: 'x-forwarded-for' carries something else"),
        ({**POMERIUM, "maxAge": "9s"}, "maxAge: must be 10s to "),
        ({**POMERIUM, "leeway": "301s"}, "leeway: must be 0s to 300s"),
        ({**POMERIUM, "keysKept": "31d"}, "keysKept: must be 60s to "),
        ({**POMERIUM, "maxAge": "soon"}, "maxAge: 'soon' is no duration"),
        ({**POMERIUM, "secret": "x"}, "secret: unknown key here"),
        ({**POMERIUM, "alogrithms": ["ES256"]}, "alogrithms: unknown key; did you mean `algorithms`?"),
        ({**POMERIUM, "userClaim": " email"}, "userClaim: ' email' is blank, has white space around it"),
    ],
)
def test_a_fault_names_its_place_and_its_cure(assertion: dict[str, Any], fault: str) -> None:
    found = faults(assertion)
    assert any(one.startswith(fault) for one in found), found
    assert not any("secret@" in one for one in found)


def test_everything_that_is_missing_is_told_at_once() -> None:
    assert [one.partition(":")[0] for one in faults({})] == ["audience", "header", "issuer", "jwks", "algorithms"]


def test_sources_have_a_bound() -> None:
    every = {
        f"g{at}": gateway({"assertion": {**POMERIUM, "audience": f"g{at}.example.com"}})
        for at in range(MAX_SOURCES + 1)
    }
    with pytest.raises(ConfigError, match=f"keys are fetched from {MAX_SOURCES} different places at most"):
        load_gateways(every)
    same = {name: gateway({"assertion": {**POMERIUM, "jwks": "keys.json"}}) for name in every}
    load_gateways(same)


@pytest.mark.parametrize(("key", "value"), [("keysKept", "{}h"), ("jwksCa", "ca-{}.pem")])
def test_one_place_that_is_read_in_many_ways_is_many_sources(key: str, value: str) -> None:
    every = {f"g{at}": gateway({"assertion": {**POMERIUM, key: value.format(at + 1)}}) for at in range(MAX_SOURCES + 1)}
    with pytest.raises(ConfigError, match=f"keys are fetched from {MAX_SOURCES} different places at most"):
        load_gateways(every)


def test_a_preset_is_filled_from_what_the_file_says() -> None:
    found = rules(POMERIUM)
    assert found.source == KeySource(location="https://openclaw.example.com/.well-known/pomerium/jwks.json")
    assert (found.issuer, found.audiences) == ("openclaw.example.com", ("openclaw.example.com",))
    alb = rules({"preset": "aws-alb", "signer": ARN, "issuer": "https://idp", "audience": "client"})
    assert alb.source.location == "https://public-keys.auth.elb.eu-central-1.amazonaws.com/{kid}"
    assert (alb.signer, alb.claims_in_header, alb.padded) == (ARN, True, True)
    cloudflare = rules(
        {"preset": "cloudflare-access", "issuer": "https://t.cloudflareaccess.com", "audience": ["a", "b"]}
    )
    assert cloudflare.source.location == "https://t.cloudflareaccess.com/cdn-cgi/access/certs"
    assert cloudflare.audiences == ("a", "b")


def test_what_the_file_says_comes_before_the_preset() -> None:
    said = {
        "issuer": "https://openclaw.example.com/",
        "jwks": "keys.json",
        "jwksCa": "ca.pem",
        "algorithms": ["RS256"],
        "userClaim": "sub",
        "maxAge": "5m",
        "keysKept": "1h",
        "leeway": "0s",
        "type": "id+jwt",
    }
    found = rules({**POMERIUM, **said})
    assert found.source == KeySource(location="/folder/keys.json", ca="/folder/ca.pem", keep_seconds=3600.0)
    assert (found.issuer, found.user_claim, found.max_age, found.leeway) == (
        "https://openclaw.example.com/",
        "sub",
        300.0,
        0,
    )
    assert (found.algorithms, found.token_type) == (frozenset({"RS256"}), "id+jwt")


def test_a_gateway_with_an_assertion_and_no_user_header_is_complete() -> None:
    assert not load_gateways({"g": gateway({"userHeader": None, "assertion": POMERIUM})}).incomplete
    assert load_gateways({"g": gateway({"userHeader": None})}).incomplete


def test_the_check_says_which_files_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "extauthz.yaml"
    config = {"gateways": {"g": gateway({"assertion": {**POMERIUM, "jwks": "jwks.json", "jwksCa": "ca.pem"}})}}
    file.write_text(text_of(config), encoding="utf-8")
    result = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert result.exit_code == 1
    assert "assertion.jwks: " in result.output
    assert "assertion.jwksCa: " in result.output
    jwks_file(tmp_path, Issuer())
    del config["gateways"]["g"]["auth"]["trustedProxy"]["assertion"]["jwksCa"]
    file.write_text(text_of(config), encoding="utf-8")
    result = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert result.exit_code == 0, result.output
