"""A real service exports to a collector: what arrives, whose trace it joins, and that nothing waits for a collector."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import ask
from extauthz.proxies.envoy import Route, Settings, render
from support.clients import http1
from support.echo_gateway import echo_gateway
from support.engine import chosen
from support.envoy import running_envoy
from support.front import PATIENT
from support.http_proxies import NAMES, running_proxy
from support.ports import free_port
from support.process import wait_until
from support.service import Service, running_service
from telemetry.collector import Collector, attributes, collector
from telemetry.scrape import configuration, read_text, scrape

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
SECRET = "s3cr3t-of-the-collector"
ENVOYS_SPAN = "async envoy.service.auth.v3.Authorization.Check egress"

PROXIED = gateway(trustedProxies=["127.0.0.1"])


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is the same in all tests: what is exported is exported soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as running:
        yield running


@contextmanager
def exporting(
    directory: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, gateways: dict[str, Any] | None = None
) -> Iterator[Service]:
    """Run a service that exports to an endpoint."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with running_service(directory / "extauthz", configuration(gateways)) as service:
        yield service


def spans_of(received: Collector, count: int = 1) -> list[Span]:
    """Return the spans of the service, once there are so many."""
    wait_until(lambda: len(received.spans()) >= count, f"{count} spans arrive")
    found = received.spans()
    assert len(found) == count
    return found


def test_a_decision_becomes_a_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{SECRET}")
    with exporting(tmp_path, monkeypatch, received.url) as service:
        ask(service.address, check_request(PAIRS, path="/private?token=1", host="Gateway.example.com:8443"))
        (allowed,) = spans_of(received)
        ask(service.address, check_request(PAIRS, peer="10.0.0.8"))
        denied = spans_of(received, 2)[1]
        log = service.program.log_text()
    assert (allowed.name, allowed.kind) == ("authorize", Span.SPAN_KIND_SERVER)
    assert 0 < allowed.end_time_unix_nano - allowed.start_time_unix_nano < 60e9
    told = attributes(allowed)
    assert re.fullmatch("[0-9a-f]{20}", told.pop("extauthz.decision_id"))
    assert re.fullmatch("[0-9a-f]{12}", told.pop("extauthz.policy"))
    assert told == {
        "http.request.method": "GET",
        "server.address": "gateway.example.com",
        "extauthz.door": "grpc",
        "extauthz.gateway": "g",
        "extauthz.result": "allow",
    }
    assert attributes(denied)["extauthz.reason"] == "trusted_proxy_untrusted_source"
    # A denial is what the service is for, and no fault of it.
    assert denied.status.code == Status.STATUS_CODE_UNSET
    assert received.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in log
    for private in ("nick@example.com", "10.0.0.7", "10.0.0.8", "203.0.113.9", "private", "token"):
        assert private not in received.text()
    assert {resource["service.name"] for resource in received.resources()} == {"extauthz"}


def test_a_span_begins_a_trace_where_none_can_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    """A client's nonsense for a trace is no way to make spans go missing."""
    broken = ("nonsense", f"00-{'0' * 32}-{SPAN_ID}-01", f"ff-{TRACE_ID}-{SPAN_ID}-01", f"{TRACEPARENT},{TRACEPARENT}")
    with exporting(tmp_path, monkeypatch, received.url) as service:
        for value in broken:
            ask(service.address, check_request([*PAIRS, ("traceparent", value)]))
        found = spans_of(received, len(broken))
    assert all(not span.parent_span_id for span in found)
    assert len({span.trace_id for span in found}) == len(broken)
    assert TRACE_ID not in {span.trace_id.hex() for span in found}


def test_a_question_over_http_joins_the_trace_of_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    with exporting(tmp_path, monkeypatch, received.url) as service:
        httpx.get(f"http://{service.http}/forward-auth/traefik/g", headers={"traceparent": TRACEPARENT}, timeout=30)
        (span,) = spans_of(received)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert attributes(span)["extauthz.door"] == "traefik"


def test_what_the_trace_does_not_sample_has_no_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    with exporting(tmp_path, monkeypatch, received.url) as service:
        ask(service.address, check_request([*PAIRS, ("traceparent", f"{TRACEPARENT[:-2]}00")]))
        ask(service.address, check_request([*PAIRS, ("traceparent", TRACEPARENT)], method="PUT"))
        (span,) = spans_of(received)
    assert attributes(span)["http.request.method"] == "PUT"


