"""One span per decision, made from its record after the answer. Imports OpenTelemetry: loaded only where it is on.

A span says what was decided, not who asked: no user, no path, no address, no value of a header. The decision's id leads
from it to the decision log, which has them under the log's own rules.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from extauthz.core import reasons
from extauthz.core.decision import Allow, Decision, Shadowed
from extauthz.core.origin import host_name
from extauthz.core.policy import LONGEST_HOST_CHARACTERS
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import is_limited, outcome_of

SPAN_NAME: Final = "authorize"
# Semantic conventions, http.request.method: what is none of these is _OTHER, because a client can send any.
KNOWN_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
# W3C Trace Context: a traceparent has 55 characters, of a tracestate 512 are passed on. What is longer is not read.
LONGEST_HEADER_BYTES: Final = {"traceparent": 128, "tracestate": 512}


class SpanExport:
    """Makes spans and exports them, sampled as OTEL_TRACES_SAMPLER says, in a bounded queue (OTEL_BSP_...)."""

    def __init__(self, resource: Resource, version: str) -> None:
        # Closed by the service, in bounded time; not once more when the interpreter ends.
        self._provider: Final = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer: Final = self._provider.get_tracer("extauthz", version)
        self._propagator: Final = TraceContextTextMapPropagator()

    def take(self, records: Sequence[Record]) -> None:
        """Make a span of each decision, with the times that were taken when it was made."""
        for record in records:
            span = self._tracer.start_span(
                SPAN_NAME,
                # An empty context, not the current one: without a parent that can be read, a trace begins here.
                context=self._propagator.extract(trace_headers(record)),
                kind=SpanKind.SERVER,
                start_time=record.time_ns - record.door_ns,
                attributes=attributes_of(record),
            )
            if outcome_of(record.decided.decision).reason == reasons.INTERNAL_ERROR.code:
                # A denial is what we are here for. This one is a fault of ours.
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", reasons.INTERNAL_ERROR.code)
            span.end(record.time_ns)

    def close(self) -> None:
        """Export what waits."""
        self._provider.shutdown()


def trace_headers(record: Record) -> Mapping[str, str]:
    """Return what names the parent: the trace of the proxy's own call, else the one that the request came with.

    The latter is the client's word where the proxy does not trace. It joins traces, and nothing is decided by it.
    """
    if record.trace is not None:
        return dict(zip(LONGEST_HEADER_BYTES, record.trace, strict=True))
    headers = record.request.headers
    found = {}
    for name, longest in LONGEST_HEADER_BYTES.items():
        value = headers.read(name) if headers is not None else None
        if value and len(value) <= longest and value.isascii():
            found[name] = value.decode()
    return found


def attributes_of(record: Record) -> dict[str, str]:
    """Return a span's attributes; what does not apply is left out."""
    request, decision = record.request, record.decided.decision
    gateway, result, reason = outcome_of(decision)
    method = request.method
    attributes = {
        "http.request.method": method if method in KNOWN_METHODS or not method else "_OTHER",
        "server.address": host_name(request.host)[:LONGEST_HOST_CHARACTERS],
        "extauthz.door": record.decided.door,
        "extauthz.gateway": gateway,
        "extauthz.result": result,
        "extauthz.reason": reason,
        "extauthz.step": _step(decision),
        "extauthz.limited": "true" if is_limited(decision) else "",
        "extauthz.decision_id": record.id,
        "extauthz.policy": record.decided.version,
    }
    return {name: value for name, value in attributes.items() if value}


def _step(decision: Decision) -> str:
    if isinstance(decision, Allow):
        return ""
    return decision.denial.step if isinstance(decision, Shadowed) else decision.step
