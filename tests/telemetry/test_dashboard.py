"""The dashboard and the alerts use only what a real service has, and a real Prometheus takes them."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from assertion.cases import assertion
from assertion.issuer import Issuer
from assertion.judge import jwks_file
from cases.build import GATEWAY, PAIRS, gateway
from cases.messages import check_request
from doors.door import ask
from support.name_server import name_server
from support.ports import free_port
from support.process import require_program, running, wait_until
from support.service import running_service
from telemetry.alert_cases import CASES, Case
from telemetry.promql import read
from telemetry.scrape import configuration, read_text, scrape

CONFIG = Path(__file__).parents[2] / "config"
DASHBOARD = CONFIG / "grafana" / "extauthz.json"
ALERTS = CONFIG / "prometheus" / "alerts.yaml"
SCRAPE = CONFIG / "prometheus" / "scrape.yaml"

# What Prometheus itself adds: to every sample, and of its own.
ADDED_LABELS = {"instance", "job"}
ADDED_METRICS: dict[str, set[str]] = {"up": set()}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expression(text: str) -> str:
    """Return an expression of the dashboard as Grafana sends it, with everything chosen."""
    chosen = {"$__rate_interval": "1m", "$instance": ".*", "$gateway": ".*"}
    for name, value in chosen.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text


def expressions() -> list[str]:
    """Return every expression of both files."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [annotation["expr"] for annotation in dashboard()["annotations"]["list"]]
    return [expression(text) for text in found] + [rule["expr"] for rule in rules()]


@dataclass(frozen=True)
class Scraped:
    """A running service that was asked a few things, and the Prometheus that looks at it."""

    metrics: dict[str, set[str]]
    """The labels of each metric, by the names of the samples."""
    prometheus: httpx.Client

    def query(self, text: str) -> list[dict[str, Any]]:
        """Have Prometheus evaluate an expression."""
        answer = self.prometheus.get("/api/v1/query", params={"query": text}).json()
        assert answer["status"] == "success", (text, answer)
        assert not answer.get("warnings"), (text, answer)
        found = answer["data"]["result"]
        return found if answer["data"]["resultType"] == "vector" else [{"value": found}]

    def get(self, path: str) -> Any:
        """Return what Prometheus' interface says."""
        answer = self.prometheus.get(f"/api/v1/{path}").json()
        assert answer["status"] == "success", answer
        return answer["data"]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    binary = require_program("prometheus")
    directory = tmp_path_factory.mktemp("prometheus")
    named = gateway(trustedProxies=[*GATEWAY["trustedProxies"], "dns:traefik.internal"])
    config = configuration({"g": named, "trial": gateway(mode="shadow")}, limits={"refusals": {}})
    config["gateways"]["shut"] = {}
    jwks_file(directory, Issuer())
    config["gateways"]["signed"] = gateway({"assertion": assertion(str(directory / "jwks.json"))})
    with (
        name_server({"traefik.internal": ["10.0.0.9"]}) as names,
        running_service(directory / "extauthz", {**config, "dns": {"servers": [names.address]}}) as service,
    ):
        given = yaml.safe_load(SCRAPE.read_text(encoding="utf-8"))
        given["global"] = {"evaluation_interval": "1s"}
        (job,) = given["scrape_configs"]
        job |= {"scrape_interval": "1s", "static_configs": [{"targets": [service.admin]}]}
        given["rule_files"] = [str(ALERTS)]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(given), encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        argv = [binary, f"--config.file={directory / 'prometheus.yml'}", f"--web.listen-address={address}"]
        argv += [f"--storage.tsdb.path={directory / 'data'}", "--log.level=warn"]

        with (
            running(argv, log=directory / "prometheus.log", cwd=directory) as program,
            httpx.Client(base_url=f"http://{address}", timeout=30) as client,
        ):
            found = Scraped({}, client)
            program.wait_ready(lambda: _is_ready(client))
            wait_until(lambda: _is(found, 'up{job="extauthz"}', "1"), "Prometheus has scraped it")
            for _ in range(3):
                _ask(service.address, service.http)
            wait_until(lambda: _is(found, "sum(extauthz_decisions_total) >= bool 15", "1"), "the decisions are scraped")
            for name, labels in _samples(service.admin):
                found.metrics.setdefault(name, set()).update(labels)
            yield found


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError as error:
        raise ConnectionError(str(error)) from error


def _is(found: Scraped, text: str, value: str) -> bool:
    return [sample["value"][1] for sample in found.query(text)] == [value]


def _samples(address: str) -> set[tuple[str, tuple[str, ...]]]:
    text = scrape(address)
    return {(sample.name, tuple(sample.labels)) for family in read_text(text) for sample in family.samples}


