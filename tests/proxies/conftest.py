"""The cast of the tests through real proxies, started once."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from proxies.stamp_chain import Chain, running_chain
from support import engine as engines
from support.stage import Stage, running_stage
from support.world import TRUSTED, Way, World, running_world

ON_EACH_ENGINE = frozenset(
    {
        "test_envoy_gateways",
        "test_envoy_key_rotation",
        "test_envoy_outage",
        "test_envoy_spoofing",
        "test_envoy_stamp_attacks",
        "test_envoy_stamp_replays",
        "test_envoy_websocket",
        "test_through_envoy",
    }
)
"""Where Envoy asks extauthz over gRPC, without TLS, which the native engine does not have."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks over gRPC on each engine, and let all that shares a cast with it name the engine of the cast."""
    if metafunc.module.__name__.rpartition(".")[2] in ON_EACH_ENGINE:
        engines.parametrize(metafunc)
    elif {"shared_world", "chain"} & set(metafunc.fixturenames):
        metafunc.parametrize("engine", engines.ENGINES[:1], indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine that services are started with."""
    with engines.chosen(getattr(request, "param", "grpcio")) as name:
        yield name


@pytest.fixture(scope="session")
def shared_world(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The cast."""
    del engine  # it is chosen
    with running_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """The cast, its Gateways having seen nothing yet."""
    shared_world.clear()
    return shared_world


WAYS = {
    "raw-1": (True, 1, "grpc"),
    "raw-2": (True, 2, "grpc"),
    "joined-1": (False, 1, "grpc"),
    "joined-2": (False, 2, "grpc"),
    "http-raw-1": (True, 1, "http"),
    "http-joined-2": (False, 2, "http"),
}
"""Each header encoding of Envoy's with each HTTP version of the client's, asked over gRPC and over HTTP."""
WAYS_1 = {"raw": (True, 1, "grpc"), "joined": (False, 1, "grpc"), "http": (True, 1, "http")}


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
def way(world: World, request: pytest.FixtureRequest) -> Way:
    """Each way through Envoy."""
    return Way(world, *request.param)


@pytest.fixture(params=WAYS_1.values(), ids=list(WAYS_1))
def way1(world: World, request: pytest.FixtureRequest) -> Way:
    """Each way for clients that can only speak HTTP/1.1."""
    return Way(world, *request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what there is not: a peer far away, told of by a balancer, where Envoy asks over HTTP.

    And what would be the same again: the ways over HTTP on another gRPC engine.
    """
    there_is_not = [item for item in items if _is_far_over_http(item) or _is_native_over_http(item)]
    if there_is_not:
        config.hook.pytest_deselected(items=there_is_not)
        items[:] = [item for item in items if item not in set(there_is_not)]


def _is_over_http(given: Mapping[str, Any]) -> bool:
    return any("http" in given.get(name, ()) for name in ("way", "way1"))


def _is_native_over_http(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("engine") == "native" and _is_over_http(callspec.params)


def _is_far_over_http(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return False
    given = callspec.params
    peer = given["case"].peer if hasattr(given.get("case"), "peer") else given.get("peer", TRUSTED)
    return _is_over_http(given) and not peer.startswith("127.")


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Envoy, a scripted authorizer and a Gateway; in `stage` the Gateway has seen nothing yet."""
    with running_stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """Envoy, a scripted authorizer that allows everything, and a Gateway that has seen nothing yet."""
    shared_stage.gateway.clear()
    return shared_stage


@pytest.fixture(scope="session")
def chain(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Envoy, extauthz and Gateways that verify stamps, and the ways around; none of them remembers a request."""
    del engine  # it is chosen
    with running_chain(tmp_path_factory.mktemp("chain")) as found:
        yield found
