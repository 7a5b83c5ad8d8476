"""Attacks on the stamp's form, header and signature: each test is named for the attack that it stops."""

import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from extauthz.gateway import Identity
from extauthz.stamp.claims import MAX_STAMP_BYTES, Algorithm, decode_segment, encode_segment
from gateway.forge import FORGE, GATEWAY, NOW, OTHER, USER, Forge, identity, refusal


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
