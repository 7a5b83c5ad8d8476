"""The real OpenClaw behind Envoy's jwt_authn, which verifies the stamp: config/examples/envoy-jwt-authn.yaml."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from openclaw.chain import IDENTITY, ORIGIN, TRUSTED, USER, Chain, openclaw_block, run, running_front
from openclaw.claw import Claw, greet, list_sessions, running_claw
from openclaw.installing import Installed
from support.clients import Refused, websocket
from support.envoy import running_envoy
from support.ports import free_port
from support.process import wait_until

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "envoy-jwt-authn.yaml"
HOST = "openclaw.example.com"
TRIED = [*IDENTITY.items(), ("x-authz-user", USER)]


class Guarded:
    """OpenClaw, the sidecar before it, and an Envoy with extauthz before that; their ports."""

    def __init__(self, claw: Claw, sidecar: int, front: int) -> None:
        self.claw = claw
        self.sidecar = sidecar
        self.front = front


@contextlib.contextmanager
def running_sidecar(directory: Path, keys: Path, upstream: int) -> Iterator[int]:
    """Run the example, changed as its head says, and no more."""
    directory.mkdir()
    (directory / "jwks.json").write_text(run("keys", "jwks", "--keys", str(keys)), encoding="utf-8")
    port, admin = free_port(), free_port()
    config: dict[str, Any] = yaml.safe_load(
        EXAMPLE.read_text(encoding="utf-8").replace("/etc/extauthz", str(directory))
    )
    config["admin"]["address"]["socket_address"]["port_value"] = admin
    listener = config["static_resources"]["listeners"][0]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    gateway = next(one for one in config["static_resources"]["clusters"] if one["name"] == "gateway")
    (endpoint,) = gateway["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["port_value"] = upstream
    with running_envoy(yaml.safe_dump(config), admin_port=admin, directory=directory):
        yield port


@pytest.fixture(scope="module")
def guarded(chain: Chain, installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "claw").mkdir()
    keys = chain.directory / "service" / "keys"
    with (
        running_claw(directory / "claw", installed, openclaw_block(directory, "--verified")) as claw,
        running_sidecar(directory / "sidecar", keys, claw.port) as sidecar,
        running_front(directory / "front", chain.service, f"127.0.0.1:{sidecar}") as (front, _),
    ):
        yield Guarded(claw, sidecar, front)


def test_a_stamped_request_gets_in(guarded: Guarded) -> None:
    answer = list_sessions(guarded.front, [*IDENTITY.items()], host=HOST, source=TRUSTED)
    assert answer.status == 200, answer
    assert answer.json()["ok"]


def test_a_stamped_websocket_gets_in_as_the_user_of_the_stamp(guarded: Guarded) -> None:
    headers = [*IDENTITY.items(), ("origin", ORIGIN), ("x-authz-user", "eve@example.com")]
    with websocket(guarded.front, headers, host=HOST, source=TRUSTED) as ws:
        assert greet(ws).answer["ok"]
    wait_until(lambda: f"user={USER}" in guarded.claw.program.log_text(), "OpenClaw's line about its user")
    assert "user=eve" not in guarded.claw.program.log_text()


@pytest.mark.parametrize("stamp", [None, "", "made-up", "a.b.c"])
def test_around_extauthz_a_made_up_stamp_does_not_get_past_the_sidecar(guarded: Guarded, stamp: str | None) -> None:
    headers = TRIED if stamp is None else [*TRIED, ("x-authz-stamp", stamp)]
    assert list_sessions(guarded.sidecar, headers, host=HOST).status == 401
    with pytest.raises(Refused) as refused, websocket(guarded.sidecar, headers, host=HOST):
        pass
    assert refused.value.response.status == 401


def test_nothing_but_this_host_was_reached(guarded: Guarded) -> None:
    assert guarded.claw.tried_to_reach() <= {"dns clawhub.ai"}
