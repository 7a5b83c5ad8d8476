"""The doors that most of these tests ask at, with a gateway for each line of the corpus."""

from collections.abc import Iterator

import pytest

from cases.corpus import cases
from forward_auth.opening import Doors, gateway, opened_doors
from support.loop import LOOPS, chosen

# What asks byte by byte, and waits: each loop reads and closes in its own way.
ON_EACH_LOOP = {"test_http_connection", "test_http_door", "test_http_limits"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what depends on the loop on each of them."""
    if metafunc.module.__name__.rpartition(".")[2] in ON_EACH_LOOP:
        metafunc.parametrize("loop", LOOPS, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def loop(request: pytest.FixtureRequest) -> Iterator[str]:
    """The loop that the doors run on."""
    with chosen(getattr(request, "param", "asyncio")) as name:
        yield name


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, loop: str) -> Iterator[Doors]:  # noqa: ARG001 - chosen before
    """Doors that 127.0.0.0/25 may ask at."""
    config = {
        "callers": {"addresses": ["127.0.0.0/25"]},
        "stamp": {"bind": ["method", "host", "path"]},
        "gateways": {
            **{case.gateway_id: case.gateway for case in cases()},
            "openclaw": gateway(),
            "other": gateway(rules={"allowUsers": ["someone@example.com"]}),
            "caller": gateway(peer="caller", trustedProxies=["127.0.0.1"]),
            "narrow": gateway(callers={"addresses": ["127.0.0.9"]}),
            "shadow": gateway(mode="shadow"),
            "commas": gateway(rules={"allowCommaInUser": True, "allowUsers": []}),
            "claw-caller": gateway(
                peer="caller",
                ruleset="openclaw-2026.9",
                trustedProxies=["127.0.0.1"],
                rules={"allowLoopback": True},
            ),
        },
    }
    with opened_doors(tmp_path_factory.mktemp("doors"), config) as found:
        yield found
