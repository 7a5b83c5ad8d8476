"""The doors that most of these tests ask at, with a gateway for each line of the corpus."""

from collections.abc import Iterator

import pytest

from cases.corpus import cases
from forward_auth.opening import Doors, gateway, opened_doors


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
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
