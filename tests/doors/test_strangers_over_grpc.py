"""Who is no caller, at the gRPC door: asks nothing, and holds nothing that callers need."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from support.ports import free_port, taken
from support.process import running, wait_until
from support.service import running_service

GATEWAY = {
    "trustedProxies": ["10.0.0.7"],
    "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}},
}


@pytest.mark.only_grpcio  # the native engine has no reflection
def test_a_stranger_cannot_hold_every_call_with_reflection(tmp_path: Path) -> None:
    config = {"callers": {"addresses": ["192.0.2.1"]}, "gateways": {"g": GATEWAY}}
    with running_service(tmp_path, config) as service, grpc.insecure_channel(service.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)

        def asked() -> Iterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        with pytest.raises(grpc.RpcError) as refused:
            list(stub.ServerReflectionInfo(asked(), timeout=10))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_second_service_that_names_no_http_address_serves_without_its_http_doors(tmp_path: Path) -> None:
    # The default address can be taken by the first; which door is open is told, and the gRPC door is.
    file = tmp_path / "extauthz.yaml"
    file.write_text(json.dumps({"gateways": {"g": GATEWAY}}), encoding="utf-8")
    with taken(9192):
        argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(file)]
        argv += ["--grpc", f"127.0.0.1:{free_port()}"]
        log = tmp_path / "log"
        with running(argv, log=log) as program:
            wait_until(lambda: '"event": "serving"' in program.log_text(), "the service serves")
            assert "this door stays closed: name an address under listen.http" in program.log_text()
