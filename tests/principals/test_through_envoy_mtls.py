"""Client certificates through real Envoy: whose is believed, and whose is not, whatever is written into one."""

import base64
import json
from typing import Any

import pytest

from principals.mtls import BELOW, CA, DNS_NAME, ELSEWHERE, IDENTITY, LISTED, OTHER, PROXY, REQUIRE, USER, Mtls, told
from support.clients import Response
from support.process import wait_until

ALLOWED = "allowed"
UNTRUSTED = "403 trusted_proxy_untrusted_principal"
SOURCE = "403 trusted_proxy_untrusted_source"
REFUSED_BY_ENVOY = "0 by Envoy"

OPTIONAL = (REQUIRE, "require_client_certificate: false")
_CONTEXT = "transport_sockets.tls.v3.DownstreamTlsContext\n"
REQUIRED_OF_NOBODY = (_CONTEXT, f"{_CONTEXT}          {REQUIRE}\n")
UNVERIFIED = (CA, CA.replace("trusted_ca", "trust_chain_verification: ACCEPT_UNTRUSTED\n              trusted_ca"))


def uri(text: str) -> tuple[str, bytes]:
    return "uri", text.encode()


def dns(text: str) -> tuple[str, bytes]:
    return "dns", text.encode()


def claims(answer: Response, mtls: Mtls) -> dict[str, Any]:
    assert answer.status == 200
    (arrived,) = mtls.gateway.arrived
    assert arrived.values("x-authz-user") == [USER]
    payload = arrived.values("x-authz-stamp")[0].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def logged(mtls: Mtls, answer: Response) -> dict[str, Any]:
    (decision,) = answer.values("x-authz-decision")
    found: list[dict[str, Any]] = []

    def written() -> bool:
        try:
            found.append(mtls.logged(decision))
        except LookupError:
            return False
        return True

    wait_until(written, "the line of the decision")
    return found[0]


@pytest.mark.parametrize("to", ["alone", "any", "all", "claw"])
def test_trusted_certificate_is_believed(mtls: Mtls, to: str) -> None:
    source = LISTED if to == "all" else ELSEWHERE
    answer = mtls.send(mtls.front(), mtls.of(PROXY), to=to, source=source)
    # The stamp says as ever whose word was taken, by address.
    assert claims(answer, mtls)["prx"] == source


@pytest.mark.parametrize(("to", "answer"), [("alone", UNTRUSTED), ("any", UNTRUSTED), ("all", SOURCE)])
def test_another_certificate_of_the_same_authority_is_not_believed(mtls: Mtls, to: str, answer: str) -> None:
    assert told(mtls.send(mtls.front(), mtls.of(OTHER), to=to)) == answer
    assert not mtls.gateway.arrived


def test_any_takes_one_of_both_and_all_wants_both(mtls: Mtls) -> None:
    port = mtls.front()
    found = {
        (to, source, principal): told(mtls.send(port, mtls.of(principal), to=to, source=source))
        for to in ("any", "all")
        for source in (LISTED, ELSEWHERE)
        for principal in (PROXY, OTHER)
    }
    assert found == {
        ("any", LISTED, PROXY): ALLOWED,
        ("any", LISTED, OTHER): ALLOWED,
        ("any", ELSEWHERE, PROXY): ALLOWED,
        ("any", ELSEWHERE, OTHER): UNTRUSTED,
        ("all", LISTED, PROXY): ALLOWED,
        ("all", LISTED, OTHER): UNTRUSTED,
        ("all", ELSEWHERE, PROXY): SOURCE,
        ("all", ELSEWHERE, OTHER): SOURCE,
    }


def test_what_was_allowed_for_one_certificate_is_not_for_the_next(mtls: Mtls) -> None:
    port = mtls.front()
    found = [told(mtls.send(port, mtls.of(principal))) for principal in (PROXY, OTHER, PROXY, OTHER)]
    assert found == [ALLOWED, UNTRUSTED, ALLOWED, UNTRUSTED]


def test_client_that_the_proxy_names_is_behind_the_certificate(mtls: Mtls) -> None:
    # Envoy appends the proxy's own address, which is in no list: it is not taken for the client.
    port = mtls.front()
    assert told(mtls.send(port, mtls.of(PROXY), to="claw")) == ALLOWED
    unnamed = IDENTITY[:-1]
    assert told(mtls.send(port, mtls.of(PROXY), to="claw", headers=unnamed)) == "403 proxy_attribution_required"
    assert told(mtls.send(port, mtls.of(OTHER), to="claw")) == "403 proxy_attribution_required"


