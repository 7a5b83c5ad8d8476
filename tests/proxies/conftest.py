"""The cast of the tests through real proxies, started once."""

from collections.abc import Iterator

import pytest

from proxies.stamp_chain import Chain, running_chain
from support.stage import Stage, running_stage
from support.world import Way, World, running_world


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The cast."""
    with running_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """The cast, its Gateways having seen nothing yet."""
    shared_world.clear()
    return shared_world


@pytest.fixture(params=[(True, 1), (True, 2), (False, 1), (False, 2)], ids=["raw-1", "raw-2", "joined-1", "joined-2"])
def way(world: World, request: pytest.FixtureRequest) -> Way:
    """Each header encoding of Envoy's with each HTTP version of the client's."""
    raw, version = request.param
    return Way(world, raw, version)


@pytest.fixture(params=[True, False], ids=["raw", "joined"])
def way1(world: World, request: pytest.FixtureRequest) -> Way:
    """Each header encoding, for clients that can only speak HTTP/1.1."""
    return Way(world, request.param, 1)


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
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Envoy, extauthz and Gateways that verify stamps, and the ways around; none of them remembers a request."""
    with running_chain(tmp_path_factory.mktemp("chain")) as found:
        yield found
