"""OpenTelemetry is on when the environment asks for it, as the standard says, and keeps secrets and users to itself."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cases.build import GATEWAY, PAIRS, authorizer_of, policy_of, request_of
from cases.messages import check_request, read
from extauthz.core import reasons
from extauthz.core.decision import Decision, Deny
from extauthz.core.policy import LONGEST_HOST_CHARACTERS
from extauthz.metrics import METRICS
from extauthz.telemetry import otel
from extauthz.telemetry.otel import wanted
from extauthz.telemetry.otel_metrics import otlp_name, otlp_unit
from extauthz.telemetry.otel_spans import attributes_of, trace_headers
from extauthz.telemetry.record import Record
from support.logs import captured_logs
from telemetry.records import changed, record_of

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, (False, False)),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_EXPORTER": "otlp"}, (False, False)),
        (ENDPOINT, (True, True)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, (False, False)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, (True, False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c/v1/metrics"}, (False, True)),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, (False, False)),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, (False, False)),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "1"}, (True, True)),  # the standard: nothing but true is true
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console,otlp"}, (True, True)),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, (True, True)),
    ],
)
def test_environment_switches_it_on_and_off(environ: dict[str, str], on: tuple[bool, bool]) -> None:
    assert wanted(environ) == (*on, ())


@pytest.mark.parametrize(
    ("variable", "value", "on"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", (False, True)),
        ("OTEL_METRICS_EXPORTER", "prometheus", (True, False)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", (False, False)),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", (False, True)),
    ],
)
def test_what_is_asked_for_and_not_there_is_told(variable: str, value: str, on: tuple[bool, bool]) -> None:
    *found, faults = wanted({**ENDPOINT, variable: value})
    assert tuple(found) == on
    assert all(fault.startswith(f"{variable}: only ") for fault in faults)
    assert len(faults) == 2 - sum(on)


def loaded_after(code: str) -> str:
    """Run code in an interpreter of its own, and return what it printed and logged."""
    code = f"from extauthz.logs import configure_logs; configure_logs(); {code}"
    found = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return found.stdout


def test_nothing_of_it_is_loaded_while_it_is_off() -> None:
    code = "import sys, extauthz.service, extauthz.telemetry.otel as o; o.start({}, list, version='1'); "
    assert loaded_after(code + "print([name for name in sys.modules if name.startswith('opentelemetry')])") == "[]\n"


def test_missing_extra_is_an_error_that_names_the_cure_and_no_reason_not_to_serve() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None; import extauthz.telemetry.otel as o; "
    said = loaded_after(code + f"print(o.start({ENDPOINT}, list, version='1'))")
    assert "pip install 'extauthz[otel]'" in said
    assert said.endswith("None\n")


@pytest.fixture
def relayed() -> Iterator[list[Any]]:
    """Have the log of OpenTelemetry passed on, and return what was."""
    with captured_logs() as said:
        otel._take_over_log()
        logger = logging.getLogger("opentelemetry")
        (handler,) = [one for one in logger.handlers if isinstance(one, otel._Relay)]
        handler._last.clear()
        yield said
        logger.removeHandler(handler)
        logger.propagate = True


def test_headers_that_cannot_be_read_reach_no_log(relayed: list[Any]) -> None:
    """A token that was written down wrongly is a token all the same, and OpenTelemetry logs what it cannot read."""
    from opentelemetry.util.re import parse_env_headers  # noqa: PLC0415 - logs where the relay listens

    parse_env_headers("Bearer s3cr3t-token", liberal=True)
    assert len(relayed) == 1
    assert "s3cr3t" not in str(relayed)


def test_errors_of_an_export_are_told_by_name_and_once(relayed: list[Any]) -> None:
    log = logging.getLogger("opentelemetry.exporter.x")
    for _ in range(50):
        error = ConnectionError("cannot reach https://user:s3cr3t@collector/?token=s3cr3t")
        log.error("Failed to export %s batch code: %s, reason: %s", "spans", 401, error)
    log.info("this is nothing to tell")
    assert [entry["note"] for entry in relayed] == ["Failed to export ... batch code: 401, reason: ConnectionError"]


def record(decision: Decision | None = None, trace: tuple[str, str] | None = None, **request: Any) -> Record:
    policy = policy_of({"g": GATEWAY})
    asked = request_of(**{key: value for key, value in request.items() if key != "method"})
    if "method" in request:
        asked = asked._replace(method=request["method"])
    return record_of(
        policy, asked, decision, time_ns=1_700_000_000_000_000_000, decision_id="d1", version="abc", trace=trace
    )


def test_attributes_say_what_was_decided_and_not_who_asked() -> None:
    assert attributes_of(record(host="Gateway.example.com:8443")) == {
        "http.request.method": "GET",
        "server.address": "gateway.example.com",
        "extauthz.door": "grpc",
        "extauthz.gateway": "g",
        "extauthz.result": "allow",
        "extauthz.decision_id": "d1",
        "extauthz.policy": "abc",
    }
    denied = attributes_of(record(peer="10.0.0.8"))
    assert denied["extauthz.reason"] == "trusted_proxy_untrusted_source"
    assert denied["extauthz.step"] == "trusted_source"


def test_what_clients_choose_is_bounded() -> None:
    found = attributes_of(record(method="X" * 10_000, host="h" * 10_000))
    assert found["http.request.method"] == "_OTHER"
    assert len(found["server.address"]) == LONGEST_HOST_CHARACTERS


def test_request_of_which_nothing_could_be_read_has_a_span_too() -> None:
    unread = record(Deny(reason=reasons.INTERNAL_ERROR, step="none"), host="", method="")
    unread = changed(unread, request=unread.request._replace(headers=None))
    assert "server.address" not in attributes_of(unread)
    assert trace_headers(unread) == {}


def test_trace_of_the_proxys_own_call_comes_before_what_the_client_sent() -> None:
    own = TRACEPARENT.replace("4bf9", "ffff")
    pairs = (*PAIRS, ("traceparent", TRACEPARENT), ("tracestate", "a=b"))
    assert trace_headers(record(pairs=pairs)) == {"traceparent": TRACEPARENT, "tracestate": "a=b"}
    assert trace_headers(record(trace=(own, ""), pairs=pairs)) == {"traceparent": own, "tracestate": ""}


@pytest.mark.parametrize("value", ["x" * 129, "é", ""])
def test_what_is_no_traceparent_by_its_looks_is_not_read(value: str) -> None:
    assert trace_headers(record(pairs=(*PAIRS, ("traceparent", value)))) == {}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_collector_that_writes_for_prometheus_arrives_at_the_same_name(metric: Any) -> None:
    # OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility": signs to "_", the unit, then _total.
    name = otlp_name(metric).replace(".", "_")
    name += {"s": "_seconds", "": ""}[otlp_unit(metric)]
    assert name + ("_total" if metric.kind == "counter" else "") == metric.name


def test_messages_of_the_exporter_live_beside_ours() -> None:
    # Both bring a google.rpc.Status: registered twice under one name, the second import would fail.
    from google.rpc import status_pb2  # type: ignore[import-untyped]  # noqa: PLC0415
    from opentelemetry.proto.trace.v1 import trace_pb2  # noqa: PLC0415

    from extauthz.wire.pb import check_pb2  # noqa: PLC0415

    assert status_pb2.Status(code=7).code == check_pb2.Status(code=7).code
    assert trace_pb2.Span(name="x").name == "x"
    outcome = read(authorizer_of({"g": GATEWAY}).check(check_request(PAIRS), request_of().caller))
    assert outcome.told == "allow:nick@example.com"


@pytest.mark.parametrize(
    ("environ", "name"),
    [({}, "extauthz"), ({"OTEL_SERVICE_NAME": "edge"}, "edge"), ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=e"}, "e")],
)
def test_service_is_named_as_the_environment_says(
    environ: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    found = otel._resource("1.2.3")
    assert found.attributes["service.name"] == name
    assert found.attributes["service.version"] == "1.2.3"
