"""An OpenTelemetry collector in a test: takes OTLP over HTTP, keeps what comes, and answers as it is told to."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Attributes = dict[str, str]


class Collector:
    """What came so far. Set `status` to refuse; set `silent` to keep everybody waiting until the end."""

    def __init__(self) -> None:
        self.status = 200
        self.silent = False
        self.url = ""
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._traces: list[ExportTraceServiceRequest] = []
        self._metrics: list[ExportMetricsServiceRequest] = []

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Keep one request."""
        with self._lock:
            self.headers.append(headers)
            if path.endswith("/v1/traces"):
                self._traces.append(ExportTraceServiceRequest.FromString(body))
            elif path.endswith("/v1/metrics"):
                self._metrics.append(ExportMetricsServiceRequest.FromString(body))

    def spans(self, service: str = "extauthz") -> list[Span]:
        """Every span of a service, by the name that it gives itself, in the order of arrival."""
        with self._lock:
            return [
                span
                for request in self._traces
                for resource in request.resource_spans
                if attributes(resource.resource)["service.name"] == service
                for scope in resource.scope_spans
                for span in scope.spans
            ]

    def resources(self) -> list[Attributes]:
        """The resource of every request."""
        with self._lock:
            return [attributes(sent.resource) for request in self._traces for sent in request.resource_spans] + [
                attributes(sent.resource) for request in self._metrics for sent in request.resource_metrics
            ]

    @property
    def exports(self) -> int:
        """How many requests with metrics came."""
        with self._lock:
            return len(self._metrics)

    def metrics(self) -> dict[str, Metric]:
        """The metrics of the last request, by name."""
        with self._lock:
            if not self._metrics:
                return {}
            return {
                metric.name: metric
                for resource in self._metrics[-1].resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }

    def text(self) -> str:
        """All that came, for looking whether something is in it."""
        with self._lock:
            return "\n".join(map(str, [*self._traces, *self._metrics]))


def attributes(of: Any) -> Attributes:
    """Return the attributes of a span, a point or a resource; all of ours are texts."""
    return {pair.key: pair.value.string_value for pair in of.attributes}


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("transfer-encoding") != "chunked":  # which is how Envoy sends
        return request.rfile.read(int(request.headers.get("content-length", 0)))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector while the block runs."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = _body(self)
            if found.silent:
                found.ended.wait()
                self.close_connection = True
                return
            found.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(found.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        found.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
