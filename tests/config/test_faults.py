"""Every fault of a file in one message, each with its line, its path and the cure."""

import re
from typing import Any

import pytest

from cases.build import GATEWAY, gateway, load_gateways, text_of
from cases.corpus import refused_entries
from extauthz.config.faults import ConfigError
from extauthz.config.load import loads


def faults_of(text: str, **arguments: Any) -> dict[str, str]:
    """Return the faults of a file that must have some, by path."""
    with pytest.raises(ConfigError) as caught:
        loads(text, **arguments)
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
    return {fault.path: fault.message for fault in caught.value.faults}


def of_gateway(config: Any, **sections: Any) -> dict[str, str]:
    """Return the faults of a file with this gateway."""
    return faults_of(text_of({**sections, "gateways": {"g": config}}))


def test_all_faults_are_told_at_once_with_line_path_and_cure() -> None:
    text = """\
listen: {grpc: 0.0.0.0:9191}
mode: observe
limts: {}
gateways:
  Bad_Id:
    trustedProxies: []
  openclaw:
    trustedProxies: [10.0.0.7, not-an-ip, 10.0.0.0/33]
    auth:
      mode: trusted-proxy
      token: s3cret
      trustedProxy: {userheader: x-user, allowUsers: null}
    controlUi: {allowedOrigins: ["https://a.example/path"]}
"""
    with pytest.raises(ConfigError) as caught:
        loads(text, source="etc/extauthz.yaml")
    told = str(caught.value).splitlines()
    assert told[0] == "etc/extauthz.yaml: 10 faults"
    wanted = [
        r"line 1: listen\.grpc: .*`callers`",
        r"line 2: mode: .*'enforce' or 'shadow'",
        r"line 3: limts: .*did you mean `limits`",
        r"line 5: gateways\.Bad_Id: .*a-z, 0-9 and -",
        r"line 8: gateways\.openclaw\.trustedProxies\[1\]: .*'not-an-ip'.*write four decimal",
        r"line 8: gateways\.openclaw\.trustedProxies\[2\]: .*'10\.0\.0\.0/33'.*0 to 32",
        r"line 11: gateways\.openclaw\.auth\.token: .*remove it",
        r"line 12: gateways\.openclaw\.auth\.trustedProxy\.userheader: .*did you mean `userHeader`",
        r"line 12: gateways\.openclaw\.auth\.trustedProxy\.allowUsers: .*\[\]",
        r"line 13: gateways\.openclaw\.controlUi\.allowedOrigins\[0\]: .*scheme://host",
    ]
    for pattern in wanted:
        assert [line for line in told if re.search(pattern, line)], pattern
    assert len(told) == 1 + len(wanted)
    # In the order of the file, so that one can go through it from top to bottom.
    lines = [int(re.findall(r"line (\d+)", line)[0]) for line in told[1:]]
    assert lines == sorted(lines)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("entry", [*refused_entries(), "10.0.0.0/255.255.255.0", "localhost", "*", "10.0/16"], ids=repr)
def test_refused_entry_is_named_with_its_gateway_and_position(entry: str) -> None:
    for before in ([], ["10.0.0.1", "::1"]):
        config = gateway(trustedProxies=[*before, entry, "10.0.0.9"])
        found = faults_of(text_of({"gateways": {"fine": GATEWAY, "faulty": config}}))
        assert list(found) == [f"gateways.faulty.trustedProxies[{len(before)}]"]
        assert repr(entry.strip()) in found.popitem()[1] or not entry.strip()


