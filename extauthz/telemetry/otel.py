"""OpenTelemetry: whether it is on, by the standard environment variables, and what is started then.

Nothing of OpenTelemetry is imported here, and nothing anywhere while it is off: it is an extra, and takes half a second
to load. Spans are in `otel_spans.py`, metrics in `otel_metrics.py`.
"""

import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from extauthz.logs import get_logger
from extauthz.telemetry.metric import Measure
from extauthz.telemetry.record import Record

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_log: Final = get_logger(__name__)

SERVICE_NAME: Final = "extauthz"
INSTALL: Final = "pip install 'extauthz[otel]'"
# What has to be installed: the SDK, and the one exporter that is used.
_MODULES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_PROTOCOL: Final = "http/protobuf"

# How long the last of it may take to be exported when the service ends.
CLOSE_SECONDS: Final = 3.0
# Of messages of OpenTelemetry's own that only differ in their values, one is logged in so many seconds.
REPEAT_SECONDS: Final = 300.0


class Wanted(NamedTuple):
    """What the environment asks for.

    Attributes:
        traces: Export spans.
        metrics: Export metrics.
        faults: What it asks for and cannot be done, to be logged as errors.
    """

    traces: bool
    metrics: bool
    faults: tuple[str, ...] = ()


class Exporter(Protocol):
    """Exports one signal."""

    def take(self, records: Sequence[Record]) -> None:
        """Look at these decisions; as `telemetry.Sink.take`."""

    def close(self) -> None:
        """Export what is left. May take long."""


def wanted(environ: Mapping[str, str]) -> Wanted:
    """Read the standard variables (OpenTelemetry specification, "Environment Variable Specification").

    A signal is exported where an OTLP endpoint is named for it or for all, unless the SDK is disabled, its exporter is
    `none`, or one is asked for that is not there. Nothing is exported to a default endpoint.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wanted(traces=False, metrics=False)
    faults: list[str] = []
    traces, metrics = (_signal(environ, name, faults) for name in ("TRACES", "METRICS"))
    return Wanted(traces, metrics, tuple(faults))


def _signal(environ: Mapping[str, str], name: str, faults: list[str]) -> bool:
    def said(*keys: str) -> tuple[str, str]:
        # An empty variable is as good as none (the same page, "Empty value").
        return next(((key, environ[key].strip()) for key in keys if environ.get(key, "").strip()), ("", ""))

    if not said(f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")[1]:
        return False
    key, exporters = said(f"OTEL_{name}_EXPORTER")
    chosen = {entry.strip() for entry in exporters.split(",")} if exporters else {"otlp"}
    if chosen == {"none"}:
        return False
    if "otlp" not in chosen:
        faults.append(f"{key}: only otlp and none are known; {name.lower()} are not exported")
        return False
    key, protocol = said(f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol and protocol != _PROTOCOL:
        faults.append(f"{key}: only {_PROTOCOL} is known; {name.lower()} are not exported")
        return False
    return True


def start(environ: Mapping[str, str], measure: Measure, *, version: str) -> "OpenTelemetry | None":
    """Start what the environment asks for; None if that is nothing, or cannot be. Never raises: the service goes on.

    Args:
        environ: The environment of the process: what is not read here, OpenTelemetry reads from there by itself.
        measure: Reads the metrics; not before the first decisions are handed on.
        version: Of the service.
    """
    asked = wanted(environ)
    for fault in asked.faults:
        _log.error("OpenTelemetry", note=fault)
    if not (asked.traces or asked.metrics):
        return None
    if not _installed():
        _log.error("OpenTelemetry is asked for by the environment and not installed", do=INSTALL)
        return None
    _take_over_log()
    try:
        exporters = _exporters(asked, measure, version)
    except Exception as error:  # noqa: BLE001 - whatever is wrong there is no reason not to serve
        # Its text may hold a value of the environment, and some of these are secrets.
        _log.error("OpenTelemetry cannot be started; look at the OTEL_ variables", error=type(error).__name__)
        return None
    _log.info("exporting by OpenTelemetry", traces=asked.traces, metrics=asked.metrics)
    return OpenTelemetry(exporters, traces=asked.traces)


def _installed() -> bool:
    try:
        return all(importlib.util.find_spec(name) is not None for name in _MODULES)
    except ModuleNotFoundError:  # a parent package is not there either
        return False


def _exporters(asked: Wanted, measure: Measure, version: str) -> list[Exporter]:
    # Only now: these import OpenTelemetry.
    from extauthz.telemetry.otel_metrics import MetricExport  # noqa: PLC0415
    from extauthz.telemetry.otel_spans import SpanExport  # noqa: PLC0415

    resource = _resource(version)
    exporters: list[Exporter] = []
    if asked.traces:
        exporters.append(SpanExport(resource, version))
    if asked.metrics:
        exporters.append(MetricExport(resource, version, measure))
    return exporters


def _resource(version: str) -> "Resource":
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    # From OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which say more than we do.
    found = Resource.create()
    own: dict[str, str] = {"service.version": version} if "service.version" not in found.attributes else {}
    if str(found.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        own["service.name"] = SERVICE_NAME
    return found.merge(Resource(own))


class OpenTelemetry:
    """What exports; a `telemetry.Sink`.

    Attributes:
        traces: Spans are exported, so that the trace of each call is wanted.
    """

    def __init__(self, exporters: Sequence[Exporter], *, traces: bool) -> None:
        self.traces: Final = traces
        self._exporters: Final = tuple(exporters)

    def take(self, records: Sequence[Record]) -> None:
        """Look at these decisions."""
        for exporter in self._exporters:
            exporter.take(records)

    def close(self) -> None:
        """Export what is left, for CLOSE_SECONDS at most, all at once: an endpoint that hangs keeps nobody."""
        end = time.monotonic() + CLOSE_SECONDS
        closing = [_in_background(exporter.close) for exporter in self._exporters]
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="extauthz-otel-close", daemon=True)
    thread.start()
    return thread


class _Relay(logging.Handler):
    """Passes on what OpenTelemetry logs, once in a while and without any value that could be a secret.

    Its texts can hold headers, which are tokens, and URLs, which can hold some. So of the values only numbers, and the
    names of errors, are passed on.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: Final[dict[str, float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log one message, unless one like it was logged a short while ago."""
        told, now = str(record.msg), time.monotonic()
        if now - self._last.get(told, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._last[told] = now  # as many as OpenTelemetry has messages
        values = record.args if isinstance(record.args, tuple) else ()
        try:
            note = told % tuple(map(_harmless, values))
        except (TypeError, ValueError):
            note = told
        error = record.exc_info[0] if record.exc_info else None
        _log.warning("OpenTelemetry", note=note, **({"error": error.__name__} if error is not None else {}))


def _harmless(value: Any) -> str | float:
    if isinstance(value, BaseException):
        return type(value).__name__
    return value if isinstance(value, int | float) else "..."


def _take_over_log() -> None:
    logger = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, _Relay) for handler in logger.handlers):
        logger.addHandler(_Relay())
        logger.propagate = False