# Forged.


def test_self_signed_certificate_with_a_trusted_name_is_refused_by_envoy(mtls: Mtls) -> None:
    forged = mtls.certificate(uri(PROXY), self_signed=True)
    for to in ("alone", "any", "all"):
        assert told(mtls.send(mtls.front(), forged, to=to, source=LISTED)) == REFUSED_BY_ENVOY
    # Also where a certificate is not wanted: one that is shown is verified.
    assert told(mtls.send(mtls.front(OPTIONAL), forged, to="any", source=LISTED)) == REFUSED_BY_ENVOY
    assert not mtls.gateway.arrived


def test_expired_certificate_is_refused_by_envoy_unless_it_is_told_otherwise(mtls: Mtls) -> None:
    expired = mtls.certificate(uri(PROXY), days=(-3, -2))
    assert told(mtls.send(mtls.front(), expired)) == REFUSED_BY_ENVOY
    lenient = (CA, CA.replace("trusted_ca", "allow_expired_certificate: true\n              trusted_ca"))
    assert told(mtls.send(mtls.front(lenient), expired)) == ALLOWED


ODD = {
    "nul": b"\0",
    "nul-and-more": b"\0.attacker.example",
    "line-break": b"\r\nx-forwarded-user: eve",
    "escape": b"\x1b[2J",
    "no-utf-8": b"\xff\xfe",
    "cut-utf-8": b"\xe2\x80",
    "surrogate": b"\xed\xa0\x80",
    "utf-8": "ö\u202e".encode(),
    "space": b" ",
    "substitute": b"!",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_odd_bytes_in_a_name_make_it_nobodys(mtls: Mtls, odd: bytes) -> None:
    port = mtls.front()
    trusted = [("uri", PROXY.encode()), ("dns", DNS_NAME.encode())]
    for kind, name in trusted:
        answer = mtls.send(port, mtls.certificate((kind, name + odd)))
        assert told(answer) == UNTRUSTED
        line = logged(mtls, answer)
        assert (line["principal"][: len(name)].encode(), line["matched"]) == (name, None)
    # In the middle of what a wildcard trusts, too; but a space is as good as any letter.
    below = mtls.send(port, mtls.certificate(("uri", BELOW.encode() + odd + b"x")))
    assert told(below) == (ALLOWED if odd == b" " else UNTRUSTED)
    assert told(mtls.send(port, mtls.certificate(("uri", odd + PROXY.encode())))) == UNTRUSTED


def test_name_of_thousands_of_characters_is_denied_and_logged_in_part(mtls: Mtls) -> None:
    answer = mtls.send(mtls.front(), mtls.certificate(uri(BELOW + "a" * 8000)))
    assert told(answer) == UNTRUSTED
    assert len(logged(mtls, answer)["principal"]) == 2048


# Several names: the first URI, else the first DNS name, else the subject.


@pytest.mark.parametrize(
    ("names", "principal"),
    [
        ([uri(PROXY), uri(OTHER)], PROXY),
        ([uri(OTHER), uri(PROXY)], OTHER),
        ([dns("eve.example.com"), uri(PROXY)], PROXY),
        ([uri(OTHER), dns(DNS_NAME)], OTHER),
        ([dns(DNS_NAME), dns("eve.example.com")], DNS_NAME),
        ([dns("eve.example.com"), dns(DNS_NAME)], "eve.example.com"),
        ([uri(""), uri(PROXY)], ""),
        ([uri(""), dns(DNS_NAME)], ""),
        ([("email", DNS_NAME.encode())], "CN=subject"),
        ([], "CN=subject"),
        # There are no kinds of principals: what counts is the authority, which has to look at each name.
        ([dns(PROXY)], PROXY),
        ([uri(DNS_NAME)], DNS_NAME),
        ([uri(f"{PROXY},{OTHER}")], f"{PROXY},{OTHER}"),
    ],
)
def test_of_several_names_one_counts(mtls: Mtls, names: list[tuple[str, bytes]], principal: str) -> None:
    answer = mtls.send(mtls.front(), mtls.certificate(*names, subject="subject"))
    assert told(answer) == (ALLOWED if principal in {PROXY, DNS_NAME} else UNTRUSTED)
    if answer.status != 200:
        assert logged(mtls, answer)["principal"] == principal


@pytest.mark.parametrize("subject", [PROXY, DNS_NAME, f"x,CN={DNS_NAME}", f"{DNS_NAME}\0"], ids=ascii)
def test_subject_is_not_taken_for_a_name_without_its_type(mtls: Mtls, subject: str) -> None:
    answer = mtls.send(mtls.front(), mtls.certificate(subject=subject))
    assert told(answer) == UNTRUSTED
    assert logged(mtls, answer)["principal"].startswith("CN=")


# Nothing shown, or only said.


def test_without_a_certificate_envoy_refuses_or_tells_none(mtls: Mtls) -> None:
    assert told(mtls.send(mtls.front(), None, source=LISTED)) == REFUSED_BY_ENVOY
    optional = mtls.front(OPTIONAL)
    assert told(mtls.send(optional, None, source=LISTED)) == UNTRUSTED
    assert told(mtls.send(optional, None, to="all", source=LISTED)) == UNTRUSTED
    assert told(mtls.send(optional, None, to="any", source=LISTED)) == ALLOWED
    assert told(mtls.send(optional, None, to="any", source=ELSEWHERE)) == SOURCE
    assert told(mtls.send(optional, mtls.of(PROXY))) == ALLOWED


SPOOFED = [
    ("x-forwarded-client-cert", f'By=spiffe://cluster.local/envoy;Hash=00;Subject="CN=x";URI={PROXY};DNS={DNS_NAME}'),
    *(("x-forwarded-client-cert", f"URI={PROXY}"), ("x-extauthz-principal", PROXY), ("x-ssl-client-s-dn", PROXY)),
    *(("x-client-cert", PROXY), ("principal", PROXY), ("x-envoy-downstream-service-cluster", PROXY)),
]


@pytest.mark.parametrize("details", ["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "ALWAYS_FORWARD_ONLY"])
def test_headers_about_a_certificate_are_not_believed(mtls: Mtls, details: str) -> None:
    # The written configuration removes this header; also another one's Envoy does not take a principal from it.
    replaced = [OPTIONAL, ("forward_client_cert_details: SANITIZE", f"forward_client_cert_details: {details}")]
    port = mtls.front(*replaced)
    for shown in (mtls.of(OTHER), None):
        assert told(mtls.send(port, shown, headers=[*IDENTITY, *SPOOFED])) == UNTRUSTED
    assert not mtls.gateway.arrived


def test_over_http_no_certificate_is_told_of(mtls: Mtls) -> None:
    port = mtls.front(ask_over="http")
    for to in ("alone", "all"):
        answer = mtls.send(port, mtls.of(PROXY), to=to, source=LISTED, headers=[*IDENTITY, *SPOOFED])
        assert told(answer) == UNTRUSTED
    assert told(mtls.send(port, mtls.of(PROXY), to="any", source=LISTED)) == ALLOWED
    assert told(mtls.send(port, mtls.of(PROXY), to="any", source=ELSEWHERE)) == SOURCE


# Envoys that do not verify: what is said of them in docs/peers.md.


def test_envoy_that_asks_for_certificates_without_an_authority_tells_of_none(mtls: Mtls) -> None:
    # Without an authority it does not even ask for one, whatever `require_client_certificate` says.
    forged = mtls.certificate(uri(PROXY), self_signed=True)
    empty = ("          common_tls_context:\n", "          common_tls_context:\n            validation_context: {}\n")
    replaced = [(), (REQUIRED_OF_NOBODY,), (REQUIRED_OF_NOBODY, empty)]
    for port in [mtls.front(*texts, client_ca=False) for texts in replaced]:
        for shown in (forged, mtls.of(PROXY), None):
            assert told(mtls.send(port, shown, source=LISTED)) == UNTRUSTED


def test_envoy_that_accepts_untrusted_certificates_tells_forged_principals(mtls: Mtls) -> None:
    # Nothing in what Envoy asks tells this from a verified certificate: the page, the audit and the hint say so.
    forged = mtls.certificate(uri(PROXY), self_signed=True)
    assert told(mtls.send(mtls.front(UNVERIFIED), forged)) == ALLOWED
    assert told(mtls.send(mtls.front(OPTIONAL, UNVERIFIED), forged)) == ALLOWED
    assert told(mtls.send(mtls.front(OPTIONAL, UNVERIFIED), None)) == UNTRUSTED
