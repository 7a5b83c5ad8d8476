"""The browser's Origin: what is one, and which pages may act for a visitor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, ask, gateway, policy_of
from cases.generated import ORIGINS, bounded
from cases.oracle import read_origin as plainly
from extauthz.core.origin import Origin, is_private_host, parse_configured_origin, parse_origin


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("https://a.example", "https://a.example"),
        (" HTTPS://A.Example/ ", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80/", "http://a.example"),
        ("https://a.example:80", "https://a.example:80"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_origin_is_read_and_compared_in_one_form(text: str, same: str) -> None:
    origin = parse_origin(text)
    assert origin is not None
    assert origin.text == same


@pytest.mark.parametrize(
    "text",
    [
        *("null", "https://nick@a.example", "https://nick:x@a.example", "https://a.example/a", "https://a.example//"),
        *("https://a.example?x", "https://a.example#x", "https://", "//a.example", "a.example", "https:a.example"),
        *("https://a.example:", "https://a.example:99999", "https://a.example:-1", "https://a.example:8a"),
        *(
            "https://a.example, https://b.example",
            "https://a.example https://b.example",
            "https://a.example\\@b.example",
        ),
        *("https://[::1", "https://[zz]", "https://[10.0.0.1:]", "https://a\u212a.example", "https://\u0430.example"),
        *("https://a.example\n", "https://a.exa\0mple", "https://%61.example", "https://" + "a" * 600),
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    origin = parse_origin(text)
    # A line's end around an origin is white space, and taken off.
    assert origin == (Origin("https://a.example", "a.example") if text == "https://a.example\n" else None)


@bounded
@given(
    text=st.sampled_from(ORIGINS)
    | st.from_regex(r"[hw]s?ttp?s?://[a-z.\[\]:0-9]{0,12}(:[0-9]{1,5})?/?", fullmatch=True)
)
def test_origin_is_read_as_plain_code_reads_it(text: str) -> None:
    origin = parse_origin(text)
    assert (None if origin is None else (origin.text, origin.host_port)) == plainly(text)


@pytest.mark.parametrize(
    "entry", ["a.example", "https://a.example/", "https://a.example/a", "null", "", " ", "https://*.a.example"]
)
def test_configured_entry_that_no_origin_equals_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="write scheme://host"):
        parse_configured_origin(entry)


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1", "172.31.255.255:80", "192.168.0.1", "[fd00::1]:8080", "[fe80::1]", "[::ffff:10.0.0.1]"),
        *("box.local", "BOX.LOCAL:8080", "a.b.ts.net"),
    ],
)
def test_private_hosts(host: str) -> None:
    assert is_private_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("8.8.8.8", "172.32.0.1", "[2001:db8::1]", "localhost", "local", "notlocal", "ts.net.evil.example"),
        *("box.local.evil.example", "010.0.0.1", "10.1", "", "[", ":80"),
    ],
)
def test_hosts_that_only_resemble_private_ones(host: str) -> None:
    assert not is_private_host(host)


WEBSOCKET = (("upgrade", "websocket"), ("connection", "Upgrade"))


@pytest.mark.parametrize("ruleset", ["standard", "openclaw-2026.9"])
def test_cross_site_websocket_hijacking_is_stopped(ruleset: str) -> None:
    # A page of another site opens a WebSocket with the visitor's cookies: the proxy vouches for the visitor.
    config = gateway(ruleset=ruleset, controlUi={"allowedOrigins": ["https://gateway.example.com"]})
    policy = policy_of({"g": config})
    for origin, wanted in (
        ("https://evil.example", "deny:trusted_proxy_origin_not_allowed"),
        ("null", "deny:trusted_proxy_origin_not_allowed"),
        ("https://gateway.example.com.evil.example", "deny:trusted_proxy_origin_not_allowed"),
        ("https://gateway.example.com", "allow:nick@example.com"),
    ):
        pairs = [*PAIRS, *WEBSOCKET, ("origin", origin)]
        assert ask(policy, pairs=pairs, host="gateway.example.com") == wanted


def test_host_header_of_the_attackers_choice_does_not_make_an_origin_allowed() -> None:
    # DNS rebinding: the attacker's name points at the Gateway, so that Origin and Host agree.
    policy = policy_of({"g": gateway(ruleset="openclaw-2026.9")})
    pairs = [*PAIRS, ("origin", "https://rebound.evil.example")]
    assert ask(policy, pairs=pairs, host="rebound.evil.example") == "deny:trusted_proxy_origin_not_allowed"


def test_dangerous_fallback_does_what_its_name_says_and_only_then() -> None:
    fallback = {"dangerouslyAllowHostHeaderOriginFallback": True, "allowedOrigins": []}
    policy = policy_of({"g": gateway(ruleset="openclaw-2026.9", controlUi=fallback)})
    pairs = [*PAIRS, ("origin", "https://a.example")]
    assert ask(policy, pairs=pairs, host="A.Example") == "allow:nick@example.com"
    assert ask(policy, pairs=pairs, host="b.example") == "deny:trusted_proxy_origin_not_allowed"
    assert ask(policy, pairs=pairs, host="a.example:8443") == "deny:trusted_proxy_origin_not_allowed"
