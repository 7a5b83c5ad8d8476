"""The cast of the probe's tests, started once for a module."""

from collections.abc import Iterator

import pytest

from probe.cast import Cast, running_cast


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """extauthz and a Gateway that reports; each test puts a proxy between."""
    with running_cast(tmp_path_factory.mktemp("cast")) as found:
        yield found
