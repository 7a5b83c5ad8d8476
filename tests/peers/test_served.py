"""The real service and a real name server: who is trusted changes with the answers, and no request waits for one."""

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cases.build import PAIRS, gateway
from cases.messages import Outcome, check_request
from doors.door import ask, call, channel
from extauthz.service import FIRST_ANSWERS_SECONDS
from peers.naming import EVIL, NAME, NEW, OLD, dns_section
from support.files import json_lines
from support.name_server import NameServer, Query, name_server
from support.process import wait_until
from support.service import Service, running_service
from telemetry.scrape import read_text, scrape

QUICK = {"minTtl": "1s", "maxTtl": "1s"}
UNTRUSTED = "trusted_proxy_untrusted_source"
WITHOUT = "serving without waiting for every name"
# How late answers come where it is to be seen that they are waited for.
LATE_SECONDS = 1.5


def configuration(server: NameServer, *entries: str, **changed: Any) -> dict[str, Any]:
    """A file with one gateway `g` that trusts these, the name by default, and asks this server every second."""
    dns = dns_section(server, **{**QUICK, **changed})
    return {"dns": dns, "gateways": {"g": gateway(trustedProxies=list(entries or [f"dns:{NAME}"]))}}


def rewrite(service: Service, config: dict[str, Any]) -> None:
    """Write another file for a running service."""
    (service.program.log.parent / "extauthz.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server({NAME: [OLD]}) as running:
        yield running


@pytest.fixture
def service(server: NameServer, tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path, configuration(server)) as running:
        wait_until(lambda: passes(running, OLD), "the name is resolved")
        yield running


def decided(service: Service, peer: str) -> Outcome:
    return ask(service.address, check_request(PAIRS, peer=peer))


def passes(service: Service, peer: str) -> bool:
    """Whether the first door lets this peer pass; a refusal is of its address."""
    outcome = decided(service, peer)
    assert outcome.passes or outcome.reason == UNTRUSTED
    return outcome.passes


def passes_over_http(service: Service, peer: str) -> bool:
    headers = [*((name, value) for name, value in PAIRS if name != "x-forwarded-for"), ("x-forwarded-for", peer)]
    answer = httpx.get(f"http://{service.http}/forward-auth/traefik/g", headers=headers, timeout=30)
    assert answer.status_code == 200 or answer.headers["x-authz-reason"] == UNTRUSTED
    return answer.status_code == 200


def shown_by_console(service: Service, name: str) -> Any:
    return httpx.get(f"http://{service.admin}/console/api/{name}", timeout=30).json()


def values(service: Service, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric, by its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in read_text(scrape(service.admin))
        for sample in family.samples
        if sample.name == name
    }


class Late:
    """Lets a name server answer honestly, and late at first about one name."""

    def __init__(self, server: NameServer, name: str) -> None:
        self._server = server
        self._name = name
        self._asked = 0.0

    def __call__(self, query: Query) -> Iterable[bytes]:
        """Answer a question."""
        if query.question[0].name.to_text(omit_final_dot=True) == self._name:
            self._asked = self._asked or time.monotonic()
            time.sleep(max(0.0, self._asked + LATE_SECONDS - time.monotonic()))
        return self._server.honest(query)


def waited_in_vain(service: Service) -> bool:
    """Whether the service says that it does not wait any more, and did: what it said before came before the wait."""
    # Decisions stand in the same file.
    lines = [line for line in json_lines(service.program.log_text(), mixed=True) if "event" in line]
    moments = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]
    given_up = [number for number, line in enumerate(lines) if WITHOUT in line["event"]]
    return any(moments[number] - moments[number - 1] >= FIRST_ANSWERS_SECONDS for number in given_up if number)


def test_first_request_after_the_start_is_allowed_by_the_name(server: NameServer, tmp_path: Path) -> None:
    # The service is ready when the name was asked about, not before; on a slow machine it may wait in vain.
    server.say = Late(server, NAME)
    with running_service(tmp_path, configuration(server)) as service:
        assert passes(service, OLD) or waited_in_vain(service)
        wait_until(lambda: passes(service, OLD), "the name is resolved")
        assert not passes(service, NEW)
        assert passes_over_http(service, OLD)
        assert not passes_over_http(service, NEW)


def test_when_the_address_changes_the_new_one_is_trusted_and_the_old_one_no_longer(
    service: Service, server: NameServer
) -> None:
    server.records[NAME] = [NEW]
    wait_until(lambda: passes(service, NEW), "the new address is trusted")
    assert not passes(service, OLD)
    assert passes_over_http(service, NEW)
    assert not passes_over_http(service, OLD)
    assert values(service, "extauthz_peer_name_changes_total")[NAME, "somebody"] == 2
    assert values(service, "extauthz_peer_name_addresses") == {(NAME,): 1}
    assert "the addresses of a trusted name changed" in service.program.log.read_text()


