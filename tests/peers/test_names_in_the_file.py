"""Names as the file has them: what is one, where it may stand, and what the message says where it may not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import gateway, load_gateways, policy_of
from cases.generated import bounded
from extauthz.config.checks import MOST_PEER_NAMES
from extauthz.config.faults import ConfigError
from extauthz.config.peer_names import name_of, parse_server


def faults(*entries: str, **sections: object) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_gateways({"g": gateway(trustedProxies=list(entries))}, **sections)
    return [(fault.path, fault.message) for fault in caught.value.faults]


LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=3).filter(lambda labels: labels[-1] != "localhost").map(".".join)


@bounded
@given(NAMES)
def test_every_host_name_is_one_in_either_case_and_with_its_dot(name: str) -> None:
    assert name_of(f"dns:{name.upper()}") == name
    assert name_of(f" dns:{name}. ") == f"{name}."


@pytest.mark.parametrize("name", ["proj_traefik_1", "_traefik._tcp.internal", "xn--bcher-kva.example", "a" * 63, "1a"])
def test_names_of_containers_are_names(name: str) -> None:
    assert name_of(f"dns:{name}") == name


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("dns:", "has no name"),
        ("dns:.", "has no name"),
        ("dns:10.0.0.7", "an address needs no name server: write 10.0.0.7"),
        ("dns:::1", "an address needs no name server"),
        ("dns:[fd00::1]", "an address needs no name server"),
        ("dns:*.internal", "no host name"),
        ("dns:traefik:8080", "no host name"),
        ("dns:http://traefik", "no host name"),
        ("dns:traefik/24", "no host name"),
        ("dns: traefik", "no host name"),
        ("dns:tra efik", "no host name"),
        ("dns:-traefik", "no host name"),
        ("dns:traefik-", "no host name"),
        ("dns:a..b", "no host name"),
        ("dns:a..", "no host name"),
        ("dns:.a", "no host name"),
        ("dns:010.0.0.1", "no host name"),
        ("dns:127.1", "no host name"),
        ("dns:2130706433", "no host name"),
        ("dns:0x7f000001", "no host name"),
        ("dns:a\x00b", "no host name"),
        ("dns:bücher.example", "by its xn-- labels"),
        ("dns:localho\u017ft", "by its xn-- labels"),
        ("dns:localhost", "loopback by definition"),
        ("dns:LOCALHOST.", "loopback by definition"),
        ("dns:x.localhost", "loopback by definition"),
        (f"dns:{'a' * 64}.internal", "63 characters at most, not 64"),
        (f"dns:{'.'.join(['a' * 60] * 5)}", "longer than 253"),
    ],
)
def test_what_is_no_name_is_refused_with_its_place_and_what_to_write(entry: str, said: str) -> None:
    ((path, message),) = faults("10.0.0.7", entry)
    assert path == "gateways.g.trustedProxies[1]"
    assert said in message


@pytest.mark.parametrize("entry", ["traefik.internal", "traefik"])
def test_bare_name_is_refused_and_the_message_says_how_a_name_is_written(entry: str) -> None:
    ((_, message),) = faults(entry)
    assert f"dns:{entry} would be a name that is resolved" in message


@pytest.mark.parametrize("entry", ["localhost", "10.0.0", "010.0.0.1", "*", "DNS:traefik"])
def test_what_would_be_no_good_name_either_is_refused_without_that_advice(entry: str) -> None:
    ((_, message),) = faults(entry)
    assert "dns:" not in message


@pytest.mark.parametrize(
    ("sections", "keys", "path"),
    [
        ({"callers": {"addresses": ["dns:envoy"]}}, {}, "callers.addresses[0]"),
        ({}, {"callers": {"addresses": ["dns:envoy"]}}, "gateways.g.callers.addresses[0]"),
        ({}, {"localInterfaces": ["dns:me"]}, "gateways.g.localInterfaces[0]"),
    ],
)
def test_name_is_refused_where_more_than_one_gateways_user_is_at_stake(
    sections: dict[str, Any], keys: dict[str, Any], path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_gateways({"g": gateway(**keys)}, **sections)
    (fault,) = caught.value.faults
    assert fault.path == path
    assert "names are taken under a gateway's trustedProxies alone" in fault.message


def test_so_many_names_and_no_more_are_resolved() -> None:
    names = [f"dns:a{number}.internal" for number in range(MOST_PEER_NAMES)]
    assert load_gateways({"g": gateway(trustedProxies=[*names, "dns:A1.internal"]), "h": gateway(trustedProxies=names)})
    ((path, message),) = faults(*names, "dns:one.more")
    assert path == f"gateways.g.trustedProxies[{MOST_PEER_NAMES}]"
    assert "one name too many" in message


@pytest.mark.parametrize(
    ("dns", "path"),
    [
        ({"minTtl": "0s"}, "dns.minTtl"),
        ({"minTtl": "31s"}, "dns.minTtl"),
        ({"maxTtl": "2h"}, "dns.maxTtl"),
        ({"timeout": "6s"}, "dns.timeout"),
        ({"timeout": "0s"}, "dns.timeout"),
        ({"keep": "9s"}, "dns.keep"),
        ({"keep": "2d"}, "dns.keep"),
        ({"servers": ["10.0.0.1"] * 4}, "dns.servers"),
        ({"servers": ["resolver.internal"]}, "dns.servers[0]"),
        ({"servers": ["10.0.0.1:0"]}, "dns.servers[0]"),
        ({"servers": ["10.0.0.1:65536"]}, "dns.servers[0]"),
        ({"servers": ["dns:resolver"]}, "dns.servers[0]"),
        ({"servers": ["10.0.0.1/24"]}, "dns.servers[0]"),
        ({"ttl": "5s"}, "dns.ttl"),
    ],
)
def test_limits_of_resolving_have_limits(dns: dict[str, object], path: str) -> None:
    ((found, _),) = faults("10.0.0.7", dns=dns)
    assert found == path


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.2", ("10.0.0.2", 53)),
        ("10.0.0.2:5353", ("10.0.0.2", 5353)),
        ("fd00::2", ("fd00::2", 53)),
        ("[fd00::2]", ("fd00::2", 53)),
        ("[fd00::2]:5353", ("fd00::2", 5353)),
    ],
)
def test_servers_in_every_form(text: str, server: tuple[str, int]) -> None:
    assert parse_server(text) == server


def test_gateway_with_a_name_is_not_incomplete_and_trusts_nobody_until_it_is_resolved() -> None:
    loaded = load_gateways({"g": gateway(trustedProxies=["dns:Traefik.Internal"])})
    assert loaded.incomplete == ()
    compiled = policy_of({"g": gateway(trustedProxies=["dns:Traefik.Internal"])}).gateways["g"]
    assert len(compiled.trusted_proxies) == 0
    assert [name.entry for name in compiled.peer_names] == ["dns:traefik.internal"]
