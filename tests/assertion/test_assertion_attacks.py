"""Attacks on the proxy's assertion at its verifier: each test is named for the attack that it stops."""

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from assertion.issuer import AUDIENCE, ISSUER, USER, Issuer
from assertion.judge import Judge, jwks_file, rules
from extauthz.assertion.memory import VerifiedTokens
from extauthz.assertion.rules import ALGORITHMS, MAX_TOKEN_BYTES
from extauthz.core.assertion import Flaw, Verified
from extauthz.stamp.claims import encode_segment
from gateway.forge import NOW, Forge

OTHER = Issuer()


def unsigned(header: object, claims: object, signature: bytes = b"") -> str:
    return ".".join(map(encode_segment, (json.dumps(header).encode(), json.dumps(claims).encode(), signature)))


def test_a_good_token_is_believed(issuer: Issuer, judge: Judge) -> None:
    assert judge.verified(issuer.token(now=NOW)) == Verified(USER, "key-1", ISSUER, AUDIENCE, NOW + 300)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_that_can_be_configured_verifies(algorithm: str, tmp_path: Path) -> None:
    issuer = Issuer(algorithm)
    judge = Judge(rules(jwks_file(tmp_path, issuer), algorithms=frozenset({algorithm})))
    assert judge.verified(issuer.token(now=NOW)).user == USER
    good = issuer.token(now=NOW)
    signed, _, signature = good.rpartition(".")
    flipped = ("A" if signature[5] != "A" else "B").join((signature[:5], signature[6:]))
    assert "is not signed" in judge.refused(f"{signed}.{flipped}")
    judge.assertions.close()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", None, 0, True, ["ES256"], {"ES256": 1}])
def test_alg_none(issuer: Issuer, judge: Judge, name: object) -> None:
    assert "algorithm" in judge.refused(unsigned({**issuer.header, "alg": name}, issuer.claims(NOW)))
    assert "algorithm" in judge.refused(issuer.token(header={"alg": name}, now=NOW))


@pytest.mark.parametrize("form", ["pem", "der", "x"])
def test_hs256_with_the_public_key_as_secret(issuer: Issuer, judge: Judge, tmp_path: Path, form: str) -> None:
    public = issuer.key.public_key()
    secret = {
        "pem": issuer.pem,
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "x": issuer.jwk["x"].encode(),
    }[form]
    signed = unsigned({**issuer.header, "alg": "HS256"}, issuer.claims(NOW)).rstrip(".")
    token = f"{signed}.{encode_segment(hmac.digest(secret, signed.encode(), 'sha256'))}"
    assert "algorithm is HS256" in judge.refused(token)
    # Not even where the published key set holds the shared secret under this very kid.
    oct_key = {"kty": "oct", "k": encode_segment(secret), "alg": "HS256", "kid": issuer.kid}
    other = Judge(rules(jwks_file(tmp_path, issuer, entries=(oct_key,))))
    assert "algorithm is HS256" in other.refused(token)
    other.assertions.close()


def test_another_algorithm_than_the_published_key_is_for(tmp_path: Path) -> None:
    issuer = Issuer("PS256")
    path = jwks_file(tmp_path, entries=({**issuer.jwk, "alg": "RS256"},))
    judge = Judge(rules(path, algorithms=frozenset({"RS256", "PS256"})))
    assert "another algorithm" in judge.refused(issuer.token(now=NOW))
    judge.assertions.close()


def test_an_algorithm_that_is_not_pinned(issuer: Issuer, tmp_path: Path) -> None:
    judge = Judge(rules(jwks_file(tmp_path, issuer), algorithms=frozenset({"RS256"})))
    assert "accepted: RS256" in judge.refused(issuer.token(now=NOW))
    judge.assertions.close()


def test_a_signature_that_is_stripped(issuer: Issuer, judge: Judge) -> None:
    signed = issuer.token(now=NOW).rpartition(".")[0]
    assert "not signed" in judge.refused(f"{signed}.")
    assert "2 parts" in judge.refused(signed)


