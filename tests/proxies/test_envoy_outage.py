"""extauthz gone in the middle of the work: real Envoy denies, and goes on when it is back. No request slips through."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from extauthz.proxies.envoy import Route
from support.attacks import note
from support.clients import Refused, http1, http2, websocket
from support.echo_gateway import EchoGateway, echo_gateway
from support.front import WATCHFUL, Front, running_front
from support.load import Load
from support.process import wait_until
from support.service import Service, running_service
from support.world import CONFIG, IDENTITY, TRUSTED


@contextlib.contextmanager
def staged(directory: Path, processes: int = 1) -> Iterator[tuple[Front, list[Service], EchoGateway]]:
    """Envoy with so many processes of extauthz, and a Gateway."""
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(echo_gateway())
        services = [
            stack.enter_context(running_service(directory / f"service-{number}", CONFIG)) for number in range(processes)
        ]
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        endpoints = [service.address for service in services]
        front = stack.enter_context(running_front(directory, routes=[route], extauthz=endpoints, **WATCHFUL))
        yield front, services, gateway


def test_killed_under_load_everything_is_denied_until_it_is_back(tmp_path: Path) -> None:
    with staged(tmp_path) as (front, (service,), gateway):
        with Load(front.port) as load:
            wait_until(lambda: load.count(200) >= 20, "requests that are allowed")
            service.program.kill()
            # Whoever asks from now on is denied, on every kind of connection.
            allowed = len(gateway.arrived)
            for send in (http1, http2):
                assert send(front.port, IDENTITY, source=TRUSTED).status == 503
            with pytest.raises(Refused) as refused, websocket(front.port, IDENTITY, source=TRUSTED):
                pass
            assert refused.value.response.status == 503
            denied = load.count(503)
            wait_until(lambda: load.count(503) >= denied + 20, "requests that are denied")
            # What was under way when it was killed is all that can still have come.
            assert len(gateway.arrived) - allowed <= 2
            service.restart()
            back = load.count(200)
            wait_until(lambda: load.count(200) >= back + 20, "requests that are allowed again")
        # The client was never told anything else, and the Gateway never saw what was not allowed.
        assert load.statuses == {200, 503}
        assert len(gateway.arrived) == load.count(200)
        assert all(one.values("x-authz-user") for one in gateway.arrived)
        note("door killed", "Envoy gRPC", "nothing arrives")


def test_stopped_without_being_ended_everything_is_denied_until_it_goes_on(tmp_path: Path) -> None:
    # It still holds its connections, and answers nothing: as a process that hangs does.
    with staged(tmp_path) as (front, (service,), gateway):
        assert http1(front.port, IDENTITY, source=TRUSTED).status == 200
        service.program.freeze()
        try:
            gateway.clear()
            wait_until(lambda: front.envoy.finds_well(0), "Envoy noticing that it does not answer")
            assert http1(front.port, IDENTITY, source=TRUSTED).status == 503
            assert gateway.arrived == []
            note("door hung (SIGSTOP)", "Envoy gRPC", "nothing arrives")
        finally:
            service.program.signal(signal.SIGCONT)
        wait_until(lambda: http1(front.port, IDENTITY, source=TRUSTED).status == 200, "a request that is allowed")


def test_an_open_websocket_outlives_the_process_that_allowed_it(tmp_path: Path) -> None:
    with staged(tmp_path) as (front, (service,), _), websocket(front.port, IDENTITY, source=TRUSTED) as opened:
        service.program.kill()
        assert opened.echo("still here") == "still here"


def test_with_another_process_there_is_no_refusal(tmp_path: Path) -> None:
    with staged(tmp_path, processes=2) as (front, (first, second), _):
        with Load(front.port) as load:
            wait_until(lambda: load.count(200) >= 20, "requests that are allowed")
            first.program.kill()
            after = load.count(200)
            wait_until(lambda: load.count(200) >= after + 20, "requests that the other process allows")
            first.restart()
            wait_until(lambda: front.envoy.finds_well(2), "Envoy noticing that it is back")
            # An orderly end drains: it too costs nobody a refusal.
            second.program.stop()
            after = load.count(200)
            wait_until(lambda: load.count(200) >= after + 20, "requests that the first process allows")
        assert load.statuses == {200}


def test_envoy_started_first_denies_until_the_service_is_there(tmp_path: Path) -> None:
    with staged(tmp_path) as (front, (service,), gateway):
        service.program.kill()
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        with running_front(
            tmp_path / "early", routes=[route], extauthz=[service.address], well=False, **WATCHFUL
        ) as early:
            assert http1(early.port, IDENTITY, source=TRUSTED).status == 503
            service.restart()
            wait_until(lambda: http1(early.port, IDENTITY, source=TRUSTED).status == 200, "a request that is allowed")
        assert front.port != early.port
