"""What a gRPC client finds at the door beside Check: health, reflection, and the limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from cases.build import PAIRS, gateway
from cases.messages import check_request, read
from doors.door import (
    CHECK,
    HEALTH,
    SECONDS,
    SERVICE,
    SERVING,
    Served,
    ask,
    call,
    channel,
    hold,
    serving,
)
from support.process import wait_until

MESSAGE = check_request(PAIRS)


@pytest.fixture(scope="module")
def served(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    del engine  # it is chosen
    config = {"limits": {"messageBytes": 4096, "headerBytes": 4096}, "gateways": {"g": gateway()}}
    with serving(tmp_path_factory.mktemp("service"), config) as running:
        yield running


@pytest.fixture
def opened(served: Served) -> Iterator[grpc.Channel]:
    with channel(served.address) as found:
        yield found


@pytest.mark.parametrize("name", ["", SERVICE])
def test_health_of_the_server_and_of_the_service(opened: grpc.Channel, name: str) -> None:
    method: Any = opened.unary_unary(HEALTH)
    answer = method(health_pb2.HealthCheckRequest(service=name).SerializeToString(), timeout=SECONDS)
    assert health_pb2.HealthCheckResponse.FromString(answer).status == SERVING


def _reflect(opened: grpc.Channel, **request: Any) -> Any:
    method: Any = opened.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = method(iter([reflection_pb2.ServerReflectionRequest(**request)]), timeout=SECONDS)
    return answer


@pytest.mark.only_grpcio  # the native engine has no reflection
def test_reflection_lists_the_service_under_envoys_name(opened: grpc.Channel) -> None:
    listed = {service.name for service in _reflect(opened, list_services="").list_services_response.service}
    assert listed == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def _fetched(opened: grpc.Channel, **symbol: str) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yield the file of a symbol after all that it depends on, as a client that knows nothing asks for them."""
    for text in _reflect(opened, **symbol).file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(text)
        for dependency in file.dependency:
            yield from _fetched(opened, file_by_filename=dependency)
        yield file


@pytest.mark.only_grpcio  # the native engine has no reflection
def test_client_that_knows_only_what_reflection_tells_can_ask(opened: grpc.Channel) -> None:
    pool = DescriptorPool()
    known = set()
    for file in _fetched(opened, file_containing_symbol=SERVICE):
        if file.name not in known:
            known.add(file.name)
            pool.Add(file)
    method = pool.FindServiceByName(SERVICE).methods_by_name["Check"]
    assert method.input_type.full_name == "envoy.service.auth.v3.CheckRequest"
    assert method.output_type.full_name == "envoy.service.auth.v3.CheckResponse"
    request: Any = message_factory.GetMessageClass(method.input_type)()
    request.attributes.source.address.socket_address.address = "10.0.0.7"
    request.attributes.request.http.method = "GET"
    for name, value in PAIRS:
        request.attributes.request.http.headers[name] = value
    asked: Any = opened.unary_unary(CHECK)
    response: Any = message_factory.GetMessageClass(method.output_type).FromString(
        asked(request.SerializeToString(), timeout=SECONDS)
    )
    assert response.status.code == 0
    found = {option.header.key: option.header.value for option in response.ok_response.headers}
    assert found["x-authz-user"] == "nick@example.com"


def test_unknown_method_and_service_are_not_served(opened: grpc.Channel) -> None:
    for path in (f"/{SERVICE}/Checks", "/envoy.service.auth.v2.Authorization/Check", "/extauthz.wire.pb/Check"):
        method: Any = opened.unary_unary(path)
        with pytest.raises(grpc.RpcError) as caught:
            method(MESSAGE, timeout=SECONDS)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_message_over_the_limit_is_an_error_and_no_answer(opened: grpc.Channel) -> None:
    smaller = check_request([*PAIRS, ("cookie", "c" * 3000)])
    assert len(smaller) < 4096
    assert read(call(opened, smaller)).told == "allow:nick@example.com"
    with pytest.raises(grpc.RpcError) as caught:
        call(opened, check_request([*PAIRS, ("cookie", "c" * 4096)]))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    # And the connection is good for the next.
    assert read(call(opened, MESSAGE)).told == "allow:nick@example.com"


@pytest.mark.parametrize("message", [b"", b"\x00", b"\xff" * 100, MESSAGE[:-1]])
def test_garbage_is_answered_with_a_denial(opened: grpc.Channel, message: bytes) -> None:
    assert read(call(opened, message)).told == "deny:request_malformed"


@pytest.mark.only_grpcio  # a call without its message counts for nothing at the native engine: test_native_engine.py
def test_more_calls_than_the_limit_are_refused_and_those_within_it_answered(tmp_path: Path) -> None:
    config = {"server": {"maxConcurrent": 4}, "gateways": {"g": gateway()}}
    with serving(tmp_path, config) as served, channel(served.address) as opened:
        calls = hold(opened, MESSAGE, 4)
        with channel(served.address) as other:
            assert _status(other) == grpc.StatusCode.RESOURCE_EXHAUSTED
        for held in calls:
            held.release()
        assert [held.answer().told for held in calls] == ["allow:nick@example.com"] * 4
        wait_until(lambda: _status(opened) == grpc.StatusCode.OK, "room for a call")


def _status(opened: grpc.Channel) -> grpc.StatusCode:
    try:
        call(opened, MESSAGE)
    except grpc.RpcError as error:
        status: grpc.StatusCode = error.code()
        return status
    return grpc.StatusCode.OK


def test_callers_that_open_calls_and_send_nothing_keep_nobody_else_waiting(tmp_path: Path) -> None:
    # Within the limit, a silent call takes no other call's turn.
    config = {"server": {"maxConcurrent": 100}, "gateways": {"g": gateway()}}
    with serving(tmp_path, config) as served, channel(served.address) as opened:
        calls = hold(opened, MESSAGE, 90)
        for _ in range(5):
            assert ask(served.address, MESSAGE).told == "allow:nick@example.com"
        for held in calls:
            held.release()
        assert {held.answer().told for held in calls} == {"allow:nick@example.com"}
