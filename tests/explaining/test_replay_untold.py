"""What a decision log does not hold is not made up: the line cannot be told, or rests on what is said."""

import json
from typing import Any

import pytest

from cases.build import LOOPBACK, PAIRS, UNIX, gateway, load_gateways, request_of, told
from explaining.logged import log_line
from extauthz.config.compile import compile_policy
from extauthz.core.request import Caller, Request
from extauthz.explaining.asserted import UntoldError
from extauthz.explaining.decision_log import NoDecisionError, decide_again, read_decision

PLAIN = {"g": gateway()}
# Of several gateways without hosts none is chosen by the host: who got to one was sent there by name.
OTHERS = {"h": gateway(), "i": gateway()}
ALLOWED = "allow:nick@example.com"


def again(
    request: Request,
    now: dict[str, Any],
    then: dict[str, Any] | None = None,
    *,
    door: str = "grpc",
    redact: tuple[str, ...] = (),
    before: bool = False,
    sections: dict[str, Any] | None = None,
) -> str:
    """Return how a request that one file logged is decided under another, or why that cannot be told."""
    old = load_gateways(then or PLAIN)
    line = log_line(old, request, door=door, redact=redact)
    policy = compile_policy(load_gateways(now, **(sections or {})), frozenset)
    try:
        known = compile_policy(old, frozenset) if before else None
        found = decide_again(policy, read_decision(json.loads(line)), known)
    except UntoldError as error:
        return str(error)
    return " and ".join((told(found.decision), *found.rests_on))


def test_what_did_not_change_rests_on_a_required_header_only_while_the_old_file_is_not_known() -> None:
    assert again(request_of(), PLAIN) == f"{ALLOWED} and x-forwarded-proto was not blank"
    assert again(request_of(), PLAIN, before=True) == ALLOWED


def test_a_header_that_is_required_only_now_may_have_been_blank_and_is_no_allow() -> None:
    now = {"g": gateway({"requiredHeaders": ["x-proof"]})}
    for value in ("", "yes"):
        said = again(request_of([*PAIRS, ("x-proof", value)]), now, before=True)
        assert said == "the present file requires x-proof, and whether it was blank is not logged"
    assert again(request_of(), now) == "deny:trusted_proxy_missing_header_x-proof"


def test_a_user_in_another_header_than_then_is_not_known() -> None:
    now = {"g": gateway({"userHeader": "x-email"})}
    pairs = [*PAIRS, ("x-email", "eve@example.com")]
    assert "weighs x-email, whose value is not logged" in again(request_of(pairs), now)
    assert again(request_of(), now).startswith("deny:trusted_proxy_user_missing")
    # An earlier step that fails is enough.
    assert again(request_of(pairs, peer="10.9.9.9"), now) == "deny:trusted_proxy_untrusted_source"


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-real-ip"])
def test_a_client_whose_address_is_redacted_is_not_known(name: str) -> None:
    now = {"g": gateway(ruleset="openclaw-2026.9", allowRealIpFallback=True)}
    asked = request_of([*PAIRS[:2], (name, "203.0.113.9")])
    assert again(asked, now).startswith(ALLOWED)
    assert again(asked, now, redact=(name,)) == f"the present file weighs {name}, whose value is not logged"


def test_a_redacted_value_is_no_value() -> None:
    said = again(request_of(), PLAIN, redact=("X-Forwarded-User",))
    assert "weighs x-forwarded-user, whose value is not logged" in said
    listed = {"g": gateway(controlUi={"allowedOrigins": ["https://a.example"]})}
    with_origin = request_of([*PAIRS, ("origin", "https://a.example")], host="a.example")
    assert "weighs origin" in again(with_origin, listed, redact=("origin",))
    assert "which is redacted" in again(with_origin, listed, redact=("host",))
    assert again(request_of(host="a.example"), listed, redact=("host",)).startswith(ALLOWED)


def test_a_value_that_says_it_is_redacted_is_not_believed_either() -> None:
    open_to_all = {"g": gateway({"allowUsers": []})}
    assert "not logged" in again(request_of([("x-forwarded-user", "[redacted]"), *PAIRS[1:]]), open_to_all)


def test_names_that_were_left_out_are_not_taken_for_absent() -> None:
    many = request_of([*PAIRS, *((f"x-{number}", "1") for number in range(190))])
    assert again(many, PLAIN) == "not every header's name is logged"
    assert again(many, OTHERS) == "deny:gateway_unknown"


def test_a_request_that_reached_no_gateway_has_no_peer_in_the_log() -> None:
    unknown = request_of(gateway="h")
    assert again(unknown, PLAIN) == "deny:gateway_unknown"
    assert again(unknown, {"h": gateway()}) == "the request reached no gateway then, and its peer is not logged"
    by_host = request_of(gateway=None, host="b.example")
    then = {"a": gateway(hosts=["a.example"])}
    assert again(by_host, then, then) == "deny:gateway_unknown"
    assert "its peer is not logged" in again(by_host, {"b": gateway(hosts=["b.example"])}, then)
    assert "it is redacted" in again(by_host, then, then, redact=("host",))