def test_a_payload_that_is_swapped(issuer: Issuer, judge: Judge) -> None:
    header, _, signature = issuer.token(now=NOW).split(".")
    payload = encode_segment(json.dumps({**issuer.claims(NOW), "email": "eve@example.com"}).encode())
    assert "not signed" in judge.refused(f"{header}.{payload}.{signature}")


def test_a_known_kid_on_another_keys_signature(judge: Judge) -> None:
    assert "not signed" in judge.refused(OTHER.token(now=NOW))


def test_a_signature_in_asn1_or_padded_with_zeros(issuer: Issuer, judge: Judge) -> None:
    signed, _, _ = issuer.token(now=NOW).rpartition(".")
    raw = issuer.signature(signed.encode())
    asn1 = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    for signature in (asn1, b"\0" + raw[:32] + b"\0" + raw[32:], bytes(64), b"\xff" * 64, raw[:32]):
        assert "not signed" in judge.refused(f"{signed}.{encode_segment(signature)}")


@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "http://127.0.0.1:1/jwks.json"},
        {"x5u": "http://127.0.0.1:1/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": OTHER.jwk},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
    ],
    ids="-".join,
)
def test_a_header_that_brings_its_own_key_or_rules(issuer: Issuer, judge: Judge, extra: dict[str, Any]) -> None:
    assert "never heeded" in judge.refused(issuer.token(header=extra, now=NOW))


def test_an_embedded_jwk_of_the_attackers(judge: Judge) -> None:
    assert "never heeded" in judge.refused(OTHER.token(header={"jwk": OTHER.jwk}, now=NOW))


@pytest.mark.parametrize("kid", [None, "", 1, ["key-1"], {}, True, "x" * 300])
def test_a_kid_that_is_none(issuer: Issuer, judge: Judge, kid: object) -> None:
    assert "no kid" in judge.refused(issuer.token(header={"kid": kid}, now=NOW))


@pytest.mark.parametrize(
    "kid", ["key-2", "../../etc/passwd", "a' OR '1'='1", "a\0b", "https://evil.example/key", "\x1b[2J"]
)
def test_an_unknown_kid(issuer: Issuer, judge: Judge, kid: str) -> None:
    detail = judge.refused(issuer.token(header={"kid": kid}, now=NOW))
    assert "none of the 1 that are known" in detail
    assert detail.isprintable()


@pytest.mark.parametrize("kind", ["at+jwt", "authz-stamp+jwt", "", 1, ["JWT"]])
def test_a_token_of_another_kind(issuer: Issuer, judge: Judge, kind: object) -> None:
    assert "typ" in judge.refused(issuer.token(header={"typ": kind}, now=NOW))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "application/JWT", None])
def test_a_token_that_says_jwt_or_nothing_is_one(issuer: Issuer, judge: Judge, kind: str | None) -> None:
    assert judge.verified(issuer.token(header={"typ": kind}, now=NOW)).user == USER


def test_a_stamp_of_ours_as_assertion(judge: Judge) -> None:
    assert judge.flaw(Forge().stamp()) is Flaw.INVALID


@pytest.mark.parametrize(
    "said", ["evil.example.com", "", None, 7, ["openclaw.example.com"], {"a": 1}, "OPENCLAW.example.com"]
)
def test_another_issuer(issuer: Issuer, judge: Judge, said: object) -> None:
    assert "issuer" in judge.refused(issuer.token({"iss": said}, now=NOW))


@pytest.mark.parametrize(
    "said",
    ["research.example.com", "", None, 7, [], ["a", "b"], [["openclaw.example.com"]], {"openclaw.example.com": 1}],
)
def test_a_token_for_another_application(issuer: Issuer, judge: Judge, said: object) -> None:
    assert judge.flaw(issuer.token({"aud": said}, now=NOW)) is Flaw.AUDIENCE


