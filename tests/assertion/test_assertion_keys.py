"""Where the keys come from: sources that are down, wrong, huge, slow or lead elsewhere, rotations, keys by their id."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assertion.issuer import USER, Issuer, PemServer, TlsJwksServer
from assertion.judge import jwks_file, rules
from extauthz.assertion.assertions import Assertions
from extauthz.assertion.keys import parse_issuer_jwks, parse_pem
from extauthz.assertion.rules import KeySource
from extauthz.assertion.sources import MAX_KEYS_BY_KID, file_faults, open_keys, usual_times
from extauthz.core.assertion import Refused, Verdict, Verified
from extauthz.gateway.keycache import Times
from extauthz.gateway.keyset import MAX_JWKS_BYTES, MAX_JWKS_KEYS, JwksError
from gateway.servers import JwksServer, until
from support.certificates import Authority
from support.process import READY_SECONDS

QUICK = Times(refresh=0.05, retry=0.05, unknown_kid=0.0, wait=10)
STILL = Times(refresh=3600, retry=3600, unknown_kid=0.0, wait=10)


class Keeper:
    """Verifiers over one source, as a service has them: they wait for nothing."""

    def __init__(self, source: KeySource, times: Times, **changed: Any) -> None:
        self.assertions = Assertions(times=times)
        self.verifier = self.assertions.verifier(rules(source.location, source=source, **changed))
        self.assertions.start(READY_SECONDS)

    def verdict(self, token: str) -> Verdict:
        return self.verifier.verify(token)

    def user(self, token: str) -> str:
        found = self.verdict(token)
        assert isinstance(found, Verified), found
        return found.user

    def refused(self, token: str) -> str:
        found = self.verdict(token)
        assert isinstance(found, Refused), found
        return found.detail

    @property
    def status(self) -> Any:
        (found,) = self.assertions.statuses()
        return found


@pytest.fixture
def keepers() -> Iterator[list[Keeper]]:
    found: list[Keeper] = []
    yield found
    for keeper in found:
        keeper.assertions.close()


def keeper(keepers: list[Keeper], location: str | Path, times: Times = QUICK, **changed: Any) -> Keeper:
    """A keeper that the test's end closes."""
    source = KeySource(location=str(location), **{k: changed.pop(k) for k in ("ca", "keep_seconds") if k in changed})
    found = Keeper(source, times, **changed)
    keepers.append(found)
    return found


def test_a_jwks_over_loopback_http(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    source.serve(issuer.jwks)
    assert keeper(keepers, source.url).user(issuer.token()) == USER


def test_a_jwks_over_https_with_an_authority_of_ones_own(issuer: Issuer, tmp_path: Path, keepers: list[Keeper]) -> None:
    authority = Authority(tmp_path)
    server = TlsJwksServer(authority.issue("localhost", dns="localhost"))
    server.serve(issuer.jwks)
    try:
        trusting = keeper(keepers, server.url, ca=str(authority.certificate))
        assert trusting.user(issuer.token()) == USER
        # The host's authorities do not know it, nor does another one; nobody is let in by keys of who knows whom.
        other = Authority(tmp_path, "another authority")
        for ca in (None, str(other.certificate)):
            stranger = keeper(keepers, server.url, ca=ca)
            assert "there are no keys" in stranger.refused(issuer.token())
            assert "failed: SSLCertVerificationError" in stranger.status.fault
    finally:
        server.close()


def test_a_jwks_in_a_file_that_is_replaced(issuer: Issuer, tmp_path: Path, keepers: list[Keeper]) -> None:
    found = keeper(keepers, jwks_file(tmp_path, issuer))
    assert found.user(issuer.token()) == USER
    following = Issuer(kid="key-2")
    (tmp_path / "new").write_text(json.dumps(following.jwks), encoding="utf-8")
    (tmp_path / "new").replace(tmp_path / "jwks.json")
    until(lambda: isinstance(found.verdict(following.token()), Verified))
    assert "none of the 1" in found.refused(issuer.token())


def test_a_source_that_is_down_lets_nobody_in(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    source.close()
    found = keeper(keepers, source.url)
    assert "there are no keys to verify it with: http://127.0.0.1: the fetch failed" in found.refused(issuer.token())
    status = found.status  # of one moment: it is read again and again
    assert not status.usable
    assert status.failures == status.reads > 0
    assert status.age is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>Sign in to the hotel's network</html>",
        b'{"keys": []}',
        b'{"keys": {"a": 1}}',
        b"[" * 5000,
        b"\xff\xff",
        b'{"keys": [{"kty":"oct","k":"AAAA","kid":"key-1"}, {"kty":"RSA","n":"AQAB","e":"AQAB","kid":"key-1"}]}',
        json.dumps({"keys": [{}] * (MAX_JWKS_KEYS + 1)}).encode(),
    ],
    ids=["empty", "html", "none", "no-list", "deep", "bytes", "no-use", "many"],
)
def test_garbage(source: JwksServer, issuer: Issuer, keepers: list[Keeper], document: bytes) -> None:
    source.serve(document)
    found = keeper(keepers, source.url)
    assert "there are no keys" in found.refused(issuer.token())
    source.serve(issuer.jwks)
    until(lambda: isinstance(found.verdict(issuer.token()), Verified))
    source.serve(document)
    until(lambda: found.status.fault)
    assert found.user(issuer.token({"jti": "2"})) == USER  # the last good ones are kept


