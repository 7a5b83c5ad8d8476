"""Faults that no value has by itself: what would open the service, or could never work."""

from typing import Any

import pytest

from cases.build import GATEWAY, gateway, load_gateways, text_of
from extauthz.config.faults import ConfigError
from extauthz.config.load import loads

TLS = {"certificate": "c.pem", "privateKey": "k.pem"}


def _faults(gateways: dict[str, Any] | None = None, **sections: Any) -> dict[str, str]:
    try:
        load_gateways(gateways or {"g": GATEWAY}, **sections)
    except ConfigError as error:
        return {fault.path: fault.message for fault in error.faults}
    return {}


BEYOND = ["0.0.0.0:9191", "[::]:9191", "10.0.0.5:9191", "proxy.example:9191", "[fe80::1]:9191", "[::ffff:10.0.0.1]:1"]
LOCAL = ["127.0.0.1:9191", "127.8.0.1:0", "[::1]:9191", "localhost:9191", "unix:/run/grpc.sock", "[::ffff:127.0.0.1]:1"]


@pytest.mark.parametrize("door", ["grpc", "http"])
@pytest.mark.parametrize("address", BEYOND)
def test_door_beyond_this_host_without_callers_is_refused(door: str, address: str) -> None:
    # Whoever reaches it could have any identity stamped.
    assert "callers" in _faults(listen={door: address})[f"listen.{door}"]
    assert f"listen.{door}" in _faults(listen={door: ["127.0.0.1:1", address]})
    assert not _faults(listen={door: address}, callers={"addresses": ["10.0.0.4"]})


@pytest.mark.parametrize("door", ["grpc", "http"])
@pytest.mark.parametrize("address", LOCAL)
def test_door_of_this_host_needs_no_callers(door: str, address: str) -> None:
    assert not _faults(listen={door: address})


def test_override_of_the_address_is_held_to_it_too() -> None:
    text = text_of({"gateways": {"g": GATEWAY}})
    with pytest.raises(ConfigError, match=r"listen\.grpc: .*callers"):
        loads(text, overrides={"listen": {"grpc": ["0.0.0.0:9191"]}})
    caller = text_of({"gateways": {"g": gateway(peer="caller")}})
    with pytest.raises(ConfigError, match=r"gateways\.g\.peer: "):
        loads(caller, overrides={"listen": {"grpc": ["unix:/run/grpc.sock"]}})


def test_callers_that_are_given_empty_open_nothing() -> None:
    loaded = load_gateways({"g": GATEWAY}, listen={"grpc": "0.0.0.0:9191"}, callers={})
    assert loaded.settings.callers.addresses == ["127.0.0.0/8", "::1", "unix"]


@pytest.mark.parametrize("listen", ["unix:/run/grpc.sock", ["127.0.0.1:9191", "unix:/run/grpc.sock"]])
def test_peer_caller_with_a_unix_socket_is_refused(listen: Any) -> None:
    # A unix socket has no address that could be the peer's.
    found = _faults({"g": gateway(peer="caller"), "h": gateway()}, listen={"grpc": listen})
    assert list(found) == ["gateways.g.peer"]


def test_principals_that_nobody_could_show_are_refused() -> None:
    assert "tls.clientCa" in _faults(callers={"principals": ["envoy"]})["callers.principals"]
    assert "callers.principals" in _faults(callers={"principals": ["envoy"]}, tls=TLS)
    own = {"g": gateway(callers={"principals": ["envoy"]})}
    assert list(_faults(own)) == ["gateways.g.callers.principals"]
    assert not _faults(own, callers={"principals": ["envoy"]}, tls={**TLS, "clientCa": "ca.pem"})


NATIVE: dict[str, Any] = {"server": {"engine": "native"}, "callers": {"addresses": ["10.0.0.0/8"]}}


def test_engine_without_tls_is_refused_with_certificates() -> None:
    assert list(_faults(**NATIVE, tls=TLS)) == ["server.engine"]
    assert "has no TLS" in _faults(**NATIVE, tls=TLS)["server.engine"]


@pytest.mark.parametrize("listen", ["0.0.0.0:9191", ["127.0.0.1:9191", "10.0.0.5:9191"], "[::]:9191", "gateway:9191"])
def test_engine_without_tls_is_refused_where_other_hosts_reach_it(listen: Any) -> None:
    found = _faults(**NATIVE, listen={"grpc": listen})
    assert list(found) == ["server.engine"]
    assert "use `grpcio`, or listen on loopback or a unix socket" in found["server.engine"]


@pytest.mark.parametrize("listen", ["127.0.0.1:9191", "[::1]:9191", "localhost:9191", "unix:/run/grpc.sock"])
def test_engine_without_tls_is_taken_next_to_its_proxy(listen: Any) -> None:
    assert not _faults(**NATIVE, listen={"grpc": listen})


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"user": "x-authz-gateway"}, "headers.gateway"),
        ({"user": "X-Authz-Stamp "}, "headers.stamp"),
        ({"gateway": "x-a", "decision": "X-A"}, "headers.decision"),
    ],
)
def test_two_headers_of_one_name_are_refused(headers: dict[str, str], path: str) -> None:
    assert path in _faults(headers=headers)


@pytest.mark.parametrize("name", ["x-authz-gateway", "X-Authz-Decision", " x-authz-stamp"])
def test_user_header_that_we_set_to_something_else_is_refused(name: str) -> None:
    found = _faults({"g": gateway({"userHeader": name})})
    assert list(found) == ["gateways.g.auth.trustedProxy.userHeader"]