def test_one_of_several_audiences_is_enough(issuer: Issuer, judge: Judge) -> None:
    assert judge.verified(issuer.token({"aud": ["other", AUDIENCE]}, now=NOW)).audience == AUDIENCE


def test_a_token_whose_time_is_over(issuer: Issuer, judge: Judge) -> None:
    token = issuer.token(now=NOW)
    judge.clock.now = NOW + 300 + 29
    assert judge.verified(token).user == USER
    judge.clock.now = NOW + 300 + 30
    assert judge.flaw(token) is Flaw.EXPIRED
    assert judge.flaw(issuer.token({"jti": "2"}, now=NOW)) is Flaw.EXPIRED


def test_a_token_that_lives_longer_than_max_age(issuer: Issuer, tmp_path: Path) -> None:
    judge = Judge(rules(jwks_file(tmp_path, issuer), max_age=60.0))
    token = issuer.token({"exp": NOW + 10**6}, now=NOW)
    assert judge.verified(token).expires_at == NOW + 60
    judge.clock.now = NOW + 90
    assert judge.flaw(token) is Flaw.EXPIRED
    judge.assertions.close()


@pytest.mark.parametrize("claims", [{"iat": NOW + 31}, {"nbf": NOW + 31}, {"iat": NOW + 10**9, "exp": NOW + 2 * 10**9}])
def test_a_token_of_the_future(issuer: Issuer, judge: Judge, claims: dict[str, Any]) -> None:
    assert "clocks differ" in judge.refused(issuer.token(claims, now=NOW))


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("value", [None, "1800000000", True, -1, [], 10**12, 1e300])
def test_a_time_that_is_none(issuer: Issuer, judge: Judge, name: str, value: object) -> None:
    assert judge.flaw(issuer.token({name: value}, now=NOW)) is Flaw.INVALID


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_time_that_no_clock_reaches(issuer: Issuer, judge: Judge, number: str) -> None:
    claims = json.dumps(issuer.claims(NOW) | {"exp": "?"}).replace('"?"', number).encode()
    assert judge.flaw(issuer.sign(json.dumps(issuer.header).encode(), claims)) is Flaw.INVALID


def test_times_with_a_fraction_are_times(issuer: Issuer, judge: Judge) -> None:
    assert judge.verified(issuer.token({"iat": NOW - 0.5, "exp": NOW + 9.5}, now=NOW)).expires_at == NOW + 9.5


@pytest.mark.parametrize("user", [None, "", " ", "\u00a0\t", 7, True, ["nick@example.com"], {}, "nick\ud800"])
def test_a_token_that_names_nobody(issuer: Issuer, judge: Judge, user: object) -> None:
    assert "names nobody" in judge.refused(issuer.token({"email": user}, now=NOW))


@pytest.mark.parametrize("said", [False, "false", "False", "FALSE", "no", "0", 0, "", [], {}])
def test_an_email_that_the_issuer_has_not_verified(issuer: Issuer, judge: Judge, said: object) -> None:
    assert "does not say that the email is verified" in judge.refused(issuer.token({"email_verified": said}, now=NOW))


@pytest.mark.parametrize("said", [True, "true", "True", 1])
def test_an_email_that_the_issuer_has_verified(issuer: Issuer, judge: Judge, said: object) -> None:
    assert judge.verified(issuer.token({"email_verified": said}, now=NOW)).user == USER


def test_a_claim_that_comes_twice(issuer: Issuer, judge: Judge) -> None:
    payload = json.dumps(issuer.claims(NOW))[:-1] + ', "email": "eve@example.com"}'
    assert "twice" in judge.refused(issuer.sign(json.dumps(issuer.header).encode(), payload.encode()))


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b"[" * 5000, b'"nick"', b"{"])
def test_a_payload_that_is_no_object(issuer: Issuer, judge: Judge, payload: bytes) -> None:
    assert "payload" in judge.refused(issuer.sign(json.dumps(issuer.header).encode(), payload))


