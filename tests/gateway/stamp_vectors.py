"""Makes docs/stamp-vectors.json: `python tests/gateway/stamp_vectors.py`. Its keys come from fixed, public seeds."""

import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from extauthz.stamp.claims import encode_segment, path_hash
from extauthz.stamp.keyset import SigningKey

FILE = Path(__file__).parents[2] / "docs" / "stamp-vectors.json"
NOW = 1_800_000_000
REQUEST = {"method": "GET", "host": "gateway.example.com:443", "path": "/chat?session=1"}


def seed(name: str) -> bytes:
    return hashlib.sha256(f"extauthz test vectors: {name}".encode()).digest()


def es256_key(name: str) -> SigningKey:
    return SigningKey(ec.derive_private_key(int.from_bytes(seed(name), "big"), ec.SECP256R1()), 0, 0)


ES256 = es256_key("ES256")
STRANGER = es256_key("stranger")
EDDSA = SigningKey(Ed25519PrivateKey.from_private_bytes(seed("EdDSA")), 0, 0)


def sign(key: SigningKey, data: bytes) -> bytes:
    if isinstance(key.private_key, Ed25519PrivateKey):
        return key.private_key.sign(data)
    # RFC 6979, so that the file comes out the same every time.
    r, s = decode_dss_signature(key.private_key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def compact(header: dict[str, Any] | str, claims: dict[str, Any] | str, key: SigningKey = ES256) -> str:
    parts = [part if isinstance(part, str) else json.dumps(part, separators=(",", ":")) for part in (header, claims)]
    signed = ".".join(encode_segment(part.encode()) for part in parts)
    return f"{signed}.{encode_segment(sign(key, signed.encode()))}"


def head(key: SigningKey = ES256, **changes: Any) -> dict[str, Any]:
    members = {"alg": key.algorithm, "kid": key.kid, "typ": "authz-stamp+jwt", **changes}
    return {name: value for name, value in members.items() if value is not None}


def body(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": "extauthz",
        "aud": "openclaw",
        "sub": "nick@example.com",
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "bm90IHJhbmRvbSBoZXJl",
        "prx": "10.0.0.7",
        "htm": "GET",
        "hth": "gateway.example.com",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def with_public_key_as_secret() -> str:
    signed = compact(head(alg="HS256"), body()).rpartition(".")[0]
    secret = json.dumps(ES256.public_jwk, separators=(",", ":")).encode()
    return f"{signed}.{encode_segment(hmac.digest(secret, signed.encode(), 'sha256'))}"


def another_spelling(stamp: str) -> str:
    # The last character of a 64-byte signature has four unused bits.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return stamp[:-1] + alphabet[alphabet.index(stamp[-1]) + 1]


def twice(document: dict[str, Any], name: str, value: str) -> str:
    return f'{json.dumps(document, separators=(",", ":"))[:-1]},"{name}":"{value}"}}'


def accepted() -> list[dict[str, Any]]:
    good = [
        ("ES256", compact(head(), body()), {}),
        ("EdDSA", compact(head(EDDSA), body(), EDDSA), {}),
        ("bound to nothing", compact(head(), body(htm=None, hth=None)), {"method": "PUT", "host": "other.example"}),
        ("bound to the path", compact(head(), body(pth=path_hash("/chat?session=1"))), {}),
        ("host in another case and without a port", compact(head(), body()), {"host": "Gateway.EXAMPLE.com"}),
        ("an IPv6 host", compact(head(), body(hth="[2001:db8::1]")), {"host": "[2001:DB8::1]:8443"}),
        ("a host with an empty port", compact(head(), body()), {"host": "gateway.example.com:"}),
        ("an empty query", compact(head(), body(pth=path_hash("/chat"))), {"path": "/chat?"}),
        ("a user with other letters", compact(head(), body(sub="ニック")), {}),
        ("a claim that is not known", compact(head(), body(new="claim")), {}),
        ("nbf 10 s ahead", compact(head(), body(nbf=NOW + 10)), {}),
        ("the clock 10 s behind", compact(head(), body(iat=NOW + 10, exp=NOW + 70)), {}),
        ("9 s after its end", compact(head(), body(iat=NOW - 69, exp=NOW - 9)), {}),
    ]
    return [
        {"name": name, "stamp": stamp, "request": REQUEST | request, "accepted": True, "reason": None}
        for name, stamp, request in good
    ]


def refused() -> list[dict[str, Any]]:
    stamp = compact(head(), body())
    unsigned = stamp.rpartition(".")[0]
    none = ".".join(encode_segment(json.dumps(part).encode()) for part in (head(alg="none"), body()))
    bound_to_ipv6 = compact(head(), body(hth="[2001:db8::1]"))
    path = {"pth": path_hash("/chat?session=1")}
    bad: list[tuple[str, str, str, dict[str, str]]] = [
        ("no stamp", "stamp_missing", "", {}),
        ("two stamps, joined by a hop", "stamp_repeated", f"{stamp},{stamp}", {}),
        ("longer than 8192 bytes", "stamp_too_large", compact(head(), body(pad="x" * 8192)), {}),
        ("two parts", "stamp_malformed", unsigned, {}),
        ("padding", "stamp_malformed", f"{stamp}==", {}),
        ("unused bits that are not zero", "stamp_malformed", another_spelling(stamp), {}),
        ("a header member twice", "stamp_malformed", compact(twice(head(), "alg", "ES256"), body()), {}),
        ("a claim twice", "stamp_malformed", compact(head(), twice(body(), "sub", "root")), {}),
        ("alg none", "stamp_algorithm", f"{none}.", {}),
        ("HS256 with the public key", "stamp_algorithm", with_public_key_as_secret(), {}),
        ("an algorithm that is not the key's", "stamp_algorithm", compact(head(alg="EdDSA"), body()), {}),
        ("another typ", "stamp_type", compact(head(typ="JWT"), body()), {}),
        ("no typ", "stamp_type", compact(head(typ=None), body()), {}),
        ("no kid", "stamp_header", compact(head(kid=None), body()), {}),
        ("a kid with path characters", "stamp_header", compact(head(kid="../../../dev/null"), body()), {}),
        ("jku", "stamp_header", compact(head(jku="https://evil.example/jwks.json"), body()), {}),
        ("x5u", "stamp_header", compact(head(x5u="https://evil.example/cert.pem"), body()), {}),
        ("jwk", "stamp_header", compact(head(STRANGER, jwk=STRANGER.public_jwk), body(), STRANGER), {}),
        ("crit", "stamp_header", compact(head(crit=["exp"]), body()), {}),
        ("a key that is not published", "stamp_key_unknown", compact(head(STRANGER), body(), STRANGER), {}),
        ("another key's signature", "stamp_signature", compact(head(), body(), STRANGER), {}),
        ("a signature of zeros", "stamp_signature", f"{unsigned}.{encode_segment(bytes(64))}", {}),
        ("no signature", "stamp_signature", f"{unsigned}.", {}),
        ("another issuer", "stamp_issuer", compact(head(), body(iss="evil")), {}),
        ("another Gateway", "stamp_audience", compact(head(), body(aud="other")), {}),
        ("an audience that is a list", "stamp_claims", compact(head(), body(aud=["openclaw"])), {}),
        ("no user", "stamp_claims", compact(head(), body(sub=None)), {}),
        ("a user of two lines", "stamp_claims", compact(head(), body(sub="nick\r\nx-admin: 1")), {}),
        ("times as text", "stamp_claims", compact(head(), body(exp=str(NOW + 60))), {}),
        ("a lifetime of a day", "stamp_lifetime", compact(head(), body(exp=NOW + 86400)), {}),
        ("11 s ahead", "stamp_not_yet_valid", compact(head(), body(iat=NOW + 11, exp=NOW + 71)), {}),
        ("nbf 11 s ahead", "stamp_not_yet_valid", compact(head(), body(nbf=NOW + 11)), {}),
        ("nbf as text", "stamp_claims", compact(head(), body(nbf=str(NOW))), {}),
        ("10 s after its end", "stamp_expired", compact(head(), body(iat=NOW - 70, exp=NOW - 10)), {}),
        ("another method", "stamp_method", stamp, {"method": "POST"}),
        ("another host", "stamp_host", stamp, {"host": "evil.example"}),
        ("a host with a final dot", "stamp_host", stamp, {"host": "gateway.example.com."}),
        ("a host with a port that is no number", "stamp_host", stamp, {"host": "gateway.example.com:evil"}),
        ("a host with two ports", "stamp_host", stamp, {"host": "gateway.example.com:443:443"}),
        ("two hosts, joined by a hop", "stamp_host", stamp, {"host": "gateway.example.com:443, evil.example"}),
        ("text after an IPv6 host", "stamp_host", bound_to_ipv6, {"host": "[2001:db8::1]evil"}),
        ("another path", "stamp_path", compact(head(), body(**path)), {"path": "/admin?session=1"}),
        ("another query", "stamp_path", compact(head(), body(**path)), {"path": "/chat?session=2"}),
        ("the path spelled otherwise", "stamp_path", compact(head(), body(**path)), {"path": "/%63hat?session=1"}),
    ]
    return [
        {"name": name, "stamp": text, "request": REQUEST | request, "accepted": False, "reason": reason}
        for name, reason, text, request in bad
    ]


def document() -> dict[str, Any]:
    return {
        "about": "Test vectors of docs/stamp.md: what a verifier must say to each stamp at the time `now`.",
        "now": NOW,
        "verifier": {
            "issuer": "extauthz",
            "audience": "openclaw",
            "algorithms": ["ES256", "EdDSA"],
            "leewaySeconds": 10,
            "maxLifetimeSeconds": 3600,
            "maxBytes": 8192,
        },
        "jwks": {"keys": [ES256.public_jwk, EDDSA.public_jwk]},
        "vectors": accepted() + refused(),
    }


def text() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(f"{FILE.write_text(text())} characters in {FILE}\n")