@pytest.mark.parametrize(
    ("config", "path", "says"),
    [
        ({"bind": "lan"}, "bind", "unknown key"),
        ({"port": 18789}, "port", "unknown key"),
        ({"trustedProxy": []}, "trustedProxy", "did you mean `trustedProxies`"),
        ({"trustedProxies": None}, "trustedProxies", "write \\[\\]"),
        ({"trustedProxies": "10.0.0.7"}, "trustedProxies", "must be a list"),
        ({"trustedProxies": [10.0]}, "trustedProxies[0]", "put it in quotes"),
        ({"trustedProxies": [None]}, "trustedProxies[0]", "nothing is there"),
        ({"allowRealIpFallback": "yes"}, "allowRealIpFallback", "true or false"),
        ({"allowRealIpFallback": 1}, "allowRealIpFallback", "true or false"),
        ({"ruleset": "openclaw"}, "ruleset", "'standard'"),
        ({"ruleset": 2026.9}, "ruleset", "'standard'"),
        ({"peer": "client"}, "peer", "'source' or 'caller'"),
        ({"mode": "off"}, "mode", "'enforce' or 'shadow'"),
        ({"hosts": "a.example"}, "hosts", "must be a list"),
        ({"hosts": ["https://a.example"]}, "hosts[0]", "without scheme, port or path"),
        ({"hosts": ["a.example:443"]}, "hosts[0]", "without scheme, port or path"),
        ({"hosts": ["a.*.example"]}, "hosts[0]", "is no host"),
        ({"hosts": ["*"]}, "hosts[0]", "is no host"),
        ({"hosts": [""]}, "hosts[0]", "is no host"),
        ({"callers": {"addresses": []}}, "callers.addresses", "must not be empty"),
        ({"callers": {"addresses": ["proxy.example"]}}, "callers.addresses[0]", "is not an IP address"),
        ({"callers": {"principals": [" "]}}, "callers.principals[0]", "write a SAN"),
        ({"localInterfaces": ["10.0.0.0/8"]}, "localInterfaces[0]", "without a prefix"),
        ({"localInterfaces": "all"}, "localInterfaces", "'auto'"),
        ({"controlUi": {"allowedOrigins": None}}, "controlUi.allowedOrigins", "must be a list"),
        ({"controlUi": {"allowedOrigins": ["a.example"]}}, "controlUi.allowedOrigins[0]", "is no origin"),
        ({"controlUi": {"allowedOrigins": ["null"]}}, "controlUi.allowedOrigins[0]", "is no origin"),
        ({"controlUi": {"enabled": True}}, "controlUi.enabled", "unknown key"),
        ({"auth": {"trustedProxy": {}}}, "auth.mode", "is missing"),
        ({"auth": {"mode": "none"}}, "auth.mode", "'trusted-proxy'"),
        ({"auth": {"mode": "trusted-proxy", "token": "s3cret"}}, "auth.token", "second way in"),
        ({"auth": {"mode": "trusted-proxy", "password": "s3cret"}}, "auth.password", "second way in"),
        ({"auth": {"mode": "trusted-proxy", "rateLimit": {}}}, "auth.rateLimit", "unknown key"),
        ({"auth": []}, "auth", "must be a mapping"),
        (None, "", "must be a mapping"),
    ],
)
def test_fault_of_a_gateway_is_told_where_it_is(config: Any, path: str, says: str) -> None:
    found = of_gateway({**GATEWAY, **config} if isinstance(config, dict) else config)
    place = f"gateways.g.{path}".rstrip(".")
    assert place in found
    if "principals" not in path:  # which no caller could show without a CA, as is said too
        assert list(found) == [place]
    assert re.search(says, found[place])
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(
    ("keys", "path", "says"),
    [
        ({"userHeader": 1}, "userHeader", "put it in quotes"),
        ({"userHeader": "x user"}, "userHeader", "is no header name"),
        ({"userHeader": ":path"}, "userHeader", "is no header name"),
        ({"userHeader": "Host"}, "userHeader", "steers the proxy"),
        ({"userHeader": "X-Envoy-User"}, "userHeader", "steers the proxy"),
        ({"requiredHeaders": None}, "requiredHeaders", "write \\[\\]"),
        ({"requiredHeaders": ["x-a", 1]}, "requiredHeaders[1]", "put it in quotes"),
        ({"requiredHeaders": ["x\r\ny"]}, "requiredHeaders[0]", "control character"),
        ({"allowUsers": None}, "allowUsers", r"only \[\], written out, lets everyone in"),
        ({"allowUsers": "nick"}, "allowUsers", "must be a list"),
        ({"allowUsers": [None]}, "allowUsers[0]", "nothing is there"),
        ({"allowUsers": [True]}, "allowUsers[0]", "put it in quotes"),
        ({"allowLoopback": "true"}, "allowLoopback", "true or false"),
        ({"allowCommaInUser": None}, "allowCommaInUser", "true or false"),
        ({"allowuser": []}, "allowuser", "did you mean `allowUsers`"),
    ],
)
def test_fault_of_the_trusted_proxy_block_is_told_where_it_is(keys: dict[str, Any], path: str, says: str) -> None:
    found = of_gateway(gateway(keys))
    assert list(found) == [f"gateways.g.auth.trustedProxy.{path}"]
    assert re.search(says, found.popitem()[1])


@pytest.mark.parametrize("name", ["", "Claw", "a_b", "a.b", "a b", "ä", "a" * 64, "a/b", "../a", "a\n"])
def test_gateway_id_that_is_no_label_is_refused(name: str) -> None:
    found = faults_of(text_of({"gateways": {name: GATEWAY}}))
    assert any("is no gateway id" in message for message in found.values())


@pytest.mark.parametrize("key", ["1", "null", "true", "1.5", "2026-09-06"])
def test_gateway_id_that_yaml_reads_as_something_else_is_told_as_that(key: str) -> None:
    found = faults_of(f"gateways:\n  {key}:\n    trustedProxies: []\n")
    assert "put it in quotes" in found["gateways"]


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_gateway_id_that_is_a_label_is_taken(name: str) -> None:
    assert list(load_gateways({name: GATEWAY}).settings.gateways) == [name]


@pytest.mark.parametrize(
    ("text", "path", "suggestion"),
    [
        ("gateway: {}", "gateway", "gateways"),
        ("gateways: {g: {}}\ncaller: {}", "caller", "callers"),
        ("gateways: {g: {}}\ndecisionlog: {}", "decisionlog", "decisionLog"),
        ("gateways: {g: {}}\nlimits: {headersBytes: 1}", "limits.headersBytes", "headerBytes"),
        ("gateways: {g: {}}\nstamp: {life-time: 60s}", "stamp.life-time", "lifetime"),
        ("gateways: {g: {}}\naccepted: [{ids: a, by: b, because: c, id: d}]", "accepted[0].ids", "id"),
        ("gateways: {g: {trusted_proxies: []}}", "gateways.g.trusted_proxies", "trustedProxies"),
    ],
)
def test_unknown_key_is_refused_with_the_key_that_was_meant(text: str, path: str, suggestion: str) -> None:
    assert f"did you mean `{suggestion}`" in faults_of(text)[path]


def test_suggestion_is_a_key_that_may_stand_there() -> None:
    # `userHeader` is a key, but none of this place: to suggest `user` or itself would send the reader in circles.
    assert faults_of("gateways: {g: {userHeader: x}}")["gateways.g.userHeader"] == "unknown key here: remove it"