@pytest.mark.parametrize("header", [b"", b"[]", b"\xff", b"[" * 5000, b'{"alg":"ES256","alg":"none"}'])
def test_a_header_that_is_no_object(issuer: Issuer, judge: Judge, header: bytes) -> None:
    assert "header" in judge.refused(issuer.sign(header, b"{}"))


def test_a_giant_token(issuer: Issuer, judge: Judge) -> None:
    assert "more than" in judge.refused(issuer.token({"groups": "g" * MAX_TOKEN_BYTES}, now=NOW))
    assert "more than" in judge.refused("a" * (MAX_TOKEN_BYTES + 1))


@pytest.mark.parametrize("token", ["x", "a.b.c", "....", "a" * 500, "é.é.é", "\ud800", "eyJ.eyJ.!", " . . "])
def test_what_is_no_token(judge: Judge, token: str) -> None:
    assert judge.flaw(token) is Flaw.INVALID


def test_padding_where_none_belongs(issuer: Issuer, judge: Judge) -> None:
    assert "base64url" in judge.refused(issuer.token(now=NOW, padded=True) + "=")
    padded = issuer.token({"x": "1"}, now=NOW, padded=True)
    assert "=" in padded
    assert "base64url" in judge.refused(padded)


def test_a_token_that_was_verified_for_another_gateway(issuer: Issuer, tmp_path: Path) -> None:
    # One memory serves all gateways: what one of them wants says nothing about another.
    path = jwks_file(tmp_path, issuer)
    judge = Judge(rules(path))
    research = judge.assertions.verifier(rules(path, audiences=("research.example.com",)))
    sub = judge.assertions.verifier(rules(path, user_claim="sub"))
    token = issuer.token(now=NOW)
    assert judge.verified(token).user == USER
    refused = research.verify(token)
    assert not isinstance(refused, Verified)
    assert refused.flaw is Flaw.AUDIENCE
    found = sub.verify(token)
    assert isinstance(found, Verified)
    assert found.user == "u-1"
    judge.assertions.close()


def test_a_token_that_comes_again_costs_no_second_signature_until_its_time_is_over(
    issuer: Issuer, judge: Judge
) -> None:
    token = issuer.token(now=NOW)
    for _ in range(5):
        assert judge.verified(token).user == USER
    assert judge.assertions.signatures.total == 1
    judge.clock.now = NOW + 331
    assert judge.flaw(token) is Flaw.EXPIRED
    assert judge.assertions.signatures.total == 1


def test_a_refusal_is_not_remembered_as_an_acceptance(issuer: Issuer, judge: Judge) -> None:
    for _ in range(2):
        assert judge.flaw(issuer.token({"aud": "other"}, now=NOW)) is Flaw.AUDIENCE
    assert judge.assertions.signatures.total == 2


def test_a_flood_of_tokens_does_not_grow_the_memory(issuer: Issuer, tmp_path: Path) -> None:
    judge = Judge(rules(jwks_file(tmp_path, issuer)))
    memory = VerifiedTokens(most=10, most_bytes=100_000)
    judge.verifier._memory = memory  # type: ignore[misc]
    for number in range(50):
        judge.verified(issuer.token({"jti": str(number)}, now=NOW))
        assert len(memory) <= 10
    # Users as long as a token allows are bounded in bytes before they are in number.
    for number in range(50):
        judge.verified(issuer.token({"jti": str(number), "email": "u" * 5000}, now=NOW))
        assert len(memory) <= 4 + 5
    judge.assertions.close()


def test_curves_that_do_not_belong_to_the_algorithm(tmp_path: Path) -> None:
    issuer = Issuer("ES384")
    assert isinstance(issuer.key, EllipticCurvePrivateKey)
    judge = Judge(rules(jwks_file(tmp_path, issuer)))
    assert "another algorithm" in judge.refused(issuer.token(header={"alg": "ES256"}, now=NOW))
    judge.assertions.close()
