"""The same metrics as /metrics, by OTLP. Imports OpenTelemetry: loaded only where it is on.

They are handed to the exporter as they were read. OpenTelemetry's instruments would count once more beside the counts
that are there, and have none for a histogram that is counted elsewhere: here all of it is exact, and the same.
"""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final, cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as otlp
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from extauthz.logs import get_logger
from extauthz.telemetry.metric import Measure, Metric, Point, Reading
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import BUCKETS_NS, Histogram

_log: Final = get_logger(__name__)

INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
DEFAULT_INTERVAL_MS: Final = 60_000
_BOUNDS: Final = tuple(bound / 1e9 for bound in BUCKETS_NS)
_CUMULATIVE: Final = otlp.AggregationTemporality.CUMULATIVE


class MetricExport:
    """Exports every metric each OTEL_METRIC_EXPORT_INTERVAL milliseconds, and a last time when it is closed."""

    def __init__(self, resource: Resource, version: str, measure: Measure) -> None:
        self._resource: Final = resource
        self._scope: Final = InstrumentationScope("extauthz", version)
        self._measure: Final = measure
        self._interval_seconds: Final = _interval_seconds()
        self._exporter: Final = OTLPMetricExporter()
        self._started_ns: Final = time.time_ns()
        self._ended: Final = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, _records: Sequence[Record]) -> None:
        """Begin to export, the first time: now the service is there to be measured."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="extauthz-otel-metrics", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Export a last time."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._ended.wait(self._interval_seconds):
            self._export()
        self._export()

    def _export(self) -> None:
        try:
            # What goes wrong on the way the exporter says by itself.
            self._exporter.export(self._data())
        except Exception as error:  # noqa: BLE001 - the next one may succeed
            # Not its text: that can be the whole of what was to be sent.
            _log.error("the metrics could not be exported", error=type(error).__name__)

    def _data(self) -> otlp.MetricsData:
        now_ns = time.time_ns()
        metrics = [as_otlp(reading, self._started_ns, now_ns) for reading in self._measure() if reading.points]
        scoped = otlp.ScopeMetrics(scope=self._scope, metrics=metrics, schema_url="")
        return otlp.MetricsData([otlp.ResourceMetrics(resource=self._resource, scope_metrics=[scoped], schema_url="")])


def as_otlp(reading: Reading, started_ns: int, now_ns: int) -> otlp.Metric:
    """Return a metric with its values as OTLP has them; times in nanoseconds since the epoch.

    The name is such that a Collector which writes it out for Prometheus arrives at the one of /metrics: the unit, and
    `_total`, are added there.
    """
    metric, points = reading
    data: otlp.DataT
    if metric.kind == "histogram":
        data = otlp.Histogram(list(_histograms(metric, points, started_ns, now_ns)), _CUMULATIVE)
    else:
        numbers = [
            otlp.NumberDataPoint(_attributes(metric, labels), started_ns, now_ns, value)
            for labels, value in points
            if not isinstance(value, Histogram)
        ]
        data = otlp.Sum(numbers, _CUMULATIVE, is_monotonic=True) if metric.kind == "counter" else otlp.Gauge(numbers)
    return otlp.Metric(name=otlp_name(metric), description=metric.help, unit=otlp_unit(metric), data=data)


def otlp_name(metric: Metric) -> str:
    """Return the name that OTLP has for a metric: extauthz.decisions for extauthz_decisions_total."""
    name = metric.name.removesuffix("_total")
    return name.removesuffix(f"_{metric.unit}" if metric.unit else "").replace("_", ".", 1)


def otlp_unit(metric: Metric) -> str:
    """Return the unit as UCUM has it; "" for what is only counted, as "1" would be taken for a ratio."""
    return {"seconds": "s"}.get(metric.unit, "")


def _histograms(
    metric: Metric, points: Iterable[Point], started_ns: int, now_ns: int
) -> Iterable[otlp.HistogramDataPoint]:
    unknown = cast("float", None)  # OTLP need not have the extremes, and nobody keeps them
    for labels, value in points:
        if isinstance(value, Histogram):
            yield otlp.HistogramDataPoint(
                attributes=_attributes(metric, labels),
                start_time_unix_nano=started_ns,
                time_unix_nano=now_ns,
                count=sum(value.counts),
                sum=value.sum_ns / 1e9,
                bucket_counts=value.counts,
                explicit_bounds=_BOUNDS,
                min=unknown,
                max=unknown,
            )


def _attributes(metric: Metric, labels: Sequence[str]) -> dict[str, str]:
    # A label that is empty and one that is not there are the same to Prometheus.
    return {name: value for name, value in zip(metric.labels, labels, strict=True) if value}


def _interval_seconds() -> float:
    text = os.environ.get(INTERVAL_VARIABLE, "").strip() or str(DEFAULT_INTERVAL_MS)
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        _log.warning(f"{INTERVAL_VARIABLE} is no number of milliseconds", taken=DEFAULT_INTERVAL_MS)
        text = str(DEFAULT_INTERVAL_MS)
    return int(text) / 1000
