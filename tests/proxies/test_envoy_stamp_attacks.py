"""Attacks on the stamp through real Envoy, against the reference Gateway that verifies with the keys of real extauthz.

Each forged stamp is sent on every way there is: through Envoy by someone who may pass and by someone who may not,
through an Envoy that asks nobody, and around them all. The verifier alone is tried in tests/gateway.
"""

import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from extauthz.stamp.claims import encode_segment
from gateway.forge import OTHER, Forge
from gateway.servers import JwksServer
from proxies.stamp_chain import Chain, said, seen
from support.clients import Headers, Response, http1, http2
from support.world import IDENTITY, STRANGER, TRUSTED, USER

HOST = "openclaw.example.com"
VICTIM = "root@example.com"


def stamp(forge: Forge, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
    """A stamp for a GET of openclaw, made now, good but for these members."""
    return forge.stamp({"sub": VICTIM, "hth": HOST, **(claims or {})}, header, now=time.time())


def unsigned(signer: Forge, header: dict[str, Any], signature: bytes = b"") -> str:
    claims = {**signer.claims(time.time()), "sub": VICTIM, "hth": HOST}
    return ".".join(
        encode_segment(part) for part in (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    )


def signed_by_public_key(signer: Forge) -> str:
    secret = signer.key.private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = unsigned(signer, signer.header | {"alg": "HS256"}).rstrip(".")
    return f"{head}.{encode_segment(hmac.digest(secret, head.encode(), 'sha256'))}"


def with_another_user(signer: Forge) -> str:
    header, payload, signature = stamp(signer, {"sub": USER}).split(".")
    changed = json.dumps({**signer.claims(time.time()), "sub": VICTIM, "hth": HOST}).encode()
    assert payload != encode_segment(changed)
    return f"{header}.{encode_segment(changed)}.{signature}"


@dataclass(frozen=True)
class Forged:
    """A stamp that nobody should believe, and what the Gateway says of it."""

    reason: str
    make: Callable[[Forge], str]


def _claims(reason: str, **claims: Any) -> Forged:
    return Forged(reason, lambda signer: stamp(signer, claims))


def _header(reason: str, by: Forge | None = None, **header: Any) -> Forged:
    return Forged(reason, lambda signer: stamp(by or signer, header=header))


def _at(reason: str, seconds: int) -> Forged:
    def make(signer: Forge) -> str:
        begin = int(time.time()) + seconds
        return stamp(signer, {"iat": begin, "exp": begin + 60})

    return Forged(reason, make)


FORGED = {
    "no-jws": Forged("stamp_malformed", lambda _: "forged"),
    "empty": Forged("stamp_missing", lambda _: ""),
    "of-another-gateway": _claims("stamp_audience", aud="research"),
    "of-another-issuer": _claims("stamp_issuer", iss="extauthz.evil.example"),
    "of-another-host": _claims("stamp_host", hth="research.example.com"),
    "of-another-method": _claims("stamp_method", htm="POST"),
    "of-another-path": _claims("stamp_path", pth=encode_segment(bytes(32))),
    "expired": _at("stamp_expired", -75),
    "not-yet-valid": _at("stamp_not_yet_valid", 60),
    "for-ever": _claims("stamp_lifetime", exp=int(time.time()) + 86_400),
    "alg-none": Forged("stamp_algorithm", lambda signer: unsigned(signer, signer.header | {"alg": "none"})),
    "alg-none-signed": _header("stamp_algorithm", alg="none"),
    "hs256-with-the-public-key": Forged("stamp_algorithm", signed_by_public_key),
    "unsigned": Forged("stamp_signature", lambda signer: unsigned(signer, signer.header)),
    "by-an-unknown-key": _header("stamp_key_unknown", OTHER),
    "with-a-key-of-its-own": _header("stamp_header", OTHER, jwk=OTHER.jwks["keys"][0]),
    "kid-with-path": _header("stamp_header", OTHER, kid="../../../../dev/null"),
    "kid-url": _header("stamp_header", OTHER, kid="http://127.0.0.1:1/key"),
    "crit": _header("stamp_header", crit=["exp"]),
    "another-type": _header("stamp_type", typ="JWT"),
    "altered": Forged("stamp_signature", with_another_user),
    "two-in-one": Forged("stamp_repeated", lambda signer: f"{stamp(signer)},{stamp(signer)}"),
    "9-kib": _claims("stamp_too_large", pad="x" * 7000),
}
each_forged = pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
each_client = pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
Client = Callable[..., Response]


def claiming(value: str) -> Headers:
    """What an attacker says: this stamp, its companions, and the identity header."""
    said_too = [("x-authz-user", VICTIM), ("x-authz-gateway", "openclaw"), ("x-forwarded-user", VICTIM)]
    return [("x-authz-stamp", value), *said_too]


def is_nick(answer: Response) -> bool:
    """Whether the application sees who the trusted proxy named, by a stamp of this request, and nobody else."""
    return (
        said(answer) == f"hello {USER}"
        and seen(answer, "x-authz-user") == seen(answer, "x-forwarded-user") == [USER]
        and seen(answer, "x-authz-gateway") == [answer.json()["identity"]["gateway"]]
        and len(seen(answer, "x-authz-stamp")) == 1
        and VICTIM not in answer.body.decode()
    )


@each_client
@each_forged
def test_a_forged_stamp_beside_a_good_identity_is_replaced(chain: Chain, client: Client, forged: Forged) -> None:
    headers = [*IDENTITY, ("x-authz-stamp", forged.make(chain.signer)), ("x-authz-user", VICTIM)]
    for front in (chain.front, chain.overwriting):
        assert is_nick(client(front.port, headers, host=HOST, source=TRUSTED))


@each_client
@each_forged
def test_a_forged_stamp_from_a_stranger_does_not_reach_the_gateway(
    chain: Chain, client: Client, forged: Forged
) -> None:
    headers = claiming(forged.make(chain.signer))
    for front in (chain.front, chain.overwriting):
        assert said(client(front.port, headers, host=HOST, source=STRANGER)) == "trusted_proxy_untrusted_source"


@each_client
@each_forged
def test_a_forged_stamp_through_an_envoy_that_asks_nobody_is_refused(
    chain: Chain, client: Client, forged: Forged
) -> None:
    headers = claiming(forged.make(chain.signer))
    answer = client(chain.careless_port, headers, host=HOST, source=TRUSTED)
    assert (answer.status, said(answer)) == (401, forged.reason)


@each_forged
def test_a_forged_stamp_around_the_proxy_is_refused(chain: Chain, forged: Forged) -> None:
    answer = http1(chain.gateway_ports["openclaw"], claiming(forged.make(chain.signer)), host=HOST, source=TRUSTED)
    assert (answer.status, said(answer)) == (401, forged.reason)


def test_a_stamp_of_extauthzs_own_key_is_believed_which_shows_that_the_forged_ones_fail_by_their_fault(
    chain: Chain,
) -> None:
    for port in (chain.careless_port, chain.gateway_ports["openclaw"]):
        assert said(http1(port, claiming(stamp(chain.signer)), host=HOST)) == f"hello {VICTIM}"


@pytest.mark.parametrize("member", ["jku", "x5u"])
def test_the_keys_that_a_header_points_to_are_never_fetched(chain: Chain, member: str) -> None:
    source = JwksServer()
    try:
        source.serve(OTHER.jwks)
        headers = claiming(stamp(OTHER, header={member: source.url}))
        for port in (chain.careless_port, chain.gateway_ports["openclaw"]):
            assert said(http1(port, headers, host=HOST)) == "stamp_header"
        assert is_nick(http1(chain.overwriting.port, [*IDENTITY, headers[0]], host=HOST, source=TRUSTED))
        assert source.requests == 0
    finally:
        source.close()


@each_client
def test_a_request_that_comes_around_extauthz_is_nobodys_whatever_it_says(chain: Chain, client: Client) -> None:
    everything = [*IDENTITY, ("x-authz-user", USER), ("x-authz-gateway", "openclaw"), ("x-authz-decision", "1" * 26)]
    assert said(client(chain.careless_port, everything, host=HOST, source=TRUSTED)) == "stamp_missing"
    for source in ("127.0.0.1", TRUSTED):
        answer = http1(chain.gateway_ports["openclaw"], everything, host=HOST, source=source)
        assert (answer.status, said(answer)) == (401, "stamp_missing")


@each_client
def test_two_stamps_are_none(chain: Chain, client: Client) -> None:
    good = stamp(chain.signer)
    for second in (good, "", "forged"):
        pair = [("x-authz-stamp", good), ("x-authz-stamp", second)]
        assert said(client(chain.careless_port, pair, host=HOST)) == "stamp_repeated"
        assert said(http1(chain.gateway_ports["openclaw"], pair, host=HOST)) == "stamp_repeated"
        for front in (chain.front, chain.overwriting):
            assert is_nick(client(front.port, [*IDENTITY, *pair], host=HOST, source=TRUSTED))


@each_client
@pytest.mark.parametrize("value", [VICTIM, "", "a" * 4000])
def test_companion_headers_are_not_believed_beside_a_good_stamp(chain: Chain, client: Client, value: str) -> None:
    good = stamp(chain.signer, {"sub": USER})
    names = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-forwarded-user", "x.authz.user", "x-authz.user")
    altered = [(name, value) for name in names for _ in range(2)]
    for send, port in ((client, chain.careless_port), (http1, chain.gateway_ports["openclaw"])):
        answer = send(port, [("x-authz-stamp", good), *altered], host=HOST)
        assert is_nick(answer)
        assert not [name for name, _ in answer.json()["headers"] if "." in name or name == "x-authz-decision"]


def test_a_64_kib_token_gets_nobody_anywhere(chain: Chain) -> None:
    long = "A" * 65_536
    for front in (chain.front, chain.overwriting):
        assert http1(front.port, [*IDENTITY, ("x-authz-stamp", long)], host=HOST, source=TRUSTED).status == 431
        assert http2(front.port, [*IDENTITY, ("x-authz-stamp", long)], host=HOST, source=TRUSTED).status in {0, 431}
    assert said(http1(chain.gateway_ports["openclaw"], claiming(long), host=HOST)) == "stamp_too_large"
    # Just as much as Envoy lets through: the Gateway does not read it, extauthz replaces it.
    fitting = "A" * 50_000
    assert said(http1(chain.careless_port, [("x-authz-stamp", fitting)], host=HOST)) == "stamp_too_large"
    assert is_nick(http1(chain.front.port, [*IDENTITY, ("x-authz-stamp", fitting)], host=HOST, source=TRUSTED))
    assert said(http1(chain.front.port, IDENTITY, host=HOST, source=TRUSTED)) == f"hello {USER}"


@pytest.mark.parametrize("line", ["x-authz-stamp", "keep-alive, X-Authz-Stamp", "close, x-authz-stamp, x-authz-user"])
def test_a_stamp_cannot_be_removed_by_naming_it_in_connection(chain: Chain, line: str) -> None:
    for front in (chain.front, chain.overwriting):
        for extra in ([], [("x-authz-stamp", "forged")]):
            headers = [("connection", line), *IDENTITY, *extra]
            assert is_nick(http1(front.port, headers, host=HOST, source=TRUSTED))
    # Where it does go, at a hop that is none of ours, nobody is left: the companions alone are not believed.
    answer = http1(chain.careless_port, [("connection", line), *claiming(stamp(chain.signer))], host=HOST)
    assert said(answer) == "stamp_missing"


@each_client
def test_stamps_in_trailers_are_none(chain: Chain, client: Client) -> None:
    good = stamp(chain.signer, {"htm": "POST"})
    late: dict[str, Any] = {"method": "POST", "body": b"body", "trailers": [("x-authz-stamp", good)], "host": HOST}
    assert said(client(chain.careless_port, [("te", "trailers")], **late)) == "stamp_missing"
    assert is_nick(client(chain.front.port, [*IDENTITY, ("te", "trailers")], source=TRUSTED, **late))
