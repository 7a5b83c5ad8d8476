"""Replicas on each engine."""

from collections.abc import Iterator

import pytest

from support import engine as engines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    engines.parametrize(metafunc)


@pytest.fixture(scope="session", autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine that services are started with."""
    with engines.chosen(request.param) as name:
        yield name
