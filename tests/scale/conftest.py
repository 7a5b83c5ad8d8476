"""Replicas on each engine."""

from collections.abc import Iterator

import pytest

from support import engine as engines


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    engines.parametrize(metafunc, "module")


@pytest.fixture(scope="module", autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine that services are started with."""
    with engines.chosen(request.param) as name:
        yield name