def _ask(grpc_address: str, http_address: str) -> None:
    ask(grpc_address, check_request(PAIRS))
    for name, peer in (("g", "10.0.0.8"), ("trial", "10.0.0.8"), ("nobody", "10.0.0.7")):
        ask(grpc_address, check_request(PAIRS, gateway=name, peer=peer))
    httpx.get(f"http://{http_address}/forward-auth/traefik/g", timeout=30)


def test_every_expression_names_only_what_a_real_service_has(scraped: Scraped) -> None:
    known = scraped.metrics | ADDED_METRICS
    for text in expressions():
        found = read(text)
        assert found.selectors, text
        grouped = set(ADDED_LABELS)
        for name, labels in found.selectors:
            assert name in known, f"{name} is no metric: {text}"
            assert labels <= known[name] | ADDED_LABELS, f"{name} has no such label: {text}"
            grouped |= known[name]
        assert found.grouped <= grouped, text


def test_every_metric_of_ours_is_on_the_dashboard(scraped: Scraped) -> None:
    shown = {name for text in expressions() for name, _ in read(text).selectors}
    whole = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in scraped.metrics if name.startswith("extauthz")}
    assert ours <= whole


def test_prometheus_evaluates_every_expression(scraped: Scraped) -> None:
    for text in expressions():
        scraped.query(text)


def test_panels_of_a_service_that_is_asked_show_something(scraped: Scraped) -> None:
    # These show what did not happen here: no key waits, nobody was refused.
    empty = {"The next key signs in"}
    # A rate needs two scrapes with the first decisions between them.
    wait_until(
        lambda: all(_shown(scraped, panel) for panel in panels() if panel["title"] not in empty),
        "all panels show something",
    )
    assert {panel["title"] for panel in panels() if not _shown(scraped, panel)} <= empty


def _shown(scraped: Scraped, panel: dict[str, Any]) -> bool:
    return any(scraped.query(expression(target["expr"])) for target in panel["targets"])


def test_prometheus_takes_the_rules_and_fires_what_was_provoked(scraped: Scraped) -> None:
    def firing() -> dict[str, dict[str, Any]]:
        alerts = scraped.get("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}

    wait_until(lambda: "ExtauthzUntrustedSource" in firing(), "the alert fires")
    told = firing()["ExtauthzUntrustedSource"]
    assert re.fullmatch(r"Somebody who is not the trusted proxy asks for (g|trial)", told["annotations"]["summary"])
    loaded = [rule for group in scraped.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in loaded} == {rule["alert"]: "ok" for rule in rules()}
    assert "ExtauthzInternalErrors" not in firing()


def test_promtool_accepts_both_files() -> None:
    promtool = require_program("promtool")
    for command, file in (("rules", ALERTS), ("config", SCRAPE)):
        done = subprocess.run([promtool, "check", command, str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("minutes", [1, 15])
def test_every_alert_fires_when_it_should_and_not_otherwise(minutes: int, tmp_path: Path) -> None:
    promtool = require_program("promtool")
    _without_annotations(tmp_path / "alerts.yaml")
    # Days are looked at in larger steps.
    cases = [case for case in CASES if (15 if case.minutes > 500 else 1) == minutes]
    assert cases
    given = {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": f"{minutes}m",
        "tests": [_as_test(case) for case in cases],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _as_test(case: Case) -> dict[str, Any]:
    """Return a case as promtool has it."""
    severity = next(rule["labels"]["severity"] for rule in rules() if rule["alert"] == case.alert)
    expected = [{"exp_labels": {**labels, "severity": severity}} for labels in case.fires]
    return {
        "name": f"{case.alert} {'fires' if case.fires else 'does not fire'} with {case.series}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": expected}],
    }


def _without_annotations(target: Path) -> None:
    # promtool compares their rendered text too; that is seen in a real Prometheus.
    bare = [{key: value for key, value in rule.items() if key != "annotations"} for rule in rules()]
    target.write_text(yaml.safe_dump({"groups": [{"name": "extauthz", "rules": bare}]}), encoding="utf-8")


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    names = {rule["alert"] for rule in rules()}
    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    for rule in rules():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_dashboard_can_be_imported() -> None:
    found = dashboard()
    assert found["uid"] == "extauthz"
    assert found["schemaVersion"] >= 39
    # Grafana gives it one; with a number of another Grafana it would replace what has that number.
    assert "id" not in found
    variables = {variable["name"]: variable for variable in found["templating"]["list"]}
    assert variables.keys() == {"datasource", "instance", "gateway"}
    assert variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    for place in (*panels(), *found["annotations"]["list"], variables["instance"], variables["gateway"]):
        assert place["datasource"]["uid"] == "${datasource}"
    for panel in panels():
        assert panel["title"]
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_panels_lie_beside_each_other_and_not_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_variables_are_filled_from_metrics_that_exist(scraped: Scraped) -> None:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] != "query":
            continue
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
        assert match is not None
        assert match[2] in scraped.metrics[match[1]] | ADDED_LABELS
        assert variable["query"]["query"] == variable["definition"]
