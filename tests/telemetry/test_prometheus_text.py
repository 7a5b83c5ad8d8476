"""What a scrape gets is what prometheus_client would have written, in either format; promtool and its parsers agree."""

import subprocess
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from cases.build import PAIRS
from cases.generated import bounded
from cases.messages import check_request
from extauthz.metrics import METRICS
from extauthz.telemetry.metric import Metric, Point, Reading
from extauthz.telemetry.prometheus import write
from extauthz.telemetry.tally import BUCKETS_NS, Histogram
from support.process import require_program
from telemetry.scrape import (
    OPEN_METRICS,
    ask,
    built,
    configuration,
    families,
    read_open_metrics,
    read_text,
    samples_of,
    write_open_metrics,
)

PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def histogram(counts: list[int], sum_ns: int) -> Histogram:
    made = Histogram()
    made.counts, made.sum_ns = counts, sum_ns
    return made


TEXTS = st.text(max_size=12) | st.sampled_from(['"', "\\", "\n", '\\"\n', "\\n", "a b", "é"])
NUMBERS = st.integers(0, 10**15) | st.floats(allow_nan=False, allow_infinity=False, min_value=0)
BUCKETS = st.lists(st.integers(0, 1000), min_size=len(BUCKETS_NS) + 1, max_size=len(BUCKETS_NS) + 1)


@st.composite
def readings(draw: st.DrawFn) -> list[Reading]:
    """Metrics of every kind, with one value for each set of labels."""
    made = []
    for kind, name in (("counter", "a_total"), ("gauge", "b_seconds"), ("gauge", "c"), ("histogram", "d_seconds")):
        labels = draw(st.sampled_from([(), ("one",), ("one", "two")]))
        keys = draw(st.sets(st.tuples(*[TEXTS] * len(labels)), max_size=4))
        values = st.builds(histogram, BUCKETS, st.integers(0, 10**12)) if kind == "histogram" else NUMBERS
        metric = Metric(name=name, kind=kind, help=f"About {name}.", labels=labels)  # type: ignore[arg-type]
        made.append(Reading(metric, [Point(key, draw(values)) for key in sorted(keys)]))
    return made


class Library(Collector):
    """The same metrics, as prometheus_client has them."""

    def __init__(self, made: list[Reading]) -> None:
        self._made = made

    def collect(self) -> Iterator[Family]:
        for metric, points in self._made:
            family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
            if metric.kind == "histogram":
                family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
                bounds = [*(repr(bound / 1e9) for bound in BUCKETS_NS), "+Inf"]
                for labels, value in points:
                    assert isinstance(value, Histogram)
                    buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
                    family.add_metric(labels, buckets, value.sum_ns / 1e9)
            else:
                made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = made(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
                for labels, value in points:
                    assert not isinstance(value, Histogram)
                    family.add_metric(labels, value)
            yield family


@settings(bounded, max_examples=50)
@given(readings())
def test_text_says_what_the_library_would_say(made: list[Reading]) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Library(made))
    theirs = read_text(generate_latest(registry).decode())
    ours = read_text(write(made, open_metrics=False))
    assert samples_of(ours) == samples_of(theirs)
    assert [(family.name, family.type, family.documentation) for family in ours] == [
        (family.name, family.type, family.documentation) for family in theirs
    ]


@settings(bounded, max_examples=50)
@given(readings())
def test_open_metrics_says_what_the_library_would_say(made: list[Reading]) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Library(made))
    theirs = read_open_metrics(write_open_metrics(registry))
    ours = read_open_metrics(write(made, open_metrics=True) + "# EOF\n")
    assert ours == theirs


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("nonsense;;;=,", PLAIN),
        ("text/plain", PLAIN),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        # As Prometheus 2.42 asks.
        (
            f"{OPEN_METRICS},application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_format_is_the_one_that_is_asked_for(tmp_path: Path, accept: str, content_type: str) -> None:
    told, body = built(tmp_path, configuration()).metrics.render(accept)
    assert told.startswith(content_type)
    assert body.endswith(b"# EOF\n") == told.startswith("application/openmetrics-text")
    assert body.count(b"# EOF") <= 1


def test_every_metric_of_the_table_is_written_and_no_other(tmp_path: Path) -> None:
    service = built(tmp_path, configuration())
    ask(service, check_request(PAIRS))
    told = {family.name: family for family in families(service)}
    ours = {name: family for name, family in told.items() if name.startswith("extauthz")}
    assert ours.keys() == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = ours[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(metric.labels)


def test_what_is_not_escaped_needs_no_escape() -> None:
    for metric in METRICS:
        assert metric.help.isprintable()
        assert not set(metric.help) & {'"', "\\"}


def test_promtool_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    promtool = require_program("promtool")
    service = built(tmp_path, configuration())
    ask(service, check_request(PAIRS))
    text = service.metrics.render("")[1]
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
