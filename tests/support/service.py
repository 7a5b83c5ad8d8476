"""The real service in tests: `extauthz serve` with a configuration given as data. What it decides is not looked at."""

import contextlib
import http.client
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2

from support.engine import with_engine
from support.loop import with_loop
from support.ports import free_port
from support.process import Program, running

_SERVICE = "envoy.service.auth.v3.Authorization"
_CALL_SECONDS = 20.0


@dataclass(frozen=True)
class Service:
    """A running extauthz."""

    program: Program
    address: str
    """Where it answers gRPC: `host:port`, or `unix:/path`."""
    credentials: grpc.ChannelCredentials | None = None
    channel_options: tuple[tuple[str, Any], ...] = ()
    http: str = ""
    """Where its HTTP door is, as `host:port`."""
    admin: str = ""
    """Where its admin address is, as `host:port`."""

    @property
    def jwks_url(self) -> str:
        """Where it publishes its keys."""
        return f"http://{self.http}/.well-known/jwks.json"

    def is_serving(self) -> bool:
        """Whether its health service says so. A service that is not there is not serving."""
        # A pool of its own: grpcio remembers for all channels to one address that a connection failed, and waits.
        options = (("grpc.use_local_subchannel_pool", 1), *self.channel_options)
        if self.credentials is None:
            channel = grpc.insecure_channel(self.address, options)
        else:
            channel = grpc.secure_channel(self.address, self.credentials, options)
        with channel:
            check: Any = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = check(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=_CALL_SECONDS)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def is_ready(self) -> bool:
        """Whether its admin address says so, which is the last to know; raises OSError where nobody answers there."""
        host, _, port = self.admin.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=_CALL_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK

    def restart(self) -> None:
        """Start it again after it was killed, and return when it serves."""
        self.program.restart().wait_ready(self._serves)

    def _serves(self) -> bool:
        return self.is_serving() and self.is_ready()


@contextlib.contextmanager
def running_service(
    directory: Path,
    config: Mapping[str, Any],
    *,
    address: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    channel_options: tuple[tuple[str, Any], ...] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Run extauthz while the block runs, from the moment it serves.

    Args:
        directory: where its configuration and its log are kept, and where it runs.
        config: the configuration, as data.
        address: where it answers gRPC; None is a free port of 127.0.0.1.
        credentials: with which its health is asked for, where the configuration has TLS.
        channel_options: of grpcio, for that question.
        env: variables set beside those of this process.

    Raises:
        ProgramError: it refused the configuration or did not serve in time; the message has the end of its log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "extauthz.yaml"
    path.write_text(yaml.safe_dump(with_loop(with_engine(config))), encoding="utf-8")
    where = address or f"127.0.0.1:{free_port()}"
    # The other doors too have ports of their own, so that tests can run beside each other.
    http_door, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(path)]
    argv += ["--grpc", where, "--http", http_door, "--admin", admin]
    with running(argv, log=directory / "extauthz.log", cwd=directory, env=env) as program:
        service = Service(program, where, credentials, channel_options, http_door, admin)
        program.wait_ready(service._serves)
        yield service
