"""Attacks on the stamp itself, against the verifier: each test is named for the attack that it stops."""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from extauthz.gateway import REASONS, Identity, StampRefused, StampVerifier
from extauthz.stamp.claims import MAX_STAMP_BYTES, Algorithm, decode_segment, encode_segment, path_hash
from gateway.forge import GATEWAY, HOST, NOW, USER, Clock, Forge

FORGE = Forge()
OTHER = Forge()


def refusal(stamp: str, verifier: StampVerifier | None = None, **request: Any) -> str:
    seen = {"method": "GET", "host": HOST, "path": "/"} | request
    with pytest.raises(StampRefused) as raised:
        (verifier or FORGE.verifier()).verify(stamp, **seen)
    assert raised.value.reason in REASONS
    assert not stamp or stamp not in str(raised.value)
    return raised.value.reason


def identity(stamp: str, verifier: StampVerifier | None = None, **request: Any) -> Identity:
    return (verifier or FORGE.verifier()).verify(stamp, **({"method": "GET", "host": HOST, "path": "/"} | request))


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(FORGE.claims()).encode(), signature]
    return ".".join(map(encode_segment, parts))


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_good_stamp_is_accepted(algorithm: Algorithm) -> None:
    forge = Forge(algorithm)
    found = identity(forge.stamp(), forge.verifier())
    assert found == Identity(
        user=USER,
        gateway=GATEWAY,
        peer="10.0.0.7",
        issuer="extauthz",
        stamp_id="jti-1",
        issued_at=NOW,
        expires_at=NOW + 60,
        key_id=forge.key.kid,
        claims=forge.claims(),
    )
    with pytest.raises(TypeError):
        found.claims["sub"] = "eve"  # type: ignore[index]


def test_no_stamp() -> None:
    assert refusal("") == "stamp_missing"


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, ["ES256"], {"ES256": 1}])
def test_alg_none(name: object) -> None:
    assert refusal(unsigned(FORGE.header | {"alg": name})) == "stamp_algorithm"
    assert refusal(FORGE.stamp(header={"alg": name})) == "stamp_algorithm"


def test_a_signature_that_is_left_out() -> None:
    assert refusal(unsigned(FORGE.header)) == "stamp_signature"
    assert refusal(FORGE.stamp().rpartition(".")[0]) == "stamp_malformed"


@pytest.mark.parametrize("form", ["pem", "der", "x", "jwk"])
def test_hs256_with_the_public_key_as_secret(form: str) -> None:
    public = FORGE.key.private_key.public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "x": decode_segment(FORGE.key.public_jwk["x"]),
        "jwk": json.dumps(FORGE.jwks["keys"][0]).encode(),
    }[form]
    signed = unsigned(FORGE.header | {"alg": "HS256"}).rstrip(".")
    stamp = f"{signed}.{encode_segment(hmac.digest(secret, signed.encode(), 'sha256'))}"
    assert refusal(stamp) == "stamp_algorithm"
    # Not even where the published key set holds a shared secret.
    oct_key = {"kty": "oct", "k": encode_segment(secret), "alg": "HS256", "use": "sig", "kid": FORGE.key.kid}
    verifier = FORGE.verifier(jwks={"keys": [oct_key, *FORGE.jwks["keys"]]})
    assert refusal(stamp, verifier) == "stamp_algorithm"


@pytest.mark.parametrize("name", ["RS256", "PS256", "ES384", "ES512", "ES256K", "Ed25519", "es256", "HS512", "EdDSA"])
def test_another_algorithm_than_the_keys(name: str) -> None:
    assert refusal(FORGE.stamp(header={"alg": name})) == "stamp_algorithm"


def test_an_algorithm_that_the_gateway_did_not_pin() -> None:
    assert refusal(FORGE.stamp(), FORGE.verifier(algorithms={"EdDSA"})) == "stamp_algorithm"


def test_an_unknown_kid() -> None:
    assert refusal(OTHER.stamp()) == "stamp_key_unknown"


def test_a_known_kid_on_another_keys_signature() -> None:
    assert refusal(OTHER.stamp(header={"kid": FORGE.key.kid})) == "stamp_signature"


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "keys/key-000001.jwk",
        "a' OR '1'='1",
        "a\x00b",
        "https://evil.example/key",
        "x" * 5000,
        "",
        None,
        1,
        ["a"],
        {},
    ],
)
def test_a_kid_with_path_characters(kid: object) -> None:
    assert refusal(FORGE.stamp(header={"kid": kid})) == "stamp_header"


