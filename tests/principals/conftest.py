"""What goes through Envoy runs on each engine; the rest knows none."""

from collections.abc import Iterator

import pytest

from principals.mtls import Mtls, running_mtls
from support import engine as engines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mtls" in metafunc.fixturenames:
        engines.parametrize(metafunc)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine that services are started with."""
    with engines.chosen(request.param) as name:
        yield name


@pytest.fixture(scope="session")
def shared_mtls(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mtls]:
    """The cast."""
    del engine  # it is chosen
    with running_mtls(tmp_path_factory.mktemp("mtls")) as cast:
        yield cast


@pytest.fixture
def mtls(shared_mtls: Mtls) -> Mtls:
    """The cast, the Gateway having seen nothing yet."""
    shared_mtls.gateway.clear()
    return shared_mtls
