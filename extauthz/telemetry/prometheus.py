"""The metrics as Prometheus scrapes them: text, or OpenMetrics where it is asked for. Nothing is measured here.

Our own metrics are written here and not by prometheus_client, which takes seven times as long: with a thousand
gateways a scrape would hold up decisions for a tenth of a second. What the process and Python are is the library's to
say, and so is which of the formats a scraper wants; its parsers are what the tests read all of it with.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from extauthz.telemetry.metric import Measure, Metric, Reading
from extauthz.telemetry.tally import BUCKETS_NS, Histogram

# The buckets' upper bounds as labels, in seconds.
_BOUNDS: Final = (*(repr(bound / 1e9) for bound in BUCKETS_NS), "+Inf")
_OPEN_METRICS: Final = "application/openmetrics-text"


class Exposition:
    """What a scrape gets: our own metrics, and those of the process and of Python.

    What another library puts into prometheus_client's default registry does not appear.
    """

    def __init__(self, measure: Measure) -> None:
        """Prepare.

        Args:
            measure: Reads our own metrics.
        """
        self._measure: Final = measure
        self._of_process: Final = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._of_process)
        PlatformCollector(registry=self._of_process)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text of one scrape.

        Args:
            accept: The Accept header of who scrapes; "" without one.
        """
        encode, content_type = choose_encoder(accept)
        own = write(self._measure(), open_metrics=content_type.startswith(_OPEN_METRICS))
        # Ours first: what the library writes ends with the mark that ends the whole.
        return content_type, own.encode() + encode(self._of_process)


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
