"""The Envoy configuration as text: accepted by the real program, hardened in every variant, and closed to injection."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from extauthz.proxies.envoy import STAMPED_HEADERS, ClientTls, Route, ServerTls, Settings, render
from support.envoy import validate_envoy

ONE = Route(upstream="127.0.0.1:18789", gateway="openclaw", user_headers=("X-Forwarded-User",))
PLAIN = Settings(routes=(ONE,), extauthz=("127.0.0.1:9191",))

SEVERAL = (
    Route(upstream="10.0.0.9:80", gateway="a", domains=("a.example.com", "*.a.example.com"), user_headers=("x-email",)),
    Route(upstream="[2001:db8::9]:80", gateway="b", domains=("b.example.com", "[::1]", "192.0.2.7"), websocket=False),
    Route(upstream="gateway.internal:80", gateway=None),
)

VARIANTS = {
    "plain": PLAIN,
    "several-gateways": replace(PLAIN, routes=SEVERAL),
    "twenty-gateways": replace(
        PLAIN, routes=tuple(replace(ONE, gateway=f"g{n}", domains=(f"g{n}.example.com",)) for n in range(20))
    ),
    "one-gateway-behind-two-routes": replace(PLAIN, routes=(ONE, replace(ONE, domains=("www.example.com",)))),
    "gateway-by-host": replace(PLAIN, routes=(replace(ONE, gateway=None),)),
    "no-identity-header": replace(PLAIN, routes=(replace(ONE, user_headers=()),)),
    "identity-in-a-stamped-header": replace(PLAIN, routes=(replace(ONE, user_headers=("x-authz-user",)),)),
    "own-names": replace(PLAIN, headers=("X-Verified-User", "x.odd+name|", "x-stamp")),
    "unix-socket": replace(PLAIN, extauthz=("unix:/run/extauthz/grpc.sock",)),
    "several-processes": replace(PLAIN, extauthz=("127.0.0.1:9191", "[::1]:9191", "unix:/run/extauthz/2.sock")),
    "processes-by-name": replace(PLAIN, extauthz=("extauthz-0.internal:9191", "extauthz-1:9191", "10.0.0.4:9191")),
    "ipv6": replace(PLAIN, listen="[::1]:8080", admin="[::1]:9901", extauthz=("[::1]:9191",)),
    "everywhere": replace(PLAIN, listen="0.0.0.0:8080"),
    "admin": replace(PLAIN, admin="127.0.0.1:9901"),
    "proxy-protocol": replace(PLAIN, proxy_protocol_from=("10.0.0.0/8", "10.1.2.3/24", "::1", "2001:db8::/32")),
    "no-websockets": replace(PLAIN, routes=(replace(ONE, websocket=False),)),
    "joined-headers": replace(PLAIN, encode_raw_headers=False),
    "underscores-allowed": replace(PLAIN, underscores="allow", headers=("x_authz_user",)),
    "slashes-redirected": replace(PLAIN, escaped_slashes="redirect"),
    "slashes-kept": replace(PLAIN, escaped_slashes="keep"),
    "not-stripped": replace(PLAIN, strip_stamped=False),
    "no-proxy-in-front": replace(PLAIN, trusted_hops=0),
    "no-access-log": replace(PLAIN, access_log=False),
    "access-log-in-a-file": replace(PLAIN, access_log="/tmp/envoy-access.jsonl"),  # noqa: S108 - only validated
    "limits": replace(PLAIN, timeout=0.05, health_interval=0.1, checks_at_once=1, max_connections=1, idle_timeout=1),
    "limits-high": replace(PLAIN, timeout=10, health_interval=60, max_connections=10_000_000, idle_timeout=86_400),
}


def parsed(text: str) -> dict[str, Any]:
    """A configuration as data; with libyaml's parser, which is ten times as fast."""
    found: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return found


def http(text: str) -> dict[str, Any]:
    """The settings of the HTTP connection manager in a configuration."""
    (chain,) = parsed(text)["static_resources"]["listeners"][0]["filter_chains"]
    found: dict[str, Any] = chain["filters"][0]["typed_config"]
    return found


