"""The probe through real Traefik, Caddy and nginx: silent where they are hardened, and each planted hole found."""

from collections.abc import Callable
from typing import Final

import pytest

from extauthz.proxies.values import CLIENTS_WORD
from probe.cast import USER_HEADER, Cast, Probed, instead, probe, without
from support.http_proxies import NAMES
from support.rogue_door import rogue_door
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
UNSTAMPED: Final = {"identity_arrives", "websocket_identity"}
BYPASSED: Final = {"no_identity", "no_identity_websocket", *UNSTAMPED}

Careless = Callable[[str], str]


def probed(hop: SignInHop, cast: Cast, *arguments: str) -> Probed:
    return probe(f"http://127.0.0.1:{hop.port}/", *arguments, config=cast.config)


def planting(cast: Cast, dialect: str, careless: Careless, *arguments: str) -> Probed:
    with cast.behind(dialect, careless) as hop:
        return probed(hop, cast, *arguments)


@pytest.mark.parametrize("dialect", NAMES)
def test_a_proxy_as_extauthz_configures_it_has_no_hole(cast: Cast, dialect: str) -> None:
    with cast.behind(dialect) as hop:
        found = probed(hop, cast)
    assert (found.status, found.holes, found.ids("warning")) == (0, set(), set())
    assert found.ids("passed") == CHECKED
    assert found.said["gateway_reports"]


@pytest.mark.parametrize("dialect", NAMES)
def test_a_front_that_passes_on_a_clients_identity_is_found(cast: Cast, dialect: str) -> None:
    with cast.behind(dialect, removes=CLIENTS_WORD) as hop:
        found = probed(hop, cast)
    assert (found.status, found.holes) == (1, {"forged_sign_in"})


@pytest.mark.parametrize("dialect", NAMES)
def test_a_known_identity_header_that_passes_is_a_warning_until_the_gateway_is_said_to_read_it(
    cast: Cast, dialect: str
) -> None:
    with cast.behind(dialect) as hop:
        url = f"http://127.0.0.1:{hop.port}/"
        found = probe(url)
        read = probe(url, "--user-header", "remote-user", "--user-header", USER_HEADER)
    assert (found.status, found.holes, found.ids("warning")) == (0, set(), {"forged_known"})
    assert "remote-user arrives" in found.seen("forged_known")
    assert {"forged_user", "forged_websocket"} <= read.holes
    assert "remote-user arrives" in read.seen("forged_user")


# --- Traefik ---------------------------------------------------------------------------------------------------------

_ANSWERED: Final = '"x-authz-decision", "x-authz-stamp"]'


def traefik_without_a_name(text: str) -> str:
    return instead(text, _ANSWERED, '"x-authz-decision"]')


def traefik_without_the_user(text: str) -> str:
    return instead(text, '"x-authz-user", ', "")


def traefik_without_a_name_and_removing_nothing(text: str) -> str:
    return instead(traefik_without_a_name(text), "middlewares: [client, extauthz]", "middlewares: [extauthz]")


def traefik_with_aliases(text: str) -> str:
    return without(text, "aliasHeadersStrategy")


def traefik_with_aliases_that_extauthz_is_not_told_of(text: str) -> str:
    told = f'        authRequestHeaders: ["{USER_HEADER}", "X-Forwarded-For"]\n        authResponseHeaders:'
    return instead(traefik_with_aliases(text), "        authResponseHeaders:", told)


def traefik_without_the_question(text: str) -> str:
    return instead(text, "middlewares: [client, extauthz]", "middlewares: [client]")


TRAEFIK: Final[dict[str, tuple[Careless, set[str]]]] = {
    "the stamp is not in authResponseHeaders": (traefik_without_a_name, UNSTAMPED),
    "the user is not in authResponseHeaders": (traefik_without_the_user, UNSTAMPED),
    "nor is the client's removed": (
        traefik_without_a_name_and_removing_nothing,
        UNSTAMPED | {"forged_stamp", "forged_forwarded", "forged_websocket"},
    ),
    # extauthz refuses them.
    "aliases pass": (traefik_with_aliases, set()),
    "aliases pass, and extauthz is not told": (
        traefik_with_aliases_that_extauthz_is_not_told_of,
        {"forged_alias", "forged_websocket"},
    ),
    # Who is not asked does not refuse a request out of which a client had the user dropped.
    "nobody is asked": (traefik_without_the_question, BYPASSED | {"forged_hop_by_hop", "forged_websocket"}),
}


@pytest.mark.parametrize("planted", TRAEFIK)
def test_each_hole_planted_in_traefik_is_found_and_no_other(cast: Cast, planted: str) -> None:
    careless, holes = TRAEFIK[planted]
    found = planting(cast, "traefik", careless)
    assert (found.status, found.holes) == (int(bool(holes)), holes)


# --- Caddy -----------------------------------------------------------------------------------------------------------


def caddy_that_copies_nothing(text: str) -> str:
    return without(text, "request_header @said_x-authz", "@said_x-authz")


