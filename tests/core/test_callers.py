"""Who may ask, and that this comes before everything else: whoever reaches the door could have any identity stamped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, UNIX, ask, gateway, policy_of
from cases.generated import bounded
from extauthz.core.address import parse_address
from extauthz.core.decide import refuse_unreadable
from extauthz.core.request import Caller

ALLOWED = "allow:nick@example.com"
REFUSED = "deny:caller_not_allowed"
TLS = {"certificate": "c.pem", "privateKey": "k.pem", "clientCa": "ca.pem"}


def _from(address: str, *principals: str) -> Caller:
    return Caller(parse_address(address), principals=frozenset(principals))


@pytest.mark.parametrize(
    ("caller", "wanted"),
    [
        (_from("127.0.0.1"), ALLOWED),
        (_from("127.9.9.9"), ALLOWED),
        (_from("::1"), ALLOWED),
        (_from("::ffff:127.0.0.1"), ALLOWED),
        (UNIX, ALLOWED),
        (_from("10.0.0.7"), REFUSED),  # a trusted proxy is no caller for that
        (_from("::2"), REFUSED),
        (Caller(None), REFUSED),  # a caller that cannot be read
    ],
    ids=str,
)
def test_by_default_only_this_host_may_ask(caller: Caller, wanted: str) -> None:
    assert ask(policy_of({"g": gateway()}), caller=caller) == wanted


@pytest.mark.parametrize(
    ("addresses", "caller", "wanted"),
    [
        (["10.1.0.4"], _from("10.1.0.4"), ALLOWED),
        (["10.1.0.4"], LOOPBACK, REFUSED),
        (["10.1.0.4"], UNIX, REFUSED),
        (["unix"], UNIX, ALLOWED),
        (["unix"], LOOPBACK, REFUSED),
        (["10.1.0.0/30"], _from("::ffff:10.1.0.3"), ALLOWED),
        (["0.0.0.0/0"], _from("2001:db8::1"), REFUSED),
        (["0.0.0.0/0", "::/0"], UNIX, REFUSED),
        (["0.0.0.0/0", "::/0"], Caller(None), REFUSED),
        (["fe80::1%eth0"], _from("fe80::1"), REFUSED),
    ],
)
def test_caller_is_held_to_the_list(addresses: list[str], caller: Caller, wanted: str) -> None:
    assert ask(policy_of({"g": gateway()}, callers={"addresses": addresses}), caller=caller) == wanted


@pytest.mark.parametrize(
    ("caller", "wanted"),
    [
        (_from("127.0.0.1", "spiffe://cluster/envoy"), ALLOWED),
        (_from("127.0.0.1", "other", "spiffe://cluster/envoy"), ALLOWED),
        (_from("127.0.0.1"), REFUSED),
        (_from("127.0.0.1", "spiffe://cluster/envoy2"), REFUSED),
        (_from("127.0.0.1", "SPIFFE://cluster/envoy"), REFUSED),
        (_from("10.0.0.7", "spiffe://cluster/envoy"), REFUSED),  # the address is wanted too
        (UNIX, REFUSED),
    ],
    ids=str,
)
def test_certificate_is_wanted_beside_the_address(caller: Caller, wanted: str) -> None:
    policy = policy_of({"g": gateway()}, callers={"principals": ["spiffe://cluster/envoy"]}, tls=TLS)
    assert ask(policy, caller=caller) == wanted


def test_callers_of_one_gateway_are_refused_at_another() -> None:
    gateways = {
        "one": gateway(callers={"addresses": ["127.0.0.1"]}),
        "two": gateway(callers={"addresses": ["127.0.0.2"]}),
        "any": gateway(),
    }
    policy = policy_of(gateways)
    for name, address, wanted in (
        ("one", "127.0.0.1", ALLOWED),
        ("one", "127.0.0.2", REFUSED),
        ("two", "127.0.0.1", REFUSED),
        ("two", "127.0.0.2", ALLOWED),
        ("any", "127.0.0.3", ALLOWED),
    ):
        assert ask(policy, gateway=name, caller=_from(address)) == wanted
    assert ask(policy, gateway="one", caller=UNIX) == REFUSED


def test_callers_of_a_gateway_never_widen_the_services() -> None:
    policy = policy_of({"g": gateway(callers={"addresses": ["10.1.0.4"]})}, callers={"addresses": ["127.0.0.1"]})
    assert ask(policy, caller=_from("10.1.0.4")) == REFUSED
    assert ask(policy, caller=_from("127.0.0.1")) == REFUSED


def test_principals_of_a_gateway_leave_the_address_to_the_service() -> None:
    policy = policy_of({"g": gateway(callers={"principals": ["envoy"]})}, tls=TLS)
    assert ask(policy, caller=_from("127.0.0.1", "envoy")) == ALLOWED
    assert ask(policy, caller=_from("127.0.0.1")) == REFUSED
    assert ask(policy, caller=_from("10.0.0.9", "envoy")) == REFUSED


def test_stranger_learns_nothing_about_gateways() -> None:
    # caller_not_allowed comes before gateway_unknown: the ids of the file cannot be tried out.
    policy = policy_of({"g": gateway()})
    stranger = _from("10.9.9.9")
    assert ask(policy, caller=stranger, gateway="g") == REFUSED
    assert ask(policy, caller=stranger, gateway="unknown") == REFUSED
    assert refuse_unreadable(policy, stranger).reason.code == "caller_not_allowed"
    assert refuse_unreadable(policy, LOOPBACK).reason.code == "request_malformed"


ALIAS = ("x_authz_user", "eve")
MANY = [(f"x-{number}", "1") for number in range(300)]
NO_PROXIES: list[str] = []


def test_reasons_before_the_rules_come_in_their_order() -> None:
    # Each request has this fault and all of those below it.
    narrow = gateway(callers={"addresses": ["127.0.0.2"]}, trustedProxies=NO_PROXIES)
    policy = policy_of({"narrow": narrow, "g": gateway(trustedProxies=NO_PROXIES)})
    faulty = [*MANY, ALIAS]
    assert ask(policy, caller=_from("10.0.0.1"), gateway="unknown", pairs=faulty) == REFUSED
    assert ask(policy, gateway="unknown", pairs=faulty) == "deny:gateway_unknown"
    assert ask(policy, gateway="narrow", pairs=faulty) == REFUSED
    assert ask(policy, gateway="g", pairs=faulty) == "deny:header_alias_refused"
    assert ask(policy, gateway="g", pairs=MANY) == "deny:request_malformed"
    assert ask(policy, gateway="g") == "deny:trusted_proxy_no_proxies_configured"


def test_peer_caller_takes_the_word_of_who_asks_and_of_nobody_else() -> None:
    config = gateway(peer="caller", trustedProxies=["10.1.0.4"])
    policy = policy_of({"g": config}, callers={"addresses": ["10.1.0.0/24", "unix"]})
    assert ask(policy, caller=_from("10.1.0.4"), peer="203.0.113.9") == ALLOWED
    # What the proxy reports as the source is not looked at, not even where it is a trusted address.
    assert ask(policy, caller=_from("10.1.0.5"), peer="10.1.0.4") == "deny:trusted_proxy_untrusted_source"
    assert ask(policy, caller=UNIX, peer="10.1.0.4") == "deny:trusted_proxy_untrusted_source"


def test_peer_source_does_not_take_the_callers_address() -> None:
    config = gateway(trustedProxies=["127.0.0.1"])
    policy = policy_of({"g": config})
    assert ask(policy, caller=LOOPBACK, peer=None) == "deny:trusted_proxy_untrusted_source"
    assert ask(policy, caller=LOOPBACK, peer="10.0.0.7") == "deny:trusted_proxy_untrusted_source"


@bounded
@given(
    addresses=st.lists(st.sampled_from(["127.0.0.1", "10.0.0.0/8", "unix", "::/0", "fe80::1%a"]), min_size=1),
    principals=st.lists(st.sampled_from(["a", "b"]), max_size=2),
    caller=st.sampled_from(["127.0.0.1", "10.9.9.9", "2001:db8::1", "fe80::1%a", "fe80::1", "unix", "unknown"]),
    shown=st.frozensets(st.sampled_from(["a", "b", "c"])),
)
def test_admission_is_an_address_here_and_a_principal_there(
    addresses: list[str], principals: list[str], caller: str, shown: frozenset[str]
) -> None:
    policy = policy_of({"g": gateway()}, callers={"addresses": addresses, "principals": principals}, tls=TLS)
    address = parse_address(caller)
    covers = {
        "127.0.0.1": {"127.0.0.1"},
        "10.0.0.0/8": {"10.9.9.9"},
        "unix": {"unix"},
        "::/0": {"2001:db8::1", "fe80::1%a", "fe80::1"},
        "fe80::1%a": {"fe80::1%a"},
    }
    wanted = any(caller in covers[entry] for entry in addresses) and (
        not principals or any(p in shown for p in principals)
    )
    who = Caller(address, unix=caller == "unix", principals=shown)
    assert ask(policy, caller=who, pairs=PAIRS) == (ALLOWED if wanted else REFUSED)