def test_sampler_of_the_environment_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with exporting(tmp_path, monkeypatch, received.url) as service:
        ask(service.address, check_request([*PAIRS, ("traceparent", TRACEPARENT)]))
        # The metrics show that it was decided, and that the exporting works.
        wait_until(lambda: _counted(received, "extauthz.decisions") == 1, "the decision is exported as a count")
        service.program.stop()
    assert received.spans() == []


def _counted(received: Collector, name: str) -> float:
    metric = received.metrics().get(name)
    return sum(point.as_int for point in metric.sum.data_points) if metric is not None else 0


def test_metrics_are_those_of_a_scrape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector) -> None:
    with exporting(tmp_path, monkeypatch, received.url) as service:
        for peer in ("10.0.0.7", "10.0.0.8", "10.0.0.8"):
            ask(service.address, check_request(PAIRS, peer=peer))
        wait_until(lambda: _counted(received, "extauthz.decisions") == 3, "the decisions are exported as counts")
        # That export may have been made while they were decided, and the one after it before that came.
        exports = received.exports
        wait_until(lambda: received.exports >= exports + 2, "an export that was begun after all of it")
        scraped = {
            (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
            for family in read_text(scrape(service.admin))
            for sample in family.samples
            if family.name.startswith("extauthz")
        }
        exported = dict(_as_prometheus(received.metrics()))
    assert exported.keys() == scraped.keys()
    steady = {key for key in scraped if not key[0].endswith("_age_seconds")}
    assert {key: exported[key] for key in steady} == {key: scraped[key] for key in steady}


def _as_prometheus(metrics: dict[str, Metric]) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    """Yield what a Collector would write for Prometheus."""
    for metric in metrics.values():
        name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
        if metric.HasField("histogram"):
            for point in metric.histogram.data_points:
                labels = frozenset(attributes(point).items())
                yield (f"{name}_count", labels), point.count
                yield (f"{name}_sum", labels), point.sum
                total = 0
                for bound, count in zip((*map(repr, point.explicit_bounds), "+Inf"), point.bucket_counts, strict=True):
                    total += count
                    yield (f"{name}_bucket", labels | {("le", bound)}), total
            continue
        counter = metric.HasField("sum")
        for number in metric.sum.data_points if counter else metric.gauge.data_points:
            value = number.as_int if number.HasField("as_int") else number.as_double
            yield (f"{name}_total" if counter else name, frozenset(attributes(number).items())), value


def test_what_was_decided_last_is_exported_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    with exporting(tmp_path, monkeypatch, received.url) as service:
        ask(service.address, check_request(PAIRS))
        assert service.program.stop() == 0
    assert len(received.spans()) == 1
    assert _counted(received, "extauthz.decisions") == 1


@pytest.mark.parametrize("fault", ["nobody there", "refuses", "keeps waiting"])
def test_a_collector_that_fails_keeps_nobody_and_fills_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector, fault: str
) -> None:
    received.status = 401
    received.silent = fault == "keeps waiting"
    endpoint = f"http://user:{SECRET}@127.0.0.1:{free_port()}" if fault == "nobody there" else received.url
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", SECRET if fault == "refuses" else f"authorization={SECRET}")
    with exporting(tmp_path, monkeypatch, endpoint) as service:
        for _ in range(50):
            assert ask(service.address, check_request(PAIRS)).passes
        if fault != "keeps waiting":
            wait_until(lambda: '"event": "OpenTelemetry"' in service.program.log_text(), "it is told")
        assert service.is_serving()
        service.program.signal(signal.SIGTERM)
        assert service.program.wait_end() == 0
        log = service.program.log_text()
    assert SECRET not in log
    assert "Traceback" not in log
    # One line of each kind, and not one per export.
    assert log.count('"event": "OpenTelemetry"') <= 8


