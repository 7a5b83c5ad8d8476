"""Attacks by what a well signed stamp says, or by using it again: each test is named for the attack that it stops."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from extauthz.gateway import StampRefused
from extauthz.stamp.claims import path_hash
from gateway.forge import FORGE, GATEWAY, HOST, NOW, OTHER, USER, Clock, Forge, identity, refusal


@pytest.mark.parametrize("audience", ["other", "OPENCLAW", "openclaw ", " openclaw", "openclaw2", "*"])
def test_a_stamp_of_another_gateway(audience: str) -> None:
    assert refusal(FORGE.stamp({"aud": audience})) == "stamp_audience"


@pytest.mark.parametrize("audience", [[GATEWAY], [GATEWAY, "other"], {}, None, "", 1, True])
def test_an_audience_that_is_not_one_text(audience: object) -> None:
    assert refusal(FORGE.stamp({"aud": audience})) == "stamp_claims"


def test_a_stamp_of_another_issuer() -> None:
    assert refusal(FORGE.stamp({"iss": "evil"})) == "stamp_issuer"
    assert refusal(FORGE.stamp(), FORGE.verifier(issuer="other")) == "stamp_issuer"
    assert refusal(FORGE.stamp({"iss": None})) == "stamp_claims"


@pytest.mark.parametrize("method", ["POST", "get", "", None])
def test_a_stamp_of_another_method(method: str | None) -> None:
    assert refusal(FORGE.stamp(), method=method) == "stamp_method"


@pytest.mark.parametrize(
    "host", ["evil.example", f"{HOST}.evil.example", f"{HOST}.", f"a@{HOST}", f"{HOST},{HOST}", "", None]
)
def test_a_stamp_of_another_host(host: str | None) -> None:
    assert refusal(FORGE.stamp(), host=host) == "stamp_host"


def test_the_hosts_case_and_port_do_not_matter() -> None:
    assert identity(FORGE.stamp(), host="GateWay.Example.com:8443").user == USER


@pytest.mark.parametrize("path", ["/a?b=2", "/a", "/A?b=1", "/a%3Fb=1", "//a?b=1", "/a?b=1#c", None])
def test_a_stamp_of_another_path(path: str | None) -> None:
    stamp = FORGE.stamp({"pth": path_hash("/a?b=1")})
    assert identity(stamp, path="/a?b=1").user == identity(stamp, path=b"/a?b=1").user == USER
    assert refusal(stamp, path=path) == "stamp_path"


def test_an_expired_stamp() -> None:
    verifier = FORGE.verifier(clock=Clock(NOW + 70))
    assert refusal(FORGE.stamp(), verifier) == "stamp_expired"


def test_a_stamp_that_expires_while_it_is_remembered() -> None:
    clock = Clock()
    verifier = FORGE.verifier(clock=clock)
    stamp = FORGE.stamp()
    assert identity(stamp, verifier).user == USER
    clock.now = NOW + 69.9
    assert identity(stamp, verifier).user == USER
    clock.now = NOW + 70
    assert refusal(stamp, verifier) == "stamp_expired"


def test_a_remembered_stamp_on_another_request() -> None:
    verifier = FORGE.verifier()
    stamp = FORGE.stamp()
    assert identity(stamp, verifier).user == USER
    assert refusal(stamp, verifier, method="POST") == "stamp_method"
    assert refusal(stamp, verifier, host="evil.example") == "stamp_host"


def test_a_stamp_that_is_not_yet_valid() -> None:
    assert refusal(FORGE.stamp(now=NOW + 11)) == "stamp_not_yet_valid"
    assert refusal(FORGE.stamp({"nbf": NOW + 11})) == "stamp_not_yet_valid"


def test_clock_skew_within_the_leeway_is_accepted() -> None:
    assert identity(FORGE.stamp(now=NOW + 10)).user == USER
    assert identity(FORGE.stamp(now=NOW - 69)).user == USER
    strict = FORGE.verifier(leeway=0)
    assert refusal(FORGE.stamp(now=NOW + 1), strict) == "stamp_not_yet_valid"
    assert refusal(FORGE.stamp(now=NOW - 60), strict) == "stamp_expired"


@pytest.mark.parametrize("lifetime", [0, -1, 3601, 10**9])
def test_a_stamp_for_ever(lifetime: int) -> None:
    assert refusal(FORGE.stamp({"exp": NOW + lifetime})) == "stamp_lifetime"


@pytest.mark.parametrize("digits", [12, 400, 2000])
def test_times_that_no_clock_shows(digits: int) -> None:
    for time in (-1, 10**digits):
        assert refusal(FORGE.stamp({"iat": time, "exp": time + 60})) == "stamp_claims"
        assert refusal(FORGE.stamp({"nbf": time})) == "stamp_claims"


@pytest.mark.parametrize("time", [None, "1800000060", 1.8e9, True, [], {}])
@pytest.mark.parametrize("claim", ["iat", "exp"])
def test_times_that_are_no_whole_seconds(claim: str, time: object) -> None:
    assert refusal(FORGE.stamp({claim: time})) == "stamp_claims"


def test_numbers_that_are_not_json() -> None:
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1" * 5000):
        payload = json.dumps(FORGE.claims()).encode().replace(str(NOW).encode(), number)
        assert refusal(FORGE.sign(json.dumps(FORGE.header).encode(), payload)) == "stamp_malformed"


@pytest.mark.parametrize(
    "user",
    ["", " ", "nick\r\nx-admin: 1", "nick\n", "nick\x00", "nick\x7f", "nick\x85", "\ud800", None, 7, ["nick"], {}],
)
def test_a_user_that_cannot_be_a_header(user: object) -> None:
    assert refusal(FORGE.stamp({"sub": user})) == "stamp_claims"


@pytest.mark.parametrize("claim", ["jti", "prx"])
def test_a_claim_that_is_missing(claim: str) -> None:
    assert refusal(FORGE.stamp({claim: None})) == "stamp_claims"


@pytest.mark.parametrize("claim", ["htm", "hth", "pth"])
@pytest.mark.parametrize("value", [True, [], {}, 1])
def test_a_binding_that_binds_to_nothing(claim: str, value: object) -> None:
    assert refusal(FORGE.stamp({claim: value})) == "stamp_claims"


@pytest.mark.parametrize(("need", "claim"), [("method", "htm"), ("host", "hth"), ("path", "pth")])
def test_a_stamp_without_a_binding_that_the_gateway_requires(need: str, claim: str) -> None:
    verifier = FORGE.verifier(require={need})
    assert refusal(FORGE.stamp({claim: None}), verifier) == "stamp_binding_missing"


def test_a_stamp_bound_to_nothing_is_accepted_where_nothing_is_required() -> None:
    assert identity(FORGE.stamp({"htm": None, "hth": None}), method=None, host=None, path=None).user == USER


def test_a_key_that_is_withdrawn_ends_what_is_remembered(tmp_path: Path) -> None:
    source = tmp_path / "jwks.json"
    source.write_text(json.dumps(FORGE.jwks))
    with FORGE.verifier(jwks=source) as verifier:
        stamp = FORGE.stamp()
        assert identity(stamp, verifier).user == USER
        source.write_text(json.dumps(OTHER.jwks))
        verifier._keys.read_now()  # type: ignore[union-attr]
        assert refusal(stamp, verifier) == "stamp_key_unknown"
        assert identity(OTHER.stamp(), verifier).user == USER


def test_the_memory_of_verified_stamps_is_bounded() -> None:
    forge = Forge("EdDSA")
    verifier = forge.verifier(cache_size=8)
    for number in range(40):
        identity(forge.stamp({"jti": str(number)}), verifier)
    assert len(verifier._fresh) + len(verifier._older) <= 8
    nothing = forge.verifier(cache_size=0)
    identity(forge.stamp(), nothing)
    assert not nothing._fresh


def test_a_refusal_is_not_remembered_as_anything() -> None:
    verifier = FORGE.verifier()
    refusal(FORGE.stamp({"aud": "other"}), verifier)
    assert not verifier._fresh


def test_a_log_line_cannot_be_forged_by_what_a_stamp_says() -> None:
    stamp = FORGE.stamp({"iss": "x\u2028ERROR forged line" + "y" * 500})
    with pytest.raises(StampRefused) as raised:
        FORGE.verifier().verify(stamp, method="GET", host=HOST)
    assert raised.value.reason == "stamp_issuer"
    assert re.fullmatch(r"[\x20-\x7e]{1,300}", str(raised.value))
    with pytest.raises(StampRefused) as raised:
        FORGE.verifier().verify(FORGE.stamp(), method="GET\r\nforged", host=HOST)
    assert re.fullmatch(r"[\x20-\x7e]+", str(raised.value))


def test_a_fault_of_ours_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("extauthz.gateway.verifier.header_checks", broken)
    assert refusal(FORGE.stamp()) == "stamp_internal_error"


@pytest.mark.parametrize(
    "options",
    [
        {"audience": ""},
        {"issuer": ""},
        {"algorithms": ()},
        {"algorithms": {"HS256"}},
        {"algorithms": {"none"}},
        {"algorithms": "ES256"},
        {"require": {"cookie"}},
        {"require": "path"},
        {"leeway": -1},
        {"leeway": 3600},
    ],
)
def test_a_policy_that_accepts_too_much_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        FORGE.verifier(**options)


def test_the_hash_that_path_binding_uses_is_sha256() -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"/a?b=1").digest()).decode().rstrip("=")
    assert path_hash("/a?b=1") == digest