def test_a_host_that_is_elsewhere_now_is_told_only_where_the_proxy_named_the_gateway() -> None:
    then = {"g": gateway(hosts=["a.example"]), "h": gateway(hosts=["b.example"])}
    asked = request_of(gateway="g", host="a.example")
    for now in (
        {"g": gateway(hosts=["c.example"]), "h": gateway(hosts=["a.example"])},
        {"g": gateway(hosts=["c.example"])},
        {"h": gateway(hosts=["a.example"])},
    ):
        assert "or the host chose it is not logged" in again(asked, now, then)
        assert "or the host chose it" not in again(asked, now, then, door="traefik")
    assert again(asked, {"g": gateway(hosts=["*.example"])}, then).startswith(ALLOWED)
    # The old file had the host in no gateway, or in another: so the proxy named this one.
    sent = request_of(gateway="g", host="b.example")
    assert again(sent, {"g": gateway(hosts=["c.example"])}, then, before=True) == ALLOWED
    assert again(sent, OTHERS, then, before=True) == "deny:gateway_unknown"


def test_who_was_refused_for_want_of_a_certificate_is_not_let_in() -> None:
    certificate = {
        "tls": {"certificate": "c.pem", "privateKey": "k.pem", "clientCa": "ca.pem"},
        "callers": {"addresses": ["127.0.0.0/8"], "principals": ["envoy.example"]},
    }
    stranger = request_of(caller=Caller(None))
    assert "certificate" in again(stranger, PLAIN, sections=certificate)
    assert "and the caller showed a certificate" in again(request_of(), PLAIN, sections=certificate)
    assert again(stranger, PLAIN) == "deny:caller_not_allowed"


def test_the_caller_is_the_one_of_the_log() -> None:
    closed = {"callers": {"addresses": ["10.1.0.4"]}}
    assert again(request_of(), PLAIN, sections=closed) == "deny:caller_not_allowed"
    assert again(request_of(caller=UNIX), PLAIN, sections={"callers": {"addresses": ["unix"]}}).startswith(ALLOWED)
    by_caller = {"g": gateway(peer="caller", trustedProxies=["127.0.0.1"])}
    assert again(request_of(), by_caller).startswith(ALLOWED)


def test_a_peer_that_may_have_been_the_caller_is_said_to_be_the_source() -> None:
    loopback = {"g": gateway(trustedProxies=["127.0.0.1"])}
    assert "`peer` was source then as now" in again(request_of(peer="127.0.0.1", caller=LOOPBACK), loopback, loopback)
    asked = request_of(peer="127.0.0.1", caller=LOOPBACK)
    assert again(asked, loopback, loopback, before=True) == ALLOWED
    assert "`peer`" not in again(request_of(), PLAIN)
    by_caller = {"g": gateway(peer="caller", trustedProxies=["127.0.0.1"])}
    assert again(asked, loopback, by_caller, before=True) == "`peer` was caller then, and the source is not logged"


def test_bytes_that_could_not_be_read_are_not_read_now() -> None:
    unreadable = request_of()._replace(headers=None, fault="no headers")
    assert again(unreadable, PLAIN) == "the request could not be read then, and its bytes are not logged"
    assert again(unreadable, OTHERS) == "deny:gateway_unknown"
    # A user that no header should carry was read, and is in the log.
    odd = request_of([("x-forwarded-user", "ni\tck"), *PAIRS[1:]])
    assert again(odd, {"g": gateway({"allowUsers": []})}).startswith("deny:request_malformed")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"result": "maybe"}, "`result` must be"),
        ({"result": None}, "`result` must be"),
        ({"result": ["allow"]}, "`result` must be"),
        ({"headers": None}, "`headers` must be"),
        ({"headers": {"a": 1}}, "text or true"),
        ({"headers": {"a": False}}, "text or true"),
        ({"headers": {"a": ["b"]}}, "text or true"),
        ({"repeated": "a"}, "`repeated` must be"),
        ({"gateway": 1}, "`gateway` must be"),
        ({"peer": {}}, "`peer` must be"),
        ({"reason": "because"}, "`reason` must be there"),
        ({"result": "deny"}, "`reason` must be there"),
    ],
    ids=str,
)
def test_a_line_that_no_service_wrote_is_told(keys: dict[str, Any], says: str) -> None:
    line = json.loads(log_line(load_gateways(PLAIN)))
    with pytest.raises(NoDecisionError, match=says):
        read_decision({**line, **keys})
