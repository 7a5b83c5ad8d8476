"""The probe through real Envoy: silent where it is configured as extauthz writes it, and each planted hole found."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from extauthz.proxies.values import CLIENTS_WORD
from probe.cast import HOP, USER, Cast, Probed, probe
from support.ports import free_port
from support.sign_in_hop import SignInHop

CHECKED: Final = {
    "no_identity",
    "no_identity_websocket",
    "forged_sign_in",
    "identity_arrives",
    "websocket_identity",
    "forged_user",
    "forged_stamp",
    "forged_alias",
    "forged_hop_by_hop",
    "forged_forwarded",
    "forged_websocket",
    "refusal_status",
}
"""What can be checked without TLS and without the Gateway's address."""
BYPASSED: Final = {"no_identity", "no_identity_websocket", "identity_arrives", "websocket_identity"}

Config = dict[str, Any]


def probed(hop: SignInHop, cast: Cast, *arguments: str) -> Probed:
    return probe(f"http://127.0.0.1:{hop.port}/", *arguments, config=cast.config)


def manager(config: Config) -> Config:
    (listener,) = config["static_resources"]["listeners"]
    found: Config = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def routes(config: Config) -> list[Config]:
    (host,) = manager(config)["route_config"]["virtual_hosts"]
    found: list[Config] = host["routes"]
    return found


def ext_authz(config: Config) -> Config:
    found: Config
    (found,) = (one["typed_config"] for one in manager(config)["http_filters"] if one["name"].endswith("ext_authz"))
    return found


@pytest.mark.parametrize(
    "given", [{}, {"encode_raw_headers": False}, {"strip_stamped": False}, {"underscores": "allow"}]
)
def test_envoy_as_extauthz_writes_it_has_no_hole(cast: Cast, given: dict[str, Any]) -> None:
    with cast.behind_envoy(**given) as hop:
        found = probed(hop, cast)
    assert (found.status, found.holes, found.ids("warning")) == (0, set(), set())
    assert found.ids("passed") == CHECKED
    assert found.said["gateway_reports"]


def test_envoy_over_http_has_no_hole(cast: Cast) -> None:
    with cast.behind_envoy(extauthz=(cast.service.http,), ask_over="http") as hop:
        found = probed(hop, cast)
    assert (found.status, found.ids("passed")) == (0, CHECKED)


def nobody_is_asked_about_websockets(config: Config) -> None:
    (route,) = routes(config)
    match = {**route["match"], "headers": [*route["match"]["headers"], {"name": "upgrade", "present_match": True}]}
    disabled = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "disabled": True,
    }
    around = {"envoy.filters.http.ext_authz": disabled}
    routes(config).insert(0, {**route, "name": "websocket", "match": match, "typed_per_filter_config": around})


def nobody_is_asked(config: Config) -> None:
    manager(config)["http_filters"] = manager(config)["http_filters"][-1:]  # the router alone
    for host in manager(config)["route_config"]["virtual_hosts"]:
        host.pop("typed_per_filter_config")


def the_stamp_is_removed_last(config: Config) -> None:
    routes(config)[0]["request_headers_to_remove"] = ["x-authz-stamp"]


def the_stamp_is_copied(config: Config) -> None:
    routes(config)[0]["request_headers_to_add"] = [
        {"header": {"key": "x-authz-user", "value": USER}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    ]


PLANTED: Final[dict[str, tuple[Callable[[Config], None], set[str]]]] = {
    "ext_authz is off on the WebSocket's route": (
        nobody_is_asked_about_websockets,
        # An alias with a dot is refused by extauthz alone.
        {"no_identity_websocket", "websocket_identity", "forged_websocket"},
    ),
    "nobody is asked, and nothing removed": (
        nobody_is_asked,
        BYPASSED | {"forged_stamp", "forged_alias", "forged_hop_by_hop", "forged_websocket"},
    ),
    "the route removes the stamp": (the_stamp_is_removed_last, {"identity_arrives", "websocket_identity"}),
    "the route adds a second user": (the_stamp_is_copied, {"identity_arrives", "websocket_identity"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_each_planted_hole_is_found_and_no_other(cast: Cast, planted: str) -> None:
    careless, holes = PLANTED[planted]
    with cast.behind_envoy(careless) as hop:
        found = probed(hop, cast)
    assert (found.status, found.holes) == (1, holes)


def test_an_authorizer_that_is_down_and_taken_for_an_allow_is_found(cast: Cast) -> None:
    def allow_on_failure(config: Config) -> None:
        ext_authz(config)["failure_mode_allow"] = True

    with cast.behind_envoy(allow_on_failure, extauthz=(f"127.0.0.1:{free_port()}",)) as hop:
        found = probed(hop, cast)
    assert found.holes == BYPASSED | {"forged_alias", "forged_hop_by_hop", "forged_websocket"}
    assert found.seen("no_identity") == "reached the Gateway, which alone refused it: 401 stamp_missing"


def test_an_authorizer_that_is_down_is_told_by_the_status_alone(cast: Cast) -> None:
    with cast.behind_envoy(extauthz=(f"127.0.0.1:{free_port()}",)) as hop:
        found = probed(hop, cast)
    assert found.holes == {"refusal_status"}
    assert "503" in found.seen("refusal_status")
    # It may as well be a Gateway that is down, behind a proxy that asks nobody.
    assert found.ids("passed") == set()


def test_a_front_that_passes_on_what_a_client_says_of_itself_is_found(cast: Cast) -> None:
    with cast.behind_envoy(removes=("x-forwarded-user",)) as hop:
        found = probed(hop, cast)
    assert found.holes == {"forged_forwarded", "forged_websocket"}
    assert "x-real-ip arrives (plain)" in found.seen("forged_forwarded")


def test_a_front_that_passes_on_a_clients_identity_is_found_though_the_user_is_on_no_list(cast: Cast) -> None:
    with cast.behind_envoy(removes=CLIENTS_WORD) as hop:
        found = probed(hop, cast)
        allowed = probed(hop, cast, "--allowed-user", USER)
    assert found.holes == {"forged_sign_in"}
    assert "extauthz takes it for the user: trusted_proxy_user_not_allowed" in found.seen("forged_sign_in")
    assert "answered 200 (plain, an allowed user" in allowed.seen("forged_sign_in")


def test_the_sign_in_may_be_the_user_header_itself(cast: Cast) -> None:
    with cast.behind_envoy() as hop:
        own = ["--header", f"x-forwarded-user: {USER}"]
        found = probe(f"http://127.0.0.1:{hop.behind}/", *own, config=cast.config, signed_in=False)
        assert "trusted_proxy_untrusted_source" in found.seen("identity_arrives")
    assert "the sign-in is x-forwarded-user itself" in found.seen("forged_sign_in")
    assert (found.status, HOP in str(found.said)) == (0, False)
