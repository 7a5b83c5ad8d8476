"""A metric and its values, before anyone writes them out: Prometheus and OpenTelemetry are given the same ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from extauthz.telemetry.tally import Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is measured.

    Attributes:
        name: By Prometheus' conventions: base units, `_total` for counters.
        kind: counter: since the process began; gauge: at this moment; histogram: a counter by duration.
        help: What it says, in one sentence; it is not escaped, so without quotes, backslashes and line breaks.
        labels: The names of its labels. Their values are bounded by the configuration, never by what clients send.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit that the name ends with; "" for what is only counted."""
        return "seconds" if self.name.endswith("_seconds") else ""


class Point(NamedTuple):
    """One value of a metric.

    Attributes:
        labels: The values of its labels, in their order; "" where one does not apply.
        value: A histogram where the metric is one.
    """

    labels: tuple[str, ...]
    value: float | Histogram


class Reading(NamedTuple):
    """All values of a metric at one moment."""

    metric: Metric
    points: Sequence[Point]


# Reads every metric, each once. Called from any thread, and never waits for anything slow.
Measure = Callable[[], Sequence[Reading]]