@contextmanager
def fronted(directory: Path, service: Service, upstream: str, tracer: str | None) -> Iterator[int]:
    """Run Envoy with the configuration that extauthz writes; with the address of a collector, it traces too."""
    port, admin = free_port(), free_port()
    route = Route(upstream=upstream, gateway="g", user_headers=("x-forwarded-user",))
    settings = Settings(
        routes=(route,),
        extauthz=(service.address,),
        listen=f"127.0.0.1:{port}",
        admin=f"127.0.0.1:{admin}",
        **PATIENT,
    )
    config = yaml.safe_load(render(settings))
    if tracer is not None:
        _trace(config, tracer)
    directory.mkdir()
    with running_envoy(yaml.safe_dump(config), admin_port=admin, directory=directory):
        yield port


def _trace(config: dict[str, Any], tracer: str) -> None:
    host, _, port = tracer.removeprefix("http://").rpartition(":")
    address = {"socket_address": {"address": host, "port_value": int(port)}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    cluster = {
        "name": "traces",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "traces", "endpoints": endpoints},
    }
    config["static_resources"]["clusters"].append(cluster)
    layers = config.setdefault("layered_runtime", {}).setdefault("layers", [])
    layers.append({"name": "soon", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 100}})
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
    manager["tracing"] = {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "http_service": {"http_uri": {"uri": f"{tracer}/v1/traces", "cluster": "traces", "timeout": "5s"}},
                "service_name": "envoy",
            },
        }
    }


HEADERS = (("x-forwarded-user", "nick@example.com"), ("x-forwarded-proto", "https"))


def test_a_request_through_envoy_joins_the_trace_of_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    with (
        exporting(tmp_path, monkeypatch, received.url, {"g": PROXIED}) as service,
        echo_gateway() as upstream,
        fronted(tmp_path / "envoy", service, upstream.address, None) as port,
    ):
        answer = http1(port, [*HEADERS, ("traceparent", TRACEPARENT), ("tracestate", "vendor=value")])
        assert answer.status == 200
        (span,) = spans_of(received)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert span.trace_state == "vendor=value"
    assert attributes(span)["extauthz.result"] == "allow"


@pytest.mark.parametrize(
    ("engine", "sent"),
    [("grpcio", ()), ("grpcio", (("traceparent", TRACEPARENT),)), ("native", ())],
    ids=["its own trace", "the client's trace", "the native engine"],
)
def test_where_envoy_traces_the_decision_is_a_child_of_its_span_of_asking(
    engine: str,
    sent: tuple[tuple[str, str], ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    received: Collector,
) -> None:
    with (
        chosen(engine),
        exporting(tmp_path, monkeypatch, received.url, {"g": PROXIED}) as service,
        echo_gateway() as upstream,
        fronted(tmp_path / "envoy", service, upstream.address, received.url) as port,
    ):
        assert http1(port, [*HEADERS, *sent]).status == 200
        (span,) = spans_of(received)
        wait_until(lambda: any(one.name == ENVOYS_SPAN for one in received.spans("envoy")), "Envoy's spans arrive")
        parents = {one.span_id: one for one in received.spans("envoy") if one.trace_id == span.trace_id}
    assert parents[span.parent_span_id].name == ENVOYS_SPAN
    if sent:
        assert span.trace_id.hex() == TRACE_ID


@pytest.mark.parametrize("dialect", NAMES)
def test_a_request_through_the_other_proxies_joins_the_trace_of_the_client(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    with (
        exporting(tmp_path, monkeypatch, received.url, {"g": PROXIED}) as service,
        echo_gateway() as upstream,
        running_proxy(
            dialect,
            tmp_path / dialect,
            extauthz=(service.http,),
            gateway="g",
            upstream=upstream.address,
            user_header="x-forwarded-user",
            fronts=("127.0.0.1",),
        ) as proxy,
    ):
        assert http1(proxy.port, [*HEADERS, ("traceparent", TRACEPARENT)]).status == 200
        wait_until(lambda: SPAN_ID in _parents(received), "the span arrives")


def _parents(received: Collector) -> set[str]:
    # A proxy that is asked whether it is ready asks too.
    return {span.parent_span_id.hex() for span in received.spans() if span.trace_id.hex() == TRACE_ID}


def test_endpoint_without_the_extra_is_told_and_the_service_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Collector
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with exporting(tmp_path, monkeypatch, received.url) as service:
        assert ask(service.address, check_request(PAIRS)).passes
        wait_until(lambda: "pip install 'extauthz[otel]'" in service.program.log_text(), "it is told")
    assert received.headers == []
