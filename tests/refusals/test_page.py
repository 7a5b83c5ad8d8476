"""docs/refusal-limit.md: its example is the default, its statuses are the doors', its names are there."""

import re
from pathlib import Path

from extauthz.assembly import make_snapshot
from extauthz.config.load import loads
from extauthz.core.reasons import REASONS, TOO_MANY_REFUSALS
from extauthz.metrics import METRICS
from extauthz.refusals import EYED
from extauthz.wire.forward_auth import DIALECTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "refusal-limit.md").read_text(encoding="utf-8")


def test_example_is_the_default() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    short = re.sub(r"  refusals:\n(    .*\n)+", "  refusals: {}\n", example)
    assert short != example
    written, default = (make_snapshot(loads(text)).refusals for text in (example, short))
    assert written is not None
    assert default is not None
    assert written.limits == default.limits


def test_every_reason_and_metric_that_is_named_is_there() -> None:
    for name in re.findall(r"`((?:trusted_proxy|caller|gateway|header|request|internal)_[a-z_]+)`", PAGE):
        assert name in REASONS
    known = {metric.name for metric in METRICS}
    named = re.findall(r"`(extauthz_[a-z_]+)`", PAGE)
    assert named
    assert set(named) <= known


def test_statuses_are_those_of_the_doors() -> None:
    rows = dict(re.findall(r"^\| (Envoy over gRPC|nginx)[^|]*\| (\d+)", PAGE, re.MULTILINE))
    assert rows == {"Envoy over gRPC": str(TOO_MANY_REFUSALS.status), "nginx": str(DIALECTS["nginx"].too_many)}
    others = {dialect.too_many for name, dialect in DIALECTS.items() if name != "nginx"}
    assert others == {TOO_MANY_REFUSALS.status}


def test_how_many_are_looked_at_is_told() -> None:
    assert EYED == 16
    assert "sixteen that are looked at" in PAGE


def test_reasons_page_tells_what_stands_for_a_reason() -> None:
    page = (DOCS / "reasons.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{TOO_MANY_REFUSALS.code}` |"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1:] == [str(TOO_MANY_REFUSALS.status), TOO_MANY_REFUSALS.meaning, TOO_MANY_REFUSALS.cure]
    assert TOO_MANY_REFUSALS.code not in REASONS


def test_links_lead_somewhere() -> None:
    for name in (
        "reasons.md",
        "decision-log.md",
        "metrics.md",
        "configuration.md",
        "threat-model.md",
        "forward-auth.md",
    ):
        assert "refusal-limit.md" in (DOCS / name).read_text(encoding="utf-8"), name
