"""The limit in the running service: at every door, on each gRPC engine, in the log, the metrics and the console."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cases.build import GATEWAY
from cases.messages import check_request, read, set_headers
from doors.door import ask as ask_grpc
from doors.door import call, channel
from extauthz.core.reasons import TOO_MANY_REFUSALS
from forward_auth.asking import DIALECTS, Asked, ask
from refusals.limiting import EVE, NICK, STRANGER, TOO_MANY
from support import engine as engines
from support.clients import http1
from support.files import json_lines
from support.process import wait_until
from support.service import Service, running_service
from telemetry.scrape import read_open_metrics, samples_of

CONFIG: dict[str, Any] = {
    "limits": {"refusals": {"perPeer": "5/hour", "perUser": "3/hour"}},
    "decisionLog": {"output": "decisions.jsonl"},
    "gateways": dict.fromkeys(("grpc", "flood", "console", "counted", *DIALECTS), GATEWAY),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    engines.parametrize(metafunc)


@pytest.fixture(scope="session", autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with engines.chosen(request.param) as name:
        yield name


@pytest.fixture(scope="session")
def service(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp(f"limited-{engine}")
    with running_service(directory, CONFIG) as found:
        yield found


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_grpc_door_tells_of_too_many_and_lets_in_who_may(service: Service) -> None:
    statuses = [ask_grpc(service.address, check_request(EVE, gateway="grpc")).status for _ in range(4)]
    assert statuses == [403, 403, 403, TOO_MANY]
    found = ask_grpc(service.address, check_request(EVE, gateway="grpc"))
    assert int(set_headers(found.response)["retry-after"]) <= 7200
    assert ask_grpc(service.address, check_request(NICK, gateway="grpc")).told == "allow:nick@example.com"
    strangers = [ask_grpc(service.address, check_request(NICK, gateway="grpc", peer=STRANGER)) for _ in range(6)]
    assert [one.status for one in strangers] == [403] * 5 + [TOO_MANY]
    assert ask_grpc(service.address, check_request(NICK, gateway="grpc")).told == "allow:nick@example.com"


@pytest.mark.only_grpcio
@pytest.mark.parametrize("dialect", DIALECTS)
def test_http_door_tells_of_too_many_and_lets_in_who_may(dialect: str, service: Service) -> None:
    answers = [ask(dialect, port(service.http), dialect, Asked(EVE)) for _ in range(4)]
    too_many = 403 if dialect == "nginx" else TOO_MANY
    assert [answer.status for answer in answers] == [403, 403, 403, too_many]
    assert [answer.json()["error"] == TOO_MANY_REFUSALS.code for answer in answers] == [False, False, False, True]
    assert [len(answer.values("retry-after")) for answer in answers] == [0, 0, 0, 1]
    assert ask(dialect, port(service.http), dialect, Asked(NICK)).status == 200


def lines(service: Service, gateway: str) -> list[dict[str, Any]]:
    path = Path(service.program.argv[service.program.argv.index("--config") + 1]).parent / "decisions.jsonl"
    return [line for line in json_lines(path.read_text(encoding="utf-8")) if line["gateway"] == gateway]


def test_flood_leaves_its_beginning_in_the_log_and_one_line_of_the_rest(service: Service) -> None:
    with channel(service.address) as opened:
        for _ in range(500):
            call(opened, check_request(EVE, gateway="flood"))
        assert read(call(opened, check_request(NICK, gateway="flood"))).passes
    wait_until(lambda: any(line["result"] == "allow" for line in lines(service, "flood")), "all are logged")
    denied = [line for line in lines(service, "flood") if line["result"] == "deny"]
    assert [line.get("limited", False) for line in denied[:4]] == [False, False, False, True]
    assert {line["reason"] for line in denied} == {"trusted_proxy_user_not_allowed"}
    assert {line["user"] for line in denied} == {"eve@example.com"}
    # A slow machine takes long enough for another line or two.
    assert len(denied) < 50
    metrics = scraped(service)
    withheld = metrics["extauthz_decision_log_lines_total", frozenset({("result", "withheld")})]
    assert withheld > 450
    assert metrics["extauthz_refusals_limited_total", frozenset({("gateway", "flood")})] == 497


def scraped(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    accept = [("accept", "application/openmetrics-text; version=1.0.0")]
    answer = http1(port(service.admin), accept, target="/metrics", host=service.admin)
    return samples_of(read_open_metrics(answer.body.decode()))


def test_metrics_count_by_gateway_and_the_reason_is_the_true_one(service: Service) -> None:
    before = scraped(service)
    limited = "extauthz_refusals_limited_total", frozenset({("gateway", "counted")})
    assert before[limited] == 0  # rate() does not see a series begin
    for _ in range(10):
        ask_grpc(service.address, check_request(EVE, gateway="counted"))
    after = scraped(service)
    assert after[limited] == 7
    labels = {("gateway", "counted"), ("result", "deny"), ("reason", "trusted_proxy_user_not_allowed")}
    assert after["extauthz_decisions_total", frozenset(labels)] == 10
    assert not [name for name, labels in after if TOO_MANY_REFUSALS.code in str(labels)]
    assert after["extauthz_refusals_tracked", frozenset({("kind", "user")})] >= 1


def test_console_shows_the_reason_and_that_it_was_limited(service: Service) -> None:
    for _ in range(5):
        ask_grpc(service.address, check_request(EVE, gateway="console"))
    target = "/console/api/decisions?gateway=console"

    def shown() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = http1(port(service.admin), target=target, host=service.admin).json()["decisions"]
        return found

    wait_until(lambda: len(shown()) == 5, "the decisions are shown")
    assert [line.get("limited", False) for line in shown()] == [True, True, False, False, False]
    assert {line["reason"] for line in shown()} == {"trusted_proxy_user_not_allowed"}
