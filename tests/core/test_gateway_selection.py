"""Which gateway a request belongs to: the one the proxy's configuration names, else the host's, else the only one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import ask, gateway, policy_of, request_of
from cases.generated import bounded
from extauthz.config.faults import ConfigError
from extauthz.core.decide import decide
from extauthz.core.policy import Policy


def _policy(**hosts: list[str]) -> Policy:
    return policy_of({name: gateway(hosts=found) for name, found in hosts.items()})


def _selected(policy: Policy, host: str, named: str | None = None) -> str | None:
    decision = decide(policy, request_of(gateway=named, host=host))
    return decision.gateway.id if decision.gateway is not None else None


MANY = {
    "exact": ["gateway.example.com", "Upper.Example.com"],
    "wide": ["*.example.com"],
    "narrow": ["*.claw.example.com"],
    "literal": ["[2001:db8::1]", "192.0.2.1"],
}


@pytest.mark.parametrize(
    ("host", "selected"),
    [
        ("gateway.example.com", "exact"),
        ("GATEWAY.Example.COM:8443", "exact"),
        ("upper.example.com", "exact"),
        ("other.example.com", "wide"),
        ("a.b.example.com", "wide"),
        ("x.claw.example.com", "narrow"),
        ("a.b.claw.example.com:443", "narrow"),
        ("claw.example.com", "wide"),
        ("[2001:DB8::1]:8443", "literal"),
        ("[2001:db8::1]", "literal"),
        ("192.0.2.1:80", "literal"),
        ("example.com", None),
        (".example.com", None),
        ("example.com.", None),
        ("evilexample.com", None),
        ("gateway.example.com.evil.example", None),
        ("[2001:db8::1", None),
        ("2001:db8::1", None),
        ("[2001:db8::2]", None),
        ("", None),
        (":80", None),
        ("gateway.ex\u212ample.com", None),
        ("a." * 5000 + "example.com", None),
    ],
)
def test_host_selects_exactly_then_by_the_longest_wildcard(host: str, selected: str | None) -> None:
    assert _selected(_policy(**MANY), host) == selected


def test_name_that_the_proxy_gives_beats_the_host_that_the_client_sends() -> None:
    policy = _policy(**MANY)
    assert _selected(policy, "gateway.example.com", named="narrow") == "narrow"


@pytest.mark.parametrize("named", ["unknown", "", "EXACT", " exact", "exact\0", "gateway.example.com"])
def test_unknown_name_never_falls_through_to_the_host(named: str) -> None:
    policy = _policy(**MANY)
    assert ask(policy, gateway=named, host="gateway.example.com") == "deny:gateway_unknown"
    alone = policy_of({"only": gateway()})
    assert ask(alone, gateway=named, host="gateway.example.com") == "deny:gateway_unknown"


@pytest.mark.parametrize("host", ["", "anything.example", "[::1]:80"])
def test_only_gateway_without_hosts_takes_every_host(host: str) -> None:
    assert _selected(policy_of({"only": gateway()}), host) == "only"


def test_only_gateway_with_hosts_takes_its_hosts_alone() -> None:
    policy = _policy(only=["a.example"])
    assert _selected(policy, "a.example") == "only"
    assert _selected(policy, "b.example") is None


def test_gateway_without_hosts_beside_others_is_never_selected_by_chance() -> None:
    policy = policy_of({"open": gateway(), "hosted": gateway(hosts=["a.example"])})
    assert _selected(policy, "b.example") is None
    assert _selected(policy, "a.example") == "hosted"
    assert _selected(policy, "b.example", named="open") == "open"


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.example", "a.example"), ("a.example", "A.EXAMPLE"), ("*.a.example", "*.A.example"), ("[::1]", "[::1]")],
)
def test_host_in_two_gateways_is_refused_so_that_none_is_taken_over(one: str, other: str) -> None:
    with pytest.raises(ConfigError, match=r"gateways\.second\.hosts\[0\]: .*'first'"):
        _policy(first=[one], second=[other])


def test_exact_host_and_wildcard_of_two_gateways_may_overlap() -> None:
    policy = _policy(first=["a.example.com"], second=["*.example.com"])
    assert _selected(policy, "a.example.com") == "first"
    assert _selected(policy, "b.example.com") == "second"


_LABELS = st.sampled_from(["a", "b", "claw", "example", "com", ""])


@bounded
@given(
    hosts=st.lists(
        st.tuples(st.booleans(), st.lists(st.sampled_from(["a", "b", "claw", "com"]), min_size=1, max_size=3)),
        max_size=6,
        unique_by=lambda host: (host[0], tuple(host[1])),
    ),
    asked=st.lists(_LABELS, max_size=5),
    port=st.sampled_from(["", ":443"]),
)
def test_selection_is_what_a_plain_search_finds(
    hosts: list[tuple[bool, list[str]]], asked: list[str], port: str
) -> None:
    configured = [("*." if wildcard else "") + ".".join(labels) for wildcard, labels in hosts]
    policy = policy_of({f"g{n}": gateway(hosts=[host]) for n, host in enumerate(configured)} | {"rest": gateway()})
    name = ".".join(asked)
    exact = [n for n, host in enumerate(configured) if host == name]
    below = [
        n
        for n, host in enumerate(configured)
        if host.startswith("*.") and name.endswith(host[1:]) and len(name) > len(host) - 1
    ]
    below.sort(key=lambda n: len(configured[n]), reverse=True)
    found = (exact + below)[:1]
    wanted = f"g{found[0]}" if found else ("rest" if not configured else None)
    assert _selected(policy, name.upper() + port) == wanted
