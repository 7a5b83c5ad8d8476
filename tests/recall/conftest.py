"""Everything here is tried in each way in which a question can be found: by the message's bytes, and by the parser."""

from collections.abc import Iterator

import pytest

from extauthz.build import build
from extauthz.wire import envoy_question

# Compiled, the way is part of the code; in plain Python it is chosen.
WAYS = ("apart", "parsed") if build() == "pure" else ("apart",)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each test in each way."""
    metafunc.parametrize("way", WAYS, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """The way in which a CheckRequest is told from others."""
    with pytest.MonkeyPatch.context() as patched:
        if len(WAYS) > 1:
            patched.setattr(envoy_question, "TAKES_APART", request.param == "apart")
        yield request.param