def caddy_that_copies_and_removes_nothing(text: str) -> str:
    return without(text, "request_header @said_x-authz", "@said_x-authz", "request_header -X-Authz")


def caddy_that_asks_nobody_about_upgrades(text: str) -> str:
    marker = "\t\t# --- May they?"
    upstream = text.rpartition("reverse_proxy ")[2].partition(" ")[0]
    return instead(text, marker, f"\t\treverse_proxy @upgrade {upstream}\n{marker}")


def caddy_that_passes_connection(text: str) -> str:
    return without(text, "request_header @plain -Connection", "request_header @upgrade Connection Upgrade")


CADDY: Final[dict[str, tuple[Careless, set[str]]]] = {
    "nothing is copied from the answer": (caddy_that_copies_nothing, UNSTAMPED),
    "nor is the client's removed": (
        caddy_that_copies_and_removes_nothing,
        UNSTAMPED | {"forged_stamp", "forged_websocket"},
    ),
    "nobody is asked about upgrades": (
        caddy_that_asks_nobody_about_upgrades,
        {"no_identity_websocket", "websocket_identity"},
    ),
    "the client's Connection passes": (caddy_that_passes_connection, {"forged_hop_by_hop", "forged_websocket"}),
}


@pytest.mark.parametrize("planted", CADDY)
def test_each_hole_planted_in_caddy_is_found_and_no_other(cast: Cast, planted: str) -> None:
    careless, holes = CADDY[planted]
    found = planting(cast, "caddy", careless)
    assert (found.status, found.holes) == (1, holes)


# --- nginx -----------------------------------------------------------------------------------------------------------

_STAMP: Final = "proxy_set_header x-authz-stamp"


def nginx_without_the_stamp(text: str) -> str:
    return without(text, f"{_STAMP} $answered_x_authz_stamp;")


def nginx_that_reads_underscores(text: str) -> str:
    text = instead(text, "underscores_in_headers off", "underscores_in_headers on")
    return instead(text, "ignore_invalid_headers on", "ignore_invalid_headers off")


def nginx_that_reads_underscores_and_tells_nobody(text: str) -> str:
    told = f"proxy_pass_request_headers off;\n            proxy_set_header {USER_HEADER} $http_x_forwarded_user;"
    return instead(
        nginx_that_reads_underscores(text), "            proxy_method GET;", f"            proxy_method GET;\n{told}"
    )


def nginx_that_answers_a_refusal_as_a_failure(text: str) -> str:
    return instead(text, "error_page 401 = @unauthenticated;", "error_page 401 = @unavailable;")


def nginx_that_takes_the_clients_address_for_its_word(text: str) -> str:
    return instead(text, 'proxy_set_header x-real-ip "";', "proxy_set_header x-real-ip $http_x_real_ip;")


NGINX: Final[dict[str, tuple[Careless, set[str]]]] = {
    "the stamp is not set": (nginx_without_the_stamp, UNSTAMPED | {"forged_stamp", "forged_websocket"}),
    # extauthz refuses them.
    "underscores are read": (nginx_that_reads_underscores, set()),
    "underscores are read, and extauthz is not told": (
        nginx_that_reads_underscores_and_tells_nobody,
        # $http_x_forwarded_user is X_Forwarded_User as well.
        {"forged_alias", "forged_websocket", "forged_sign_in"},
    ),
    "a refusal is answered as a failure": (nginx_that_answers_a_refusal_as_a_failure, {"refusal_status"}),
    "X-Real-IP is the client's word": (
        nginx_that_takes_the_clients_address_for_its_word,
        {"forged_forwarded", "forged_websocket"},
    ),
}


@pytest.mark.parametrize("planted", NGINX)
def test_each_hole_planted_in_nginx_is_found_and_no_other(cast: Cast, planted: str) -> None:
    careless, holes = NGINX[planted]
    found = planting(cast, "nginx", careless)
    assert (found.status, found.holes) == (int(bool(holes)), holes)


def test_a_location_of_its_own_for_the_websocket_without_a_question_is_found(cast: Cast) -> None:
    location = """        location /ws {
            proxy_pass http://gateway;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }
        location @unauthenticated {"""
    careless = planting(
        cast,
        "nginx",
        lambda text: instead(text, "        location @unauthenticated {", location),
        *("--websocket-path", "/ws"),
    )
    # In it nothing is removed either; names with _ and . never came through.
    assert careless.holes == {"no_identity_websocket", "websocket_identity", "forged_websocket"}


def test_an_authorizer_that_answers_500_is_told_by_the_status_alone(cast: Cast) -> None:
    with rogue_door() as door:
        door.answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"

        def ask_the_rogue(text: str) -> str:
            return instead(text, cast.service.http, door.address)

        found = planting(cast, "nginx", ask_the_rogue)
    assert (found.status, found.holes) == (1, {"refusal_status"})
    assert "without identity" in found.seen("refusal_status")
    assert "forged_stamp" in found.ids("not_tested")
