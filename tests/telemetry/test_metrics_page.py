"""docs/metrics.md and docs/opentelemetry.md say what there is: every metric, alert, variable and attribute."""

import re
from pathlib import Path

import pytest
import yaml

from cases.build import GATEWAY, policy_of, request_of
from extauthz.core.decide import decide
from extauthz.core.decision import Deny
from extauthz.metrics import DOORS, METRICS
from extauthz.telemetry import otel
from extauthz.telemetry.otel_metrics import DEFAULT_INTERVAL_MS, INTERVAL_VARIABLE
from extauthz.telemetry.otel_spans import SPAN_NAME, attributes_of
from telemetry.records import record_of

ROOT = Path(__file__).parents[2]
METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
OTEL_PAGE = (ROOT / "docs" / "opentelemetry.md").read_text(encoding="utf-8")


def rows(page: str, head: str) -> list[list[str]]:
    """Return the cells of the table whose first column is called so."""
    lines = page.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |")) + 2
    end = next((number for number in range(start, len(lines)) if not lines[number].startswith("|")), len(lines))
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start:end]]


def test_every_metric_has_its_row_in_the_order_of_the_code() -> None:
    assert rows(METRICS_PAGE, "Metric") == [
        [f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help]
        for metric in METRICS
    ]


def test_every_alert_has_its_row_with_its_severity() -> None:
    (group,) = yaml.safe_load((ROOT / "config" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    told = [(row[0], row[1]) for row in rows(METRICS_PAGE, "Alert")]
    assert told == [(f"`{rule['alert']}`", rule["labels"]["severity"]) for rule in group["rules"]]


def test_doors_are_told() -> None:
    for door in DOORS:
        assert f"`{door}`" in METRICS_PAGE


def test_attributes_of_a_span_are_told() -> None:
    policy = policy_of({"g": GATEWAY})
    found: set[str] = set()
    for peer in ("10.0.0.7", "10.0.0.8"):
        request = request_of(peer=peer, host="gateway.example.com")
        decision = decide(policy, request)
        if isinstance(decision, Deny):
            decision = decision._replace(retry_after=1)
        found |= attributes_of(record_of(policy, request, decision)).keys()
    assert {row[0] for row in rows(OTEL_PAGE, "Attribute")} == {f"`{name}`" for name in found}
    assert f"named `{SPAN_NAME}`" in OTEL_PAGE


def test_limits_are_told() -> None:
    assert (
        f"({DEFAULT_INTERVAL_MS} ms)"
        in next(row for row in rows(OTEL_PAGE, "Variable") if INTERVAL_VARIABLE in row[0])[1]
    )
    assert f"at most {otel.CLOSE_SECONDS:.0f} seconds" in OTEL_PAGE
    assert otel.REPEAT_SECONDS == 300
    assert "once in five minutes" in OTEL_PAGE
    assert otel.INSTALL in OTEL_PAGE


@pytest.mark.parametrize("page", [METRICS_PAGE, OTEL_PAGE], ids=["metrics", "opentelemetry"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page):
        assert (ROOT / "docs" / target).exists(), target