def http_filter(text: str, name: str) -> dict[str, Any]:
    """The settings of one HTTP filter in a configuration."""
    (found,) = [one["typed_config"] for one in http(text)["http_filters"] if one["name"] == name]
    return dict(found)


def cluster(text: str, name: str) -> dict[str, Any]:
    """One cluster of a configuration."""
    (found,) = [one for one in parsed(text)["static_resources"]["clusters"] if one["name"] == name]
    return dict(found)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
def test_envoy_accepts_every_variant(settings: Settings, tmp_path: Path) -> None:
    assert validate_envoy(render(settings), tmp_path) is None


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_fails_closed(settings: Settings) -> None:
    text = render(settings)
    authz = http_filter(text, "envoy.filters.http.ext_authz")
    assert authz["failure_mode_allow"] is False
    assert authz["status_on_error"] == {"code": "ServiceUnavailable"}
    assert authz["validate_mutations"] is True
    assert authz["clear_route_cache"] is False
    rules = authz["decoder_header_mutation_rules"]
    assert rules["disallow_all"] == rules["disallow_is_error"] == {"value": True}
    # What could let a request pass unasked, or wait for its body.
    unwanted = {"filter_enabled", "filter_enabled_metadata", "shadow_mode", "with_request_body", "http_service"}
    assert not unwanted & authz.keys()
    assert "disabled: true" not in text
    # Nothing stands between the decision and the Gateway.
    assert [one["name"] for one in http(text)["http_filters"]] == [
        "envoy.filters.http.header_mutation",
        "envoy.filters.http.ext_authz",
        "envoy.filters.http.router",
    ]


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_reads_a_request_one_way(settings: Settings) -> None:
    manager = http(render(settings))
    assert manager["normalize_path"] is True
    assert manager["merge_slashes"] is True
    assert manager["use_remote_address"] is True
    assert manager["forward_client_cert_details"] == "SANITIZE"
    assert manager["request_headers_timeout"] == "10s"
    assert manager["stream_idle_timeout"] == f"{settings.idle_timeout:.3f}s"
    assert manager["http_protocol_options"] == {
        "enable_trailers": False,
        "allow_chunked_length": False,
        "accept_http_10": False,
    }
    assert manager["http2_protocol_options"]["allow_connect"] is False


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())
def test_no_route_removes_what_was_stamped(settings: Settings) -> None:
    routing = http(render(settings))["route_config"]
    assert "request_headers_to_remove" not in str(routing)
    assert len(routing["virtual_hosts"]) == len(settings.routes)


def test_what_can_be_relaxed_is_strict_by_default() -> None:
    manager = http(render(PLAIN))
    assert manager["common_http_protocol_options"]["headers_with_underscores_action"] == "REJECT_REQUEST"
    assert manager["path_with_escaped_slashes_action"] == "REJECT_REQUEST"
    assert http_filter(render(PLAIN), "envoy.filters.http.ext_authz")["encode_raw_headers"] is True
    assert "admin" not in parsed(render(PLAIN))


def test_only_stamped_and_identity_headers_may_be_set() -> None:
    settings = replace(PLAIN, routes=SEVERAL, headers=("x-a", "x.b"))
    rules = http_filter(render(settings), "envoy.filters.http.ext_authz")["decoder_header_mutation_rules"]
    assert rules["allow_expression"] == {"regex": r"(?:x\-a|x\.b|x\-email)"}


def test_stamped_headers_of_the_client_are_removed_but_never_the_identity_header() -> None:
    mutations = http_filter(render(PLAIN), "envoy.filters.http.header_mutation")["mutations"]
    removed = [{"remove": name} for name in STAMPED_HEADERS]
    assert mutations["request_mutations"][: len(removed)] == removed
    assert mutations["request_trailers_mutations"] == removed
    text = render(replace(PLAIN, routes=(replace(ONE, user_headers=("X-Authz-User",)),)))
    assert {"remove": "x-authz-user"} not in http_filter(text, "envoy.filters.http.header_mutation")["mutations"][
        "request_mutations"
    ]