def test_refused_answer_makes_nobody_trusted_and_is_counted(service: Service, server: NameServer) -> None:
    server.records[NAME] = [EVIL, "127.0.0.1"]
    # The main thread tells of it some moments after it was counted.
    wait_until(lambda: "which is loopback" in service.program.log_text(), "it was answered")
    assert values(service, "extauthz_peer_name_lookups_total")[NAME, "refused"] > 0
    assert not passes(service, EVIL)
    assert not passes(service, "127.0.0.1")
    assert passes(service, OLD)


def test_name_that_is_gone_trusts_nobody_and_is_told_everywhere(service: Service, server: NameServer) -> None:
    del server.records[NAME]
    wait_until(lambda: not passes(service, OLD), "nobody is trusted")
    assert values(service, "extauthz_peer_name_addresses") == {(NAME,): 0}
    assert values(service, "extauthz_peer_name_changes_total")[NAME, "nobody"] == 1
    (named,) = shown_by_console(service, "status")["names"]
    assert named["addresses"] == []
    assert named["fault"] == "there is no such name (NXDOMAIN)"
    shown = shown_by_console(service, "gateways/g")["peerNames"]["shown"]
    assert shown[0].startswith(f"dns:{NAME} stands for nobody (since ")
    assert "a trusted name trusts nobody any more" in service.program.log.read_text()


def test_no_request_waits_for_a_name_server_that_says_nothing(server: NameServer, tmp_path: Path) -> None:
    # Whoever can hold up the name server must not be able to hold up decisions.
    held, released = threading.Event(), threading.Event()

    def say(_: Query) -> Iterable[bytes]:
        held.set()
        released.wait()
        return ()

    with running_service(tmp_path, configuration(server)) as service, channel(service.address) as opened:
        server.say = say
        try:
            assert held.wait(30)
            # Each is answered while the question is under way: it ends when this test lets it, and not before.
            message = check_request(PAIRS, peer=OLD)
            answers = [call(opened, message) for _ in range(50)]
            assert len(answers) == 50
            assert passes(service, OLD)
            assert passes_over_http(service, OLD)
        finally:
            released.set()


def test_start_does_not_wait_for_ever_and_serves_without_the_name(server: NameServer, tmp_path: Path) -> None:
    server.say = server.silent
    config = configuration(server)
    config["gateways"]["h"] = gateway()
    with running_service(tmp_path, config) as service:
        assert not passes(service, OLD)
        assert ask(service.address, check_request(PAIRS, gateway="h")).passes
        assert WITHOUT in service.program.log_text()
        server.say = server.honest
        wait_until(lambda: passes(service, OLD), "the name is resolved")


def test_reload_keeps_what_is_known_while_the_name_server_is_down(
    service: Service, server: NameServer, tmp_path: Path
) -> None:
    server.say = server.silent
    config = configuration(server)
    config["gateways"]["added"] = gateway(trustedProxies=[f"dns:{NAME}", "10.0.0.99"])
    rewrite(service, config)
    message = check_request(PAIRS, gateway="added", peer="10.0.0.99")
    wait_until(lambda: ask(service.address, message).passes, "the new file is in force")
    assert passes(service, OLD)
    assert ask(service.address, check_request(PAIRS, gateway="added", peer=OLD)).passes
    assert tmp_path.exists()


def test_reload_that_brings_a_name_has_its_addresses_from_the_first_request(
    service: Service, server: NameServer
) -> None:
    server.records["envoy.internal"] = [NEW]
    server.say = Late(server, "envoy.internal")
    rewrite(service, configuration(server, "dns:envoy.internal"))
    seen = set()

    def changed() -> bool:
        seen.add((passes(service, OLD), passes(service, NEW)))
        return passes(service, NEW)

    wait_until(changed, "the new file is in force")
    assert not passes(service, OLD)
    # Never was nobody trusted in between.
    assert (False, False) not in seen


def test_refused_reload_leaves_the_names_as_they_were(service: Service, server: NameServer) -> None:
    rewrite(service, configuration(server, f"dns:{NAME}", "dns:not/a/name"))
    wait_until(lambda: "is refused" in service.program.log.read_text(), "the file is refused")
    server.records[NAME] = [NEW]
    wait_until(lambda: passes(service, NEW), "the name is still followed")


def test_changes_of_names_and_of_the_file_at_once_end_with_the_last_of_both(
    service: Service, server: NameServer
) -> None:
    for number in range(1, 6):
        server.records[NAME] = [f"10.1.0.{number}"]
        config = configuration(server, f"dns:{NAME}", f"10.2.0.{number}")
        rewrite(service, config)
        wait_until(lambda: passes(service, f"10.2.0.{number}"), "the file is in force")  # noqa: B023 - waited for here
    wait_until(lambda: passes(service, "10.1.0.5"), "the last answer is in force")
    assert passes(service, "10.2.0.5")
    assert not any(passes(service, f"10.{part}.0.{number}") for part in (1, 2) for number in range(1, 5))


def test_version_of_the_policy_is_that_of_the_file_whatever_names_stand_for(
    service: Service, server: NameServer
) -> None:
    # Replicas hear of a change one after the other: that they differ for a moment is no alert.
    before = values(service, "extauthz_config_info")
    server.records[NAME] = [NEW]
    wait_until(lambda: passes(service, NEW), "the new address is trusted")
    assert values(service, "extauthz_config_info") == before
