"""Gateways that want an assertion, and requests to them: data, decided in the core and through every door."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from assertion.issuer import AUDIENCE, ISSUER, USER, Issuer

HEADER = "x-pomerium-jwt-assertion"
EVE = "eve@example.com"

Headers = list[tuple[str, str]]


def assertion(jwks: str, **changed: Any) -> dict[str, Any]:
    """The assertion of these tests' gateways."""
    return {"preset": "pomerium", "audience": AUDIENCE, "jwks": jwks, **changed}


def gateways(jwks: str, *peers: str, **keys: Any) -> dict[str, Any]:
    """Gateways: `openclaw` has a user header too, `claims` the claim alone, `shadow` enforces nothing."""

    def gateway(rules: dict[str, Any], **more: Any) -> dict[str, Any]:
        auth = {"mode": "trusted-proxy", "trustedProxy": {"allowUsers": [USER], **rules}}
        return {"trustedProxies": list(peers), "auth": auth, **more}

    wanted = assertion(jwks, **keys)
    bearer = {**wanted, "preset": "oauth2-proxy", "issuer": ISSUER, "algorithms": ["ES256"]}
    return {
        "openclaw": gateway({"userHeader": "x-forwarded-user", "assertion": wanted}),
        "claims": gateway({"assertion": wanted}),
        "bearer": gateway({"assertion": bearer}),
        "shadow": gateway({"userHeader": "x-forwarded-user", "assertion": wanted}, mode="shadow"),
        "research": gateway({"assertion": {**wanted, "audience": "research.example.com", "issuer": ISSUER}}),
    }


@dataclass(frozen=True)
class Case:
    """One request, and what comes of it."""

    id: str
    gateway: str
    headers: Callable[[Issuer], Headers] = field(repr=False)
    told: str
    """As `cases.build.told` has it."""


def _both(token: str, user: str = USER) -> Headers:
    return [("x-forwarded-user", user), (HEADER, token)]


def _swapped(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{issuer.token({'email': EVE}).split('.')[1]}.{signature}"


MISSING, INVALID, EXPIRED, AUDIENCE_WRONG, MISMATCH = (
    f"deny:trusted_proxy_assertion_{name}" for name in ("missing", "invalid", "expired", "audience", "user_mismatch")
)
FORGER = Issuer()

CASES = (
    Case("header-and-claim-agree", "openclaw", lambda i: _both(i.token()), f"allow:{USER}"),
    Case("padded-header-and-claim-agree", "openclaw", lambda i: _both(i.token(), f" {USER}\t"), f"allow:{USER}"),
    Case("the-claim-alone", "claims", lambda i: [(HEADER, i.token())], f"allow:{USER}"),
    Case("a-bearer-token", "bearer", lambda i: [("authorization", f"Bearer {i.token()}")], f"allow:{USER}"),
    Case(
        "a-bearer-token-in-capitals", "bearer", lambda i: [("Authorization", f"BEARER  {i.token()} ")], f"allow:{USER}"
    ),
    Case("nobody-is-signed-in", "openclaw", lambda _: [], "deny:trusted_proxy_user_missing"),
    Case("a-user-header-and-no-token", "openclaw", lambda _: [("x-forwarded-user", USER)], MISSING),
    Case("a-blank-token", "openclaw", lambda _: _both(" , "), MISSING),
    Case("no-token-where-the-claim-names-the-user", "claims", lambda _: [("x-forwarded-user", USER)], MISSING),
    Case("basic-instead-of-bearer", "bearer", lambda _: [("authorization", "Basic bmljazpw")], MISSING),
    Case("bearer-without-a-token", "bearer", lambda _: [("authorization", "Bearer ")], MISSING),
    Case("a-token-without-bearer", "bearer", lambda i: [("authorization", i.token())], MISSING),
    Case("no-token-at-all", "openclaw", lambda _: _both("let me in"), INVALID),
    Case("another-key", "openclaw", lambda _: _both(FORGER.token()), INVALID),
    Case("an-unknown-kid", "openclaw", lambda i: _both(i.token(header={"kid": "key-9"})), INVALID),
    Case("alg-none", "openclaw", lambda i: _both(i.token(header={"alg": "none"}).rpartition(".")[0] + "."), INVALID),
    Case("alg-hs256", "openclaw", lambda i: _both(i.token(header={"alg": "HS256"})), INVALID),
    Case("an-embedded-key", "openclaw", lambda _: _both(FORGER.token(header={"jwk": FORGER.jwk})), INVALID),
    Case("a-jku", "openclaw", lambda i: _both(i.token(header={"jku": "https://evil.example/jwks.json"})), INVALID),
    Case("crit", "openclaw", lambda i: _both(i.token(header={"crit": ["exp"]})), INVALID),
    Case("a-stripped-signature", "openclaw", lambda i: _both(i.token().rpartition(".")[0] + "."), INVALID),
    Case("a-swapped-payload", "openclaw", lambda i: _both(_swapped(i)), INVALID),
    Case("another-issuer", "openclaw", lambda i: _both(i.token({"iss": "evil.example.com"})), INVALID),
    Case("of-the-future", "openclaw", lambda i: _both(i.token({"iat": 4_000_000_000, "exp": 4_000_000_300})), INVALID),
    Case("a-giant-token", "openclaw", lambda i: _both(i.token({"groups": "g" * 10_000})), INVALID),
    Case("the-same-token-twice", "claims", lambda i: [(HEADER, i.token()), (HEADER, i.token())], INVALID),
    Case("a-forged-token-before-the-good-one", "claims", lambda i: [(HEADER, "x"), (HEADER, i.token())], INVALID),
    Case("a-forged-token-after-the-good-one", "claims", lambda i: [(HEADER, i.token()), (HEADER, "x")], INVALID),
    Case("two-bearer-tokens", "bearer", lambda i: [("authorization", f"Bearer {i.token()}")] * 2, INVALID),
    Case("expired", "openclaw", lambda i: _both(i.token(now=1_700_000_000)), EXPIRED),
    Case("for-another-gateway", "research", lambda i: [(HEADER, i.token())], AUDIENCE_WRONG),
    Case("the-header-names-somebody-else", "openclaw", lambda i: _both(i.token(), EVE), MISMATCH),
    Case("the-token-names-somebody-else", "openclaw", lambda i: _both(i.token({"email": EVE})), MISMATCH),
    Case("case-matters", "openclaw", lambda i: _both(i.token(), USER.title()), MISMATCH),
    Case(
        "not-on-the-list",
        "claims",
        lambda i: [(HEADER, i.token({"email": EVE}))],
        "deny:trusted_proxy_user_not_allowed",
    ),
    Case(
        "a-user-no-header-can-carry",
        "claims",
        lambda i: [(HEADER, i.token({"email": "nick\nx-admin: 1"}))],
        "deny:trusted_proxy_user_not_allowed",
    ),
    Case("shadow-lets-pass", "shadow", lambda _: [("x-forwarded-user", USER)], MISSING.replace("deny", "shadow")),
    Case("shadow-with-a-forged-token", "shadow", lambda _: _both(FORGER.token()), INVALID.replace("deny", "shadow")),
    Case("shadow-with-a-good-token", "shadow", lambda i: _both(i.token()), f"allow:{USER}"),
)
