"""What an attacker, or extauthz itself, can make: stamps with any header, claims and signature."""

import json
from typing import Any

import pytest

from extauthz.gateway import REASONS, Identity, StampRefused, StampVerifier
from extauthz.stamp.claims import Algorithm, encode_segment
from extauthz.stamp.keyfile import new_key
from extauthz.stamp.signature import signing

NOW = 1_800_000_000
GATEWAY = "openclaw"
USER = "nick@example.com"
HOST = "gateway.example.com"


class Clock:
    """Unix seconds, as the test says."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Forge:
    """One signing key, and stamps of it."""

    def __init__(self, algorithm: Algorithm = "ES256") -> None:
        self.key = new_key(algorithm, created_at=NOW, activates_at=NOW)

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [dict(self.key.public_jwk)]}

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "authz-stamp+jwt"}

    @staticmethod
    def claims(now: float = NOW) -> dict[str, Any]:
        return {
            "iss": "extauthz",
            "aud": GATEWAY,
            "sub": USER,
            "iat": int(now),
            "exp": int(now) + 60,
            "jti": "jti-1",
            "prx": "10.0.0.7",
            "htm": "GET",
            "hth": HOST,
        }

    def stamp(
        self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, *, now: float = NOW
    ) -> str:
        """Sign a stamp that is good but for these members; None removes one."""
        said = {name: value for name, value in {**self.claims(now), **(claims or {})}.items() if value is not None}
        top = {name: value for name, value in {**self.header, **(header or {})}.items() if value is not None}
        return self.sign(json.dumps(top).encode(), json.dumps(said).encode())

    def sign(self, header: bytes, payload: bytes) -> str:
        """Sign any bytes."""
        signed = f"{encode_segment(header)}.{encode_segment(payload)}"
        return f"{signed}.{encode_segment(signing(self.key.private_key)(signed.encode()))}"

    def verifier(self, **options: Any) -> StampVerifier:
        """Make a verifier that knows this key, at the time of the stamps."""
        all_options: dict[str, Any] = {"audience": GATEWAY, "clock": Clock(), **options}
        return StampVerifier(all_options.pop("jwks", self.jwks), **all_options)


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