@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "http://127.0.0.1:1/jwks.json"},
        {"x5u": "http://127.0.0.1:1/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"x5t#S256": "AAAA"},
        {"jwk": OTHER.jwks["keys"][0]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
        {"unheard-of": 1},
    ],
)
def test_a_header_that_brings_its_own_key(extra: dict[str, Any]) -> None:
    assert refusal(FORGE.stamp(header=extra)) == "stamp_header"
    assert refusal(OTHER.stamp(header=extra)) == "stamp_header"


@pytest.mark.parametrize(
    "typ", ["JWT", "at+jwt", "authz-stamp", "Authz-Stamp+JWT", "application/authz-stamp+jwt", None, 1]
)
def test_a_token_of_another_kind_by_the_same_key(typ: object) -> None:
    assert refusal(FORGE.stamp(header={"typ": typ})) == "stamp_type"


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


def test_two_stamps() -> None:
    assert refusal(f"{FORGE.stamp()},{FORGE.stamp()}") == "stamp_repeated"
    assert refusal(f"{FORGE.stamp()}, ") == "stamp_repeated"


def test_a_64_kib_token() -> None:
    assert refusal("A" * 65536) == "stamp_too_large"
    assert refusal(FORGE.stamp({"pad": "x" * 65536})) == "stamp_too_large"
    assert refusal("," * (MAX_STAMP_BYTES + 1)) == "stamp_too_large"


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"null", b"1", b'"x"', b"{", b"[" * 4000, b'{"a":' * 800, b"\xff{}", b'\xef\xbb\xbf{"a":1}', b"{}{}"],
)
def test_a_part_that_is_no_json_object(raw: bytes) -> None:
    header, payload = json.dumps(FORGE.header).encode(), json.dumps(FORGE.claims()).encode()
    assert refusal(FORGE.sign(raw, payload)) == "stamp_malformed"
    assert refusal(FORGE.sign(header, raw)) == "stamp_malformed"


def test_a_name_that_comes_twice() -> None:
    header, payload = json.dumps(FORGE.header), json.dumps(FORGE.claims())
    twice_header = header[:-1] + ', "alg": "ES256"}'
    twice_payload = payload[:-1] + ', "sub": "root"}'
    assert refusal(FORGE.sign(twice_header.encode(), payload.encode())) == "stamp_malformed"
    assert refusal(FORGE.sign(header.encode(), twice_payload.encode())) == "stamp_malformed"


@pytest.mark.parametrize("text", ["a.b", "a.b.c.d", "...", "a.b.c.d.e", "Bearer x.y.z", "\u00e9.b.c", "..", "\u2028"])
def test_what_is_no_compact_jws(text: str) -> None:
    assert refusal(text) == "stamp_malformed"


def test_json_serialization() -> None:
    header, payload, signature = FORGE.stamp().split(".")
    flat = json.dumps({"protected": header, "payload": payload, "signature": signature}, separators=(";", ":"))
    assert refusal(flat) == "stamp_malformed"


def test_another_spelling_of_the_same_signature() -> None:
    stamp = FORGE.stamp()
    head, last = stamp[:-1], stamp[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = alphabet.index(last)
    assert place % 16 == 0  # the unused bits of a good one are zero
    for extra in range(1, 16):
        assert refusal(head + alphabet[place + extra]) == "stamp_malformed"
    for padding in ("=", "==", "\n", " "):
        assert refusal(stamp + padding) == "stamp_malformed"
    assert refusal(stamp.replace("-", "+").replace("_", "/") + "=") == "stamp_malformed"


@pytest.mark.parametrize(("r", "s"), [(0, 0), (1, 0), (0, 1), (2**256 - 1, 2**256 - 1)])
def test_a_signature_of_zeros(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert refusal(unsigned(FORGE.header, raw)) == "stamp_signature"


def test_a_signature_in_der() -> None:
    signed, _, signature = FORGE.stamp().rpartition(".")
    raw = decode_segment(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert refusal(f"{signed}.{encode_segment(der)}") == "stamp_signature"
    assert refusal(f"{signed}.{encode_segment(raw + bytes(1))}") == "stamp_signature"


def test_a_replaced_payload() -> None:
    header, _, signature = FORGE.stamp().split(".")
    payload = encode_segment(json.dumps(FORGE.claims() | {"sub": "root"}).encode())
    assert refusal(f"{header}.{payload}.{signature}") == "stamp_signature"


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
