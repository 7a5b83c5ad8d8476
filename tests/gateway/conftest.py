"""What the Gateway's tests share."""

from collections.abc import Iterator

import pytest

from gateway.forge import Forge
from gateway.servers import JwksServer


@pytest.fixture(scope="session")
def forge() -> Forge:
    return Forge()


@pytest.fixture
def source() -> Iterator[JwksServer]:
    server = JwksServer()
    yield server
    server.close()
