"""The metrics as Prometheus scrapes them: text, or OpenMetrics where it is asked for. Nothing is measured here.

They are not written by prometheus_client, which takes seven times as long: with a thousand gateways a scrape would hold
up decisions for a tenth of a second. Its parsers are what the tests read all of it with.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from extauthz.telemetry.metric import Measure, Metric, Reading
from extauthz.telemetry.process import measure_process
from extauthz.telemetry.tally import BUCKETS_NS, Histogram

# The buckets' upper bounds as labels, in seconds.
_BOUNDS: Final = (*(repr(bound / 1e9) for bound in BUCKETS_NS), "+Inf")

_PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
_OPEN_METRICS: Final = "application/openmetrics-text"
_OPEN_METRICS_1: Final = f"{_OPEN_METRICS}; version=1.0.0; charset=utf-8"
_END: Final = "# EOF\n"


class Exposition:
    """What a scrape gets: our own metrics, and those of the process and of Python."""

    def __init__(self, measure: Measure) -> None:
        """Prepare.

        Args:
            measure: Reads our own metrics.
        """
        self._measure: Final = measure

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text of one scrape.

        Args:
            accept: The Accept header of who scrapes; "" without one.
        """
        open_metrics = _wants_open_metrics(accept)
        text = write([*self._measure(), *measure_process()], open_metrics=open_metrics)
        return (_OPEN_METRICS_1, f"{text}{_END}".encode()) if open_metrics else (_PLAIN, text.encode())


def _wants_open_metrics(accept: str) -> bool:
    """Tell whether Accept names OpenMetrics, in version 1 or without a version."""
    for entry in accept.split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        versions = [part.removeprefix("version=") for part in parameters if part.startswith("version=")]
        if kind == _OPEN_METRICS and all(version.startswith("1.") for version in versions):
            return True
    return False


def write(readings: Iterable[Reading], *, open_metrics: bool) -> str:
    """Write metrics in Prometheus' text format 0.0.4 or in OpenMetrics 1.0, without what ends a text of the latter."""
    lines: list[str] = []
    for reading in readings:
        lines += _head(reading.metric, open_metrics=open_metrics)
        lines += _samples(reading)
    return "".join(lines)


def _head(metric: Metric, *, open_metrics: bool) -> Iterator[str]:
    # In OpenMetrics a counter's family is named without what its one sample ends with.
    name = metric.name.removesuffix("_total") if open_metrics else metric.name
    yield f"# HELP {name} {metric.help}\n"
    yield f"# TYPE {name} {metric.kind}\n"
    if open_metrics and metric.unit:
        yield f"# UNIT {name} {metric.unit}\n"


def _samples(reading: Reading) -> Iterator[str]:
    metric, points = reading
    # One template a metric: there are thousands of samples, and a format string is what writes them fastest.
    names = ",".join(f'{name}="%s"' for name in metric.labels)
    plain = f"{metric.name}{{{names}}} %r\n" if names else f"{metric.name} %r\n"
    for values, value in points:
        labels = tuple(map(_escaped, values))
        if isinstance(value, Histogram):
            yield from _buckets(metric.name, names % labels, value)
        else:
            yield plain % (*labels, value)


def _buckets(name: str, labels: str, taken: Histogram) -> Iterator[str]:
    counts = list(accumulate(taken.counts))
    for bound, count in zip(_BOUNDS, counts, strict=True):
        yield f'{name}_bucket{{{labels}{"," if labels else ""}le="{bound}"}} {count}\n'
    labels = f"{{{labels}}}" if labels else ""
    yield f"{name}_count{labels} {counts[-1]}\n"
    yield f"{name}_sum{labels} {taken.sum_ns / 1e9!r}\n"


def _escaped(text: str) -> str:
    """Return a text as a label's value: the three characters escaped that both formats have escaped."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text
