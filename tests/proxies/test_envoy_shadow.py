"""Shadow mode through real Envoy, however it asks: what would be denied passes, and no identity with it.

Over gRPC in both forms in which Envoy tells of headers, and over HTTP; with Envoy taking stamped headers away before,
and with nothing but the answer to do so.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from extauthz.proxies.envoy import Route
from support.clients import Headers, Response, http1, http2, websocket
from support.front import running_front
from support.service import Service, running_service
from support.world import CONFIG, IDENTITY, STRANGER, TRUSTED, USER, World, identity

STAMPED = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
PROTECTED = (*STAMPED, "x-forwarded-user")
FORGED = "forged@example.com"
FORGERIES = [(name, FORGED) for name in STAMPED]

# How Envoy asks, whether it tells of each header by itself, and whether it strips stamped ones before.
WAYS = {
    "grpc-raw-stripped": ("grpc", True, True),
    "grpc-raw-overwritten": ("grpc", True, False),
    "grpc-map-overwritten": ("grpc", False, False),
    "http-stripped": ("http", True, True),
    "http-overwritten": ("http", True, False),
}

# Why it would be denied: what is sent, and from where.
WOULD_BE_DENIED: dict[str, tuple[Headers, str]] = {
    "stranger": (IDENTITY, STRANGER),
    "nobody": (identity(x_forwarded_user=None), TRUSTED),
    "blank": (identity(x_forwarded_user=" , "), TRUSTED),
    "not-on-the-list": (identity(x_forwarded_user=FORGED), TRUSTED),
    "named-twice": ((*IDENTITY, ("x-forwarded-user", FORGED)), TRUSTED),
    "header-stripped": (identity(x_forwarded_host=None), TRUSTED),
    "foreign-page": ((*IDENTITY, ("origin", "https://evil.example.com")), TRUSTED),
}


@pytest.fixture(scope="module")
def shadowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("shadow"), {**CONFIG, "mode": "shadow"}) as service:
        yield service


@pytest.fixture(scope="module", params=WAYS)
def port(
    request: pytest.FixtureRequest, shadowing: Service, shared_world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Where an Envoy listens that asks the service in shadow mode."""
    ask_over, raw, strip = WAYS[request.param]
    with running_front(
        tmp_path_factory.mktemp("front"),
        routes=[Route(upstream=shared_world.openclaw.address, gateway="openclaw", user_headers=("x-forwarded-user",))],
        extauthz=[shadowing.http if ask_over == "http" else shadowing.address],
        ask_over=ask_over,
        encode_raw_headers=raw,
        strip_stamped=strip,
    ) as front:
        yield front.port


def identities(world: World) -> list[str]:
    """Whatever of an identity arrived at the Gateway with the one request that did."""
    (arrived,) = world.arrived()
    return [value for name in PROTECTED for value in arrived.values(name) if value]


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
@pytest.mark.parametrize("attack", WOULD_BE_DENIED)
def test_a_forged_identity_does_not_pass_in_shadow_mode(world: World, port: int, client: Any, attack: str) -> None:
    headers, source = WOULD_BE_DENIED[attack]
    for forged in ([], FORGERIES, [*FORGERIES, *FORGERIES], [(name, "") for name in STAMPED]):
        world.clear()
        answer: Response = client(port, [*headers, *forged], source=source)
        assert (answer.status, identities(world)) == (200, [])


def test_an_upgrade_carries_no_forged_identity_in_shadow_mode(world: World, port: int) -> None:
    world.clear()
    with websocket(port, [*IDENTITY, *FORGERIES], source=STRANGER) as opened:
        assert opened.echo("hello") == "hello"
    assert identities(world) == []


def test_a_true_identity_passes_in_shadow_mode_and_the_forged_one_beside_it_does_not(world: World, port: int) -> None:
    world.clear()
    assert http1(port, [*IDENTITY, *FORGERIES], source=TRUSTED).status == 200
    found = identities(world)
    assert found.count(USER) == 2  # of extauthz and in the Gateway's own header
    assert len(found) == len(PROTECTED)
    assert not any(FORGED in value for value in found)


@pytest.mark.parametrize("alias", ["x_authz_user", "x_forwarded_user", "x.authz.stamp"])
def test_an_alias_of_a_protected_name_does_not_pass_in_shadow_mode_either(world: World, port: int, alias: str) -> None:
    for headers, source in (([], STRANGER), (IDENTITY, TRUSTED)):
        world.clear()
        answer = http1(port, [*headers, (alias, FORGED)], source=source)
        # Envoy itself may have taken it away or refused it before anyone was asked.
        assert answer.status in {200, 400, 403}
        assert not any(FORGED in value for arrived in world.arrived() for _, value in arrived.headers)