def test_each_gateway_is_named_by_the_configuration() -> None:
    hosts = http(render(replace(PLAIN, routes=SEVERAL)))["route_config"]["virtual_hosts"]
    named = [one.get("typed_per_filter_config", {}).get("envoy.filters.http.ext_authz") for one in hosts]
    assert [one and one["check_settings"]["context_extensions"] for one in named] == [
        {"gateway": "a"},
        {"gateway": "b"},
        None,
    ]


def test_each_process_of_extauthz_is_an_endpoint_of_its_own() -> None:
    text = render(VARIANTS["several-processes"])
    found = cluster(text, "extauthz")
    (group,) = found["load_assignment"]["endpoints"]
    assert [one["endpoint"]["address"] for one in group["lb_endpoints"]] == [
        {"socket_address": {"address": "127.0.0.1", "port_value": 9191}},
        {"socket_address": {"address": "::1", "port_value": 9191}},
        {"pipe": {"path": "/run/extauthz/2.sock"}},
    ]
    (check,) = found["health_checks"]
    assert check["grpc_health_check"] == {"service_name": "envoy.service.auth.v3.Authorization"}
    assert found["circuit_breakers"]["thresholds"][0]["max_requests"] == 3000


def test_a_try_has_half_the_time_so_that_another_process_can_be_asked() -> None:
    service = http_filter(render(replace(PLAIN, timeout=0.8)), "envoy.filters.http.ext_authz")["grpc_service"]
    assert service["timeout"] == "0.800s"
    assert service["retry_policy"]["retry_back_off"]["max_interval"] == "0.400s"


def test_tls_is_written_and_has_placeholders_where_it_is_not_set(tmp_path: Path) -> None:
    text = render(PLAIN)
    assert text.count("# transport_socket:") == 2
    settings = replace(
        PLAIN,
        tls=ServerTls(certificate="/etc/envoy/c.pem", private_key="/etc/envoy/k.pem", client_ca="/etc/envoy/ca.pem"),
        extauthz_tls=ClientTls(ca="/x/ca.pem", server_name="extauthz.internal"),
    )
    text = render(settings)
    assert "# transport_socket:" not in text
    (chain,) = parsed(text)["static_resources"]["listeners"][0]["filter_chains"]
    assert chain["transport_socket"]["typed_config"]["require_client_certificate"] is True
    context = cluster(text, "extauthz")["transport_socket"]["typed_config"]["common_tls_context"]
    assert "tls_certificates" not in context
    # Envoy reads the files when it validates, and these are not there.
    assert "Invalid path: /x/ca.pem" in str(validate_envoy(text, tmp_path))