def test_a_private_key_in_the_jwks(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    source.serve({"keys": [{**issuer.jwk, "d": "AAAA"}]})
    assert "private key" in keeper(keepers, source.url).refused(issuer.token())


def test_a_huge_source(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    source.serve(b" " * (MAX_JWKS_BYTES + 1))
    assert "longer than" in keeper(keepers, source.url).refused(issuer.token())


def test_a_redirect_is_not_followed(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    good = JwksServer()
    good.serve(issuer.jwks)
    source.serve(b"", status=302, Location=good.url)
    assert "answered 302" in keeper(keepers, source.url).refused(issuer.token())
    assert not good.requests
    good.close()


def test_a_slow_source_holds_up_no_decision(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    source.serve(issuer.jwks)
    found = keeper(keepers, source.url, STILL)
    assert found.user(issuer.token()) == USER
    source.hold.clear()
    following = Issuer(kid="key-2")
    # While the source hangs, decisions are made on: each of these would else wait for it.
    for _ in range(20):
        assert "they are being read again" in found.refused(following.token())
        assert found.user(issuer.token()) == USER
    source.serve({"keys": [issuer.jwk, following.jwk]})
    source.hold.set()
    until(lambda: isinstance(found.verdict(following.token()), Verified))
    assert source.requests == 2


def test_a_key_that_is_withdrawn_ends_what_was_remembered(
    source: JwksServer, issuer: Issuer, keepers: list[Keeper]
) -> None:
    source.serve(issuer.jwks)
    found = keeper(keepers, source.url)
    token = issuer.token()
    assert found.user(token) == USER
    following = Issuer(kid="key-2")
    source.serve(following.jwks)
    until(lambda: isinstance(found.verdict(following.token()), Verified))
    assert "key key-1 is none of the 1" in found.refused(token)


def test_another_key_under_the_same_kid_ends_what_was_remembered(
    source: JwksServer, issuer: Issuer, keepers: list[Keeper]
) -> None:
    source.serve(issuer.jwks)
    found = keeper(keepers, source.url)
    token = issuer.token()
    assert found.user(token) == USER
    other = Issuer(kid=issuer.kid)
    source.serve(other.jwks)
    until(lambda: isinstance(found.verdict(other.token()), Verified))
    assert "not signed with key key-1" in found.refused(token)


def test_two_keys_with_one_kid_are_none(issuer: Issuer) -> None:
    other = Issuer(kid="key-1")
    third = Issuer(kid="key-3")
    keys = parse_issuer_jwks(json.dumps({"keys": [issuer.jwk, other.jwk, third.jwk, third.jwk]}).encode())
    assert set(keys) == {"key-3"}


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": 1},
        {"kid": None},
        {"kid": ""},
    ],
    ids=str,
)
def test_entries_that_are_for_something_else_are_passed_over(issuer: Issuer, changed: dict[str, Any]) -> None:
    other = Issuer(kid="key-2")
    keys = parse_issuer_jwks(json.dumps({"keys": [{**issuer.jwk, **changed}, other.jwk]}).encode())
    assert set(keys) == {"key-2"}


def test_rsa_keys_that_are_weak_or_endless_are_passed_over() -> None:
    good = Issuer("RS256", kid="good").jwk
    strange = [
        {**good, "kid": "short", "n": good["n"][:200]},
        {**good, "kid": "long", "n": good["n"] * 5},
        {**good, "kid": "exponent", "e": good["n"][:60]},
    ]
    assert set(parse_issuer_jwks(json.dumps({"keys": [*strange, good]}).encode())) == {"good"}


def test_the_last_good_keys_count_for_the_stated_time_and_no_longer(tmp_path: Path, issuer: Issuer) -> None:
    now = [1000.0]
    path = jwks_file(tmp_path, issuer)
    source = KeySource(location=str(path), keep_seconds=600)
    keys = open_keys(source, usual_times(source), monotonic=lambda: now[0])
    keys.read_now()
    path.unlink()
    now[0] += 600
    keys.read_now()
    assert keys.find("key-1") is not None
    assert keys.status().fault is not None
    now[0] += 0.1
    assert keys.find("key-1") is None
    assert not keys.status().usable
    keys.close()


def test_who_looks_while_a_read_fails_sees_no_good_read_taken_back(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a counter that goes down for a moment, Prometheus makes as many reads as there ever were.
    path = jwks_file(tmp_path, issuer)
    source = KeySource(location=str(path))
    keys = open_keys(source, usual_times(source))
    keys.close()  # no thread: each read is the test's
    keys.read_now()
    path.unlink()
    seen = []
    monkeypatch.setattr(keys, "say_failed", lambda *_, **__: seen.append(keys.status()))
    keys.read_now()
    assert [one.reads - one.failures for one in (*seen, keys.status())] == [1, 1]


def test_a_flood_of_unknown_kids_reads_the_source_once(
    source: JwksServer, issuer: Issuer, keepers: list[Keeper]
) -> None:
    source.serve(issuer.jwks)
    usual = usual_times(KeySource(location=source.url))
    assert usual.unknown_kid > 0
    # However long the flood lasts here: in the time that an unknown kid has to wait there is no second read.
    found = keeper(keepers, source.url, replace(usual, refresh=3600, unknown_kid=3600))
    for number in range(300):
        assert "none of the 1" in found.refused(issuer.token(header={"kid": f"invented-{number}"}))
    assert source.requests == 1


def test_decisions_of_many_threads_ask_for_one_read(source: JwksServer, issuer: Issuer, keepers: list[Keeper]) -> None:
    source.serve(issuer.jwks)
    found = keeper(keepers, source.url, STILL)
    source.hold.clear()
    following = Issuer(kid="key-2").token()
    threads = [threading.Thread(target=found.refused, args=(following,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.hold.set()
    until(lambda: found.status.reads == 2)
    assert source.requests == 2


ARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/claw/50dc6c495c0c9188"


def alb(**changed: Any) -> dict[str, Any]:
    return {"claims_in_header": True, "padded": True, "signer": ARN, "audiences": ("client-1",), **changed}


def alb_token(issuer: Issuer, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
    good = issuer.claims()
    top = {"iss": good["iss"], "client": "client-1", "signer": ARN, "exp": good["exp"], **(header or {})}
    return issuer.token({"aud": None, "iat": None, **(claims or {})}, top, padded=True)


@pytest.fixture
def region(issuer: Issuer) -> Iterator[PemServer]:
    server = PemServer(issuer)
    yield server
    server.close()


def test_a_key_by_its_id_is_fetched_once_its_first_token_came(
    issuer: Issuer, region: PemServer, keepers: list[Keeper]
) -> None:
    found = keeper(keepers, region.url, STILL, **alb())
    assert "key key-1 is none of the 0 that are known; they are being read again" in found.refused(alb_token(issuer))
    until(lambda: isinstance(found.verdict(alb_token(issuer)), Verified))
    assert found.user(alb_token(issuer)) == USER
    assert region.asked == ["key-1"]


def test_every_load_balancer_but_ones_own(issuer: Issuer, region: PemServer, keepers: list[Keeper]) -> None:
    # All of a region sign with the same keys: the key says nothing about whose load balancer it was.
    found = keeper(keepers, region.url, STILL, **alb())
    for signer in (ARN.replace("123456789012", "999999999999"), ARN + "x", "", None, [ARN]):
        assert "signer" in found.refused(alb_token(issuer, {"signer": signer}))
    assert not region.asked  # nor is a key fetched for it


@pytest.mark.parametrize(
    ("header", "claims", "why"),
    [
        ({"client": "client-2"}, {}, "it is for client-2"),
        ({"client": None}, {}, "it is for none"),
        ({"iss": "evil"}, {"iss": None}, "issuer is evil"),
        ({"iss": "evil"}, {}, "in its payload"),
        ({}, {"iss": "evil"}, "in its payload"),
        ({"exp": None}, {"exp": None}, "exp is missing"),
        ({}, {"exp": 4_000_000_000}, "exp is missing"),
        ({"exp": 1_700_000_000}, {"exp": None}, "its time was over"),
        ({"exp": 4_000_000_000}, {"exp": None}, "maxAge"),
        ({}, {"email": None}, "names nobody"),
    ],
)
def test_load_balancers_say_it_in_the_header(  # noqa: PLR0917 - what is said, and what comes of it
    issuer: Issuer, region: PemServer, keepers: list[Keeper], header: dict[str, Any], claims: dict[str, Any], why: str
) -> None:
    found = keeper(keepers, region.url, STILL, **alb())
    found.verdict(alb_token(issuer))
    until(lambda: found.user(alb_token(issuer)) if region.asked and found.status.keys else None)
    assert why in found.refused(alb_token(issuer, header, claims))


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "a/b", "a?b", "a#b", "..", "%2e%2e", "a b", "k" * 129, "a\r\nHost: evil"]
)
def test_a_kid_that_would_be_another_address(
    issuer: Issuer, region: PemServer, keepers: list[Keeper], kid: str
) -> None:
    found = keeper(keepers, region.url, STILL, **alb())
    reads = found.status.reads
    assert "none of the 0" in found.refused(alb_token(issuer, {"kid": kid}))
    assert found.status.reads == reads
    assert not region.asked


def test_invented_kids_are_fetched_few_at_a_time_and_forgotten(
    issuer: Issuer, region: PemServer, keepers: list[Keeper]
) -> None:
    found = keeper(keepers, region.url, STILL, **alb())
    found.verdict(alb_token(issuer))
    until(lambda: isinstance(found.verdict(alb_token(issuer)), Verified))
    for number in range(3 * MAX_KEYS_BY_KID):
        found.refused(alb_token(issuer, {"kid": f"invented-{number}"}))
    until(lambda: any(kid.startswith("invented") for kid in region.asked))
    assert found.user(alb_token(issuer)) == USER
    assert found.status.keys == 1


@pytest.mark.parametrize(
    "document", [b"", b"not a key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_a_pem_that_is_none(document: bytes) -> None:
    with pytest.raises(JwksError, match="no public key"):
        parse_pem("key-1", document)


def test_files_that_cannot_be_used_are_told_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate", encoding="utf-8")
    source = KeySource(location=str(tmp_path / "absent.json"), ca=str(tmp_path / "ca.pem"))
    assert [key for key, _ in file_faults(source)] == ["jwks", "jwksCa"]
    assert not list(file_faults(KeySource(location="https://keys.example.com/jwks.json")))
