"""Spoofed names and oversized requests: what is refused before any rule looks at it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, ask, gateway, policy_of, request_of, told
from cases.generated import bounded
from extauthz.core.decide import decide

ALLOWED = "allow:nick@example.com"
REFUSED = "deny:header_alias_refused"
MALFORMED = "deny:request_malformed"


@pytest.mark.parametrize(
    "name",
    [
        *("x_forwarded_user", "x.forwarded.user", "X-Forwarded_User", "x-forwarded user", "x\u2010forwarded-user"),
        *(
            "x_authz_user",
            "x.authz.gateway",
            "x-authz_decision",
            "x_authz_stamp",
            "X~Authz~Stamp",
            "x-authz\u212astamp",
        ),
    ],
)
def test_alias_of_a_protected_name_is_refused(name: str) -> None:
    assert ask(policy_of({"g": gateway()}), pairs=[*PAIRS, (name, "eve@example.com")]) == REFUSED


@pytest.mark.parametrize("name", ["x-forwarded-user", "X-AUTHZ-USER", "x-authz-stamp"])
def test_protected_name_itself_is_no_alias(name: str) -> None:
    policy = policy_of({"g": gateway({"userHeader": "x-id"})})
    assert ask(policy, pairs=[*PAIRS[1:], ("x-id", "nick@example.com"), (name, "eve")]) == ALLOWED


@pytest.mark.parametrize("name", ["x_authz", "x_authz_users", "xauthzuser", "x__authz_user", "x_forwarded_proto", "_"])
def test_name_that_becomes_another_name_is_no_alias(name: str) -> None:
    assert ask(policy_of({"g": gateway()}), pairs=[*PAIRS, (name, "1")]) == ALLOWED


def test_alias_of_a_renamed_header_is_refused_and_of_the_default_name_is_not() -> None:
    policy = policy_of({"g": gateway()}, headers={"user": "X-Id-User"})
    assert ask(policy, pairs=[*PAIRS, ("x_id_user", "eve")]) == REFUSED
    assert ask(policy, pairs=[*PAIRS, ("x_authz_user", "eve")]) == ALLOWED


def test_user_header_with_an_underscore_is_read_under_its_own_name_alone() -> None:
    policy = policy_of({"g": gateway({"userHeader": "X_Remote_User"})})
    assert ask(policy, pairs=[*PAIRS[1:], ("x_remote_user", "nick@example.com")]) == ALLOWED
    both = [*PAIRS[1:], ("x_remote_user", "nick@example.com"), ("x-remote-user", "eve")]
    assert ask(policy, pairs=both) == REFUSED


def test_alias_is_refused_under_every_gateway_for_its_own_names() -> None:
    policy = policy_of({"one": gateway(), "two": gateway({"userHeader": "x-remote-user"})})
    alias = [*PAIRS, ("x-remote-user", "nick@example.com"), ("x_remote_user", "eve")]
    assert ask(policy, gateway="one", pairs=alias) == ALLOWED
    assert ask(policy, gateway="two", pairs=alias) == REFUSED


@bounded
@given(name=st.text("xX-_. authzuser", min_size=1, max_size=14))
def test_no_spelling_of_the_user_header_gets_by(name: str) -> None:
    policy = policy_of({"g": gateway({"userHeader": "x-id", "requiredHeaders": []})})
    folded = name.lower()
    becomes = "".join(character if character.isalnum() else "-" for character in folded)
    wanted = REFUSED if becomes == "x-authz-user" and folded != "x-authz-user" else ALLOWED
    assert ask(policy, pairs=[("x-id", "nick@example.com"), (name, "eve")]) == wanted


def test_header_without_a_name_names_nobody() -> None:
    # A blank userHeader denies everything, also where something reads the header with the empty name.
    policy = policy_of({"g": gateway({"userHeader": " ", "requiredHeaders": [""]})})
    pairs = [("", "nick@example.com"), *PAIRS]
    assert ask(policy, pairs=pairs) == "deny:trusted_proxy_user_missing"


@pytest.mark.parametrize("limit", [3, 10])
def test_more_headers_than_the_limit_are_refused(limit: int) -> None:
    policy = policy_of({"g": gateway()}, limits={"headers": limit})
    exactly = [*PAIRS, *((f"x-{n}", "1") for n in range(limit - len(PAIRS)))]
    assert ask(policy, pairs=exactly) == ALLOWED
    assert ask(policy, pairs=[*exactly, ("x-more", "1")]) == MALFORMED
    # Copies of one name are one header.
    assert ask(policy, pairs=[*exactly, ("X-Forwarded-Proto", "https")]) == ALLOWED


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("cookie", "c" * 100, ALLOWED),
        ("cookie", "c" * 101, MALFORMED),
        ("cookie", "ü" * 50, ALLOWED),
        ("cookie", "ü" * 51, MALFORMED),
        ("n" * 100, "", ALLOWED),
        ("n" * 101, "", MALFORMED),
        ("é" * 51, "", MALFORMED),
    ],
)
def test_header_over_its_limit_is_refused(name: str, value: str, wanted: str) -> None:
    policy = policy_of({"g": gateway()}, limits={"headerBytes": 100})
    assert ask(policy, pairs=[*PAIRS, (name, value)]) == wanted


def test_copies_that_are_short_alone_and_long_together_are_refused() -> None:
    policy = policy_of({"g": gateway()}, limits={"headerBytes": 100})
    assert ask(policy, pairs=[*PAIRS, *[("x-a", "v" * 49)] * 2]) == ALLOWED
    assert ask(policy, pairs=[*PAIRS, *[("x-a", "v" * 49)] * 3]) == MALFORMED


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)], ids=hex)
def test_user_with_a_control_character_is_never_stated(code: int) -> None:
    # CR and LF split headers; NUL and the rest end or change a value in some server behind.
    policy = policy_of({"g": gateway({"allowUsers": []})})
    pairs = [("x-forwarded-user", f"ni{chr(code)}ck"), *PAIRS[1:]]
    assert ask(policy, pairs=pairs) == MALFORMED
    # Not even where the list has that very user.
    listed = policy_of({"g": gateway({"allowUsers": [f"ni{chr(code)}ck"]})})
    assert ask(listed, pairs=pairs) == MALFORMED


def test_user_longer_than_a_header_may_be_is_never_stated() -> None:
    policy = policy_of({"g": gateway({"allowUsers": []})}, limits={"headerBytes": 1_000_000})
    for user, wanted in (("n" * 1024, "allow:"), ("n" * 1025, MALFORMED), ("ü" * 513, MALFORMED)):
        assert ask(policy, pairs=[("x-forwarded-user", user), *PAIRS[1:]]).startswith(wanted)


def test_request_without_headers_at_all_is_malformed() -> None:
    policy = policy_of({"g": gateway()})
    unread = request_of()._replace(headers=None, fault="no HTTP attributes")
    assert told(decide(policy, unread)) == MALFORMED


def test_missing_or_unreadable_peer_is_not_malformed_but_untrusted() -> None:
    policy = policy_of({"g": gateway()})
    for peer in (None, "", "unix:", "10.0.0.7:80", "x" * 10_000):
        assert ask(policy, peer=peer) == "deny:trusted_proxy_untrusted_source"


def test_a_plain_name_that_is_an_alias_of_a_protected_name_with_an_underscore_is_refused() -> None:
    # Only the protected name is odd: a look at the request's names alone would pass this one.
    policy = policy_of({"g": gateway({"userHeader": "x_forwarded_user", "allowUsers": []})})
    pairs = [("x_forwarded_user", "nick@example.com"), *PAIRS[1:]]
    assert ask(policy, pairs=pairs).startswith("allow:")
    for alias in ("x-forwarded-user", "x.forwarded.user"):
        assert ask(policy, pairs=[*pairs, (alias, "admin")]) == "deny:header_alias_refused"