HOSTILE = (
    'a"b',
    "a\nb: c",
    "a: b",
    "a # b",
    "{{ 7 * 7 }}",
    "*alias",
    "&anchor",
    "a, b",
    "[a]",
    "{a: b}",
    "%REQ(x)%",
    "a\x00b",
    "a\u2028b",
    "a b",
    "",
    "-",
    "é",
)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_with_syntax_in_it_is_refused(value: str) -> None:
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("listen", {"listen": f"{value}:80"}),
        ("listen", {"listen": f"127.0.0.1:{value}"}),
        ("admin", {"admin": f"{value}:80"}),
        ("extauthz", {"extauthz": (f"{value}:80",)}),
        ("proxy_protocol_from", {"proxy_protocol_from": (value,)}),
        ("routes", {"routes": (replace(ONE, upstream=f"{value}:80"),)}),
        ("routes", {"routes": (replace(ONE, gateway=value),)}),
        ("routes", {"routes": (replace(ONE, domains=(value,)),)}),
        ("underscores", {"underscores": value}),
        ("escaped_slashes", {"escaped_slashes": value}),
        ("extauthz_tls", {"extauthz_tls": ClientTls(ca="/ca.pem", server_name=value)}),
    ]
    for setting, change in attempts:
        with pytest.raises(ValueError, match=f"^{setting}"):
            replace(PLAIN, **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"routes": ()}, "routes: at least one"),
        ({"routes": (ONE, ONE)}, "'\\*' is named twice"),
        ({"routes": (replace(ONE, domains=("A.example", "a.EXAMPLE")),)}, "'a.example' is named twice"),
        ({"routes": (replace(ONE, domains=()),)}, "domains: at least one"),
        ({"routes": (replace(ONE, domains=("a.example:8080",)),)}, "without a port"),
        ({"routes": (replace(ONE, domains=("*.*.example",)),)}, "domains"),
        ({"routes": (replace(ONE, domains=("::1",)),)}, "domains"),
        ({"routes": (replace(ONE, upstream="unix:/run/gateway.sock"),)}, "upstream"),
        ({"routes": (replace(ONE, gateway="Open_Claw"),)}, "DNS label"),
        ({"routes": (replace(ONE, gateway="x" * 64),)}, "DNS label"),
        ({"routes": (replace(ONE, user_headers=("x_user",)),)}, "underscores: 'x_user'"),
        ({"headers": ()}, "headers: at least one"),
        ({"headers": ("Host",)}, "steers proxies"),
        ({"headers": (":path",)}, "a header name"),
        ({"headers": ("X-Envoy-Original-Path",)}, "steers proxies"),
        ({"headers": ("content-length",)}, "steers proxies"),
        ({"headers": ("a b",)}, "a header name"),
        ({"extauthz": ()}, "extauthz: at least one"),
        ({"extauthz": ("a:1", "a:1")}, "named twice"),
        ({"extauthz": ("a:1", "unix:/a")}, "do not go together"),
        ({"extauthz": ("unix:relative",)}, "absolute path"),
        ({"extauthz": ("unix:/" + "x" * 107,)}, "at most 107"),
        ({"extauthz": ("10.0.0.256:1",)}, "extauthz"),
        ({"extauthz": ("127.0.0.1",)}, "extauthz"),
        ({"extauthz": ("127.0.0.1:0",)}, "between 1 and 65535"),
        ({"extauthz": ("127.0.0.1:65536",)}, "between 1 and 65535"),
        ({"extauthz": ("::1:80",)}, "extauthz"),
        ({"extauthz": ("[fe80::1%eth0]:80",)}, "without a zone"),
        ({"listen": "localhost:80"}, "not a name"),
        ({"admin": "0.0.0.0:9901"}, "loopback"),
        ({"admin": "10.0.0.4:9901"}, "loopback"),
        ({"timeout": 0}, "timeout: 0"),
        ({"timeout": float("nan")}, "timeout: nan"),
        ({"timeout": 11}, "between 0.05 and 10"),
        ({"trusted_hops": -1}, "trusted_hops"),
        ({"tls": ServerTls(certificate="", private_key="k")}, "tls.certificate"),
        ({"tls": ServerTls(certificate="c\n", private_key="k")}, "tls.certificate"),
        ({"extauthz_tls": ClientTls(ca="c", server_name="*.example")}, "one name"),
        ({"extauthz_tls": ClientTls(ca="c", server_name="a", certificate="c")}, "wanted together"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(PLAIN, **change)


@examples(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x2FF), min_size=1, max_size=40))
def test_no_file_name_becomes_syntax(name: str) -> None:
    # File names are the values with the widest grammar; each stands in the file as what it is, or is refused.
    try:
        text = render(replace(PLAIN, tls=ServerTls(certificate=name, private_key="/k.pem")))
    except ValueError:
        return
    (chain,) = parsed(text)["static_resources"]["listeners"][0]["filter_chains"]
    (pair,) = chain["transport_socket"]["typed_config"]["common_tls_context"]["tls_certificates"]
    assert pair == {"certificate_chain": {"filename": name}, "private_key": {"filename": "/k.pem"}}
    assert http_filter(text, "envoy.filters.http.ext_authz")["failure_mode_allow"] is False