def test_user_header_may_be_the_one_that_names_the_user() -> None:
    assert not _faults({"g": gateway({"userHeader": "X-Authz-User"})})


@pytest.mark.parametrize(
    ("stamp", "path"),
    [
        ({"lifetime": "0s"}, "stamp.lifetime"),
        ({"lifetime": "500ms"}, "stamp.lifetime"),
        ({"lifetime": "999d"}, "stamp.lifetime"),
        ({"lifetime": "60"}, "stamp.lifetime"),
        ({"lifetime": "-1s"}, "stamp.lifetime"),
        ({"lifetime": "1.5s"}, "stamp.lifetime"),
        ({"lifetime": "1 s"}, "stamp.lifetime"),
        ({"lifetime": 60}, "stamp.lifetime"),
        ({"reuse": "1y"}, "stamp.reuse"),
        ({"reuse": "60s"}, "stamp.reuse"),
        ({"lifetime": "4s"}, "stamp.reuse"),
        ({"bind": ["cookie"]}, "stamp.bind[0]"),
        ({"bind": []}, "stamp.bind"),
        ({"algorithm": "none"}, "stamp.algorithm"),
        ({"algorithm": "HS256"}, "stamp.algorithm"),
        ({"issuer": ""}, "stamp.issuer"),
    ],
)
def test_stamp_that_could_not_be_verified_is_refused(stamp: dict[str, Any], path: str) -> None:
    assert list(_faults(stamp=stamp)) == [path]


@pytest.mark.parametrize("stamp", [{"lifetime": "1s", "reuse": "0s"}, {"lifetime": "1m"}, {"reuse": "1500ms"}])
def test_stamp_that_can_be_verified_is_taken(stamp: dict[str, Any]) -> None:
    assert not _faults(stamp=stamp)


@pytest.mark.parametrize(
    ("section", "values", "path"),
    [
        ("listen", {"grpc": "9191"}, "listen.grpc"),
        ("listen", {"grpc": 9191}, "listen.grpc"),
        ("listen", {"grpc": "127.0.0.1:65536"}, "listen.grpc"),
        ("listen", {"grpc": "unix:run/a.sock"}, "listen.grpc"),
        ("listen", {"grpc": "::1:9191"}, "listen.grpc"),
        ("listen", {"grpc": "[10.0.0.1:9191"}, "listen.grpc"),
        ("listen", {"grpc": []}, "listen.grpc"),
        ("listen", {"https": "127.0.0.1:1"}, "listen.https"),
        ("callers", {"addresses": []}, "callers.addresses"),
        ("callers", {"addresses": None}, "callers.addresses"),
        ("callers", {"addresses": ["Unix"]}, "callers.addresses[0]"),
        ("callers", None, "callers"),
        ("tls", {"certificate": "c.pem"}, "tls.privateKey"),
        ("server", {"drainSeconds": -1}, "server.drainSeconds"),
        ("server", {"drainSeconds": True}, "server.drainSeconds"),
        ("server", {"maxConcurrent": 0}, "server.maxConcurrent"),
        ("server", {"maxConcurrent": "many"}, "server.maxConcurrent"),
        ("limits", {"messageBytes": 0}, "limits.messageBytes"),
        ("limits", {"headers": 0}, "limits.headers"),
        ("limits", {"headerBytes": 1.5}, "limits.headerBytes"),
        ("denial", {"body": "xml"}, "denial.body"),
        ("denial", {"reason": "no"}, "denial.reason"),
        ("decisionLog", {"allows": 2}, "decisionLog.allows"),
        ("decisionLog", {"allows": float("nan")}, "decisionLog.allows"),
        ("admin", {"tokenFile": ""}, "admin.tokenFile"),
        ("mode", "off", "mode"),
        ("accepted", [{"id": "a", "by": "b"}], "accepted[0].because"),
        ("accepted", [{"id": "a", "by": "b", "because": "c", "gateway": "other"}], "accepted[0].gateway"),
    ],
)
def test_value_that_could_not_work_is_told_where_it_is(section: str, values: Any, path: str) -> None:
    assert list(_faults(**{section: values})) in ([path], [f"{path}[0]"])


INCOMPLETE: list[tuple[dict[str, Any], str, str]] = [
    ({"trustedProxies": ["10.0.0.7"]}, "auth.trustedProxy", "trusted_proxy_config_missing"),
    ({**GATEWAY, "auth": None}, "auth.trustedProxy", "trusted_proxy_config_missing"),
    ({**GATEWAY, "trustedProxies": []}, "trustedProxies", "trusted_proxy_no_proxies_configured"),
    (gateway({"userHeader": ""}), "auth.trustedProxy.userHeader", "trusted_proxy_user_missing"),
    (gateway({"userHeader": " \u00a0\ufeff"}), "auth.trustedProxy.userHeader", "trusted_proxy_user_missing"),
    (gateway({"userHeader": None}), "auth.trustedProxy.userHeader", "trusted_proxy_user_missing"),
]


@pytest.mark.parametrize(("config", "path", "reason"), INCOMPLETE)
def test_incomplete_gateway_loads_and_is_told(config: dict[str, Any], path: str, reason: str) -> None:
    loaded = load_gateways({"fine": GATEWAY, "g": config})
    (fault,) = loaded.incomplete
    assert fault.path == f"gateways.g.{path}"
    assert reason in fault.message
    assert fault.line is not None
