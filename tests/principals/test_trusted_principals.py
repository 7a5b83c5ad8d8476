"""Who is the trusted proxy where certificates count: by one of both, by both; what a principal does not make up for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import (
    GATEWAY,
    LOOPBACK,
    PAIRS,
    ask,
    authorizer_of,
    gateway,
    load_gateways,
    policy_of,
    request_of,
    told,
)
from cases.generated import bounded
from cases.messages import FORMS, Form, check_request, read
from config.test_faults import of_gateway
from extauthz.config.faults import ConfigError
from extauthz.core import steps
from extauthz.core.address import parse_address
from extauthz.core.decide import decide
from extauthz.core.rulesets import RULESETS
from extauthz.core.step import Evaluation
from forward_auth.asking import DIALECTS, Asked
from telemetry.looking import Asking

PROXY = "spiffe://cluster.local/ns/ingress/sa/pomerium"
OTHER = "spiffe://cluster.local/ns/other/sa/eve"
TRUSTED_PEER, STRANGER = "10.0.0.7", "10.0.0.8"

ALLOWED = "allow:nick@example.com"
SOURCE = "deny:trusted_proxy_untrusted_source"
PRINCIPAL = "deny:trusted_proxy_untrusted_principal"


def alone(**keys: Any) -> dict[str, Any]:
    """Return a gateway that trusts a principal and no address."""
    return gateway(**{"trustedProxies": [], "trustedPrincipals": [PROXY], **keys})


def beside(require: str, **keys: Any) -> dict[str, Any]:
    """Return a gateway that trusts a principal and an address."""
    return gateway(trustedPrincipals=[PROXY], require=require, **keys)


@pytest.mark.parametrize("ruleset", RULESETS)
@pytest.mark.parametrize(
    ("config", "peer", "principal", "wanted"),
    [
        (alone(), STRANGER, PROXY, ALLOWED),
        (alone(), STRANGER, OTHER, PRINCIPAL),
        (alone(), STRANGER, "", PRINCIPAL),
        (beside("any"), TRUSTED_PEER, PROXY, ALLOWED),
        (beside("any"), TRUSTED_PEER, "", ALLOWED),
        (beside("any"), TRUSTED_PEER, OTHER, ALLOWED),
        (beside("any"), STRANGER, PROXY, ALLOWED),
        (beside("any"), STRANGER, OTHER, PRINCIPAL),
        (beside("any"), STRANGER, "", SOURCE),
        (beside("all"), TRUSTED_PEER, PROXY, ALLOWED),
        (beside("all"), TRUSTED_PEER, OTHER, PRINCIPAL),
        (beside("all"), TRUSTED_PEER, "", PRINCIPAL),
        (beside("all"), STRANGER, PROXY, SOURCE),
        (beside("all"), STRANGER, OTHER, SOURCE),
        (GATEWAY, STRANGER, PROXY, SOURCE),
        (GATEWAY, TRUSTED_PEER, "", ALLOWED),
    ],
)
def test_who_is_trusted_by_what(ruleset: str, config: dict[str, Any], peer: str, principal: str, wanted: str) -> None:
    found = ask(policy_of({"g": {**config, "ruleset": ruleset}}), peer=peer, principal=principal)
    if ruleset == "openclaw-2026.9" and not wanted.startswith("allow"):
        # There, who is not the trusted proxy and sends forwarded headers is refused before it is asked who it is.
        wanted = "deny:proxy_attribution_required"
    assert found == wanted


@pytest.mark.parametrize("peer", [None, "/run/proxy.sock", "envoy://internal", "10.0.0.7:80"])
@pytest.mark.parametrize("config", [alone(), beside("any"), beside("all")], ids=["alone", "any", "all"])
def test_trusted_principal_makes_no_peer_of_what_is_no_address(config: dict[str, Any], peer: str | None) -> None:
    # The stamp says whose word was taken, as an address: without one there is nothing to say.
    assert ask(policy_of({"g": config}), peer=peer, principal=PROXY) == SOURCE


def test_trusted_principal_does_not_make_loopback_allowed() -> None:
    forbidden = policy_of({"g": alone(auth=gateway({"allowLoopback": False})["auth"])})
    assert ask(forbidden, peer="127.0.0.1", principal=PROXY) == "deny:trusted_proxy_loopback_source"
    assert ask(policy_of({"g": alone()}), peer="127.0.0.1", principal=PROXY) == ALLOWED


def test_unresolved_name_beside_principals_never_turns_all_into_the_principal_alone() -> None:
    # While the name stands for nobody there is no trusted address, and so nobody with both.
    config = beside("all", trustedProxies=["dns:proxy.internal"])
    assert ask(policy_of({"g": config}), principal=PROXY) == SOURCE
    assert ask(policy_of({"g": {**config, "require": "any"}}), principal=PROXY) == ALLOWED


CLAW = {"ruleset": "openclaw-2026.9"}
CHAIN = "x-forwarded-for"


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        ("203.0.113.9", ALLOWED),
        # Envoy appends the peer, which is here trusted by its certificate and stands in no list of addresses.
        (f"203.0.113.9, {STRANGER}", ALLOWED),
        (STRANGER, "deny:proxy_attribution_required"),
        ("127.0.0.1", "deny:proxy_attribution_required"),
        ("", "deny:proxy_attribution_required"),
    ],
)
def test_proxy_trusted_by_certificate_has_to_name_the_client_as_any_other(chain: str, wanted: str) -> None:
    policy = policy_of({"g": alone(**CLAW)})
    pairs = [pair for pair in PAIRS if pair[0] != CHAIN]
    assert ask(policy, pairs=[*pairs, (CHAIN, chain)], peer=STRANGER, principal=PROXY) == wanted


def test_forwarded_headers_of_another_certificate_are_not_believed() -> None:
    assert ask(policy_of({"g": alone(**CLAW)}), peer=STRANGER, principal=OTHER) == "deny:proxy_attribution_required"
    quiet = [pair for pair in PAIRS if not pair[0].startswith("x-forwarded-")]
    assert ask(policy_of({"g": alone(**CLAW)}), pairs=quiet, peer=STRANGER, principal=OTHER) == PRINCIPAL


@bounded
@given(
    listed=st.booleans(),
    with_addresses=st.booleans(),
    require_all=st.booleans(),
    principal=st.sampled_from(["", PROXY, OTHER, PROXY + "\0", PROXY + "!"]),
)
def test_the_steps_say_the_same_as_the_gateway(
    listed: bool, with_addresses: bool, require_all: bool, principal: str
) -> None:
    config = beside("all" if require_all and with_addresses else "any")
    policy = policy_of({"g": config if with_addresses else {**config, "trustedProxies": []}})
    peer = TRUSTED_PEER if listed else STRANGER
    address = parse_address(peer)
    assert address is not None
    e = Evaluation(policy, request_of(peer=peer, principal=principal))
    e.gateway, e.peer = policy.gateways["g"], address
    passed = steps.TRUSTED.check(e) is None and steps.TRUSTED_PRINCIPAL.check(e) is None
    assert passed == policy.gateways["g"].trusts(address, principal) == steps.is_trusted_proxy(e)


def test_gateway_without_principals_is_asked_nothing_more() -> None:
    plain = policy_of({"g": gateway()}).gateways["g"]
    assert steps.TRUSTED_PRINCIPAL not in plain.asked
    assert plain.trusted_principals is None
    assert policy_of({"g": gateway(trustedPrincipals=[])}).gateways["g"].trusted_principals is None


# The wire.


@pytest.mark.parametrize("form", FORMS)
def test_principal_is_read_from_the_check_request(form: Form) -> None:
    authorizer = authorizer_of({"g": alone()})
    for principal, wanted in [(PROXY, ALLOWED), (OTHER, PRINCIPAL), ("", PRINCIPAL), (PROXY, ALLOWED)]:
        # Again and again, and over one authorizer: what was allowed for one certificate is not for another.
        for _ in range(3):
            message = check_request(PAIRS, form=form, peer=STRANGER, principal=principal.encode())
            assert read(authorizer.check(message, LOOPBACK)).told == wanted


ODD = [b"\0", b"\xff", b"\xc3\xb6", b"\r\n", b"!", b"\xed\xa0\x80"]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_bytes_in_a_principal_are_nobodys_and_no_unreadable_request(odd: bytes) -> None:
    principals = [PROXY, "spiffe://cluster.local/*"]
    authorizer = authorizer_of({"g": alone(trustedPrincipals=principals), "plain": gateway()})
    message = check_request(PAIRS, principal=PROXY.encode() + odd)
    assert read(authorizer.check(message, LOOPBACK)).told == PRINCIPAL
    # A gateway that asks for no certificate does not look at one.
    message = check_request(PAIRS, gateway="plain", principal=PROXY.encode() + odd)
    assert read(authorizer.check(message, LOOPBACK)).told == ALLOWED


def test_destination_or_service_are_not_taken_for_the_principal() -> None:
    from extauthz.wire.pb import check_pb2 as pb  # noqa: PLC0415 - as bytes only

    authorizer = authorizer_of({"g": alone()})
    message = pb.CheckRequest.FromString(check_request(PAIRS, peer=STRANGER))
    message.attributes.destination.principal = PROXY.encode()
    name = PROXY.encode()
    # source.service (2) is what a client says of itself in a header: our messages do not even have it.
    said = bytes([0x12, len(name)]) + name
    source = bytes([0x0A, len(said)]) + said
    attributes = bytes([0x0A, len(source)]) + source
    raw = message.SerializeToString() + attributes
    assert pb.CheckRequest.FromString(raw).attributes.source.principal == b""
    assert read(authorizer.check(raw, LOOPBACK)).told == PRINCIPAL


SPOOFED = [
    *(("x-forwarded-client-cert", f"By=spiffe://x;URI={PROXY}"), ("x-ssl-client-s-dn", PROXY)),
    *(("x-extauthz-principal", PROXY), ("x-principal", PROXY), ("source.principal", PROXY), ("principal", PROXY)),
    ("x-client-cert", PROXY),
]


@pytest.mark.parametrize("form", FORMS)
def test_no_header_is_taken_for_the_principal(form: Form) -> None:
    message = check_request([*PAIRS, *SPOOFED], form=form, peer=STRANGER)
    assert read(authorizer_of({"g": alone()}).check(message, LOOPBACK)).told == PRINCIPAL


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("config", [alone(), beside("all")], ids=["alone", "all"])
def test_no_header_of_an_http_door_is_taken_for_the_principal(dialect: str, config: dict[str, Any]) -> None:
    peer = TRUSTED_PEER if config["trustedProxies"] else STRANGER
    record = Asking({"g": config}).forward(dialect, "g", Asked([*PAIRS, *SPOOFED], peer))
    assert (told(record.decided.decision), record.request.principal) == (PRINCIPAL, "")


# The configuration.


@pytest.mark.parametrize(
    ("keys", "place", "wanted"),
    [
        ({"require": "all"}, "require", "trustedPrincipals is empty"),
        ({"require": "all", "trustedPrincipals": []}, "require", "trustedPrincipals is empty"),
        ({"require": "all", "trustedPrincipals": [PROXY], "trustedProxies": []}, "require", "trustedProxies is empty"),
        ({"require": "both", "trustedPrincipals": [PROXY]}, "require", "'any' or 'all'"),
        ({"trustedPrincipals": [PROXY], "peer": "caller"}, "trustedPrincipals", "gateways.g.callers.principals"),
        ({"trustedPrincipals": PROXY}, "trustedPrincipals", "must be a list"),
    ],
)
def test_what_could_trust_nobody_or_the_wrong_ones_is_refused(keys: dict[str, Any], place: str, wanted: str) -> None:
    # With `peer: caller` the certificate of which the proxy tells is the client's: any of its CA would be the proxy.
    found = of_gateway(gateway(**keys))
    assert list(found) == [f"gateways.g.{place}"]
    assert wanted in found[f"gateways.g.{place}"]


def test_gateway_with_principals_alone_is_complete() -> None:
    assert load_gateways({"g": alone()}).incomplete == ()
    (fault,) = load_gateways({"g": alone(trustedPrincipals=[])}).incomplete
    assert "`trustedPrincipals`" in fault.message


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (alone(), "they deny every request"),
        (beside("all"), "they deny every request"),
        (beside("any"), "the address alone decides there"),
    ],
    ids=["alone", "all", "any"],
)
def test_that_nothing_is_told_of_certificates_over_http_is_said_when_the_file_is_checked(
    config: dict[str, Any], wanted: str
) -> None:
    (notice,) = load_gateways({"g": config}).notices
    assert notice.path == "gateways.g.trustedPrincipals"
    assert wanted in notice.message
    assert not load_gateways({"g": gateway()}).notices


def test_bad_require_is_a_fault_and_no_default() -> None:
    with pytest.raises(ConfigError):
        load_gateways({"g": beside("ALL")})


def test_allow_names_the_peers_address_as_ever() -> None:
    policy = policy_of({"g": alone()})
    decision = decide(policy, request_of(peer=STRANGER, principal=PROXY))
    assert str(getattr(decision, "peer", None)) == STRANGER
