"""The cast of the tests through real proxies: one extauthz, two Gateways behind, and the people in front. No asserts.

Each gateway of the configuration is there for what it denies, and is reached at <id>.example.com.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extauthz.gateway import Identity, StampVerifier
from extauthz.proxies.envoy import Route
from support.clients import Headers, Response, WebSocket, http1, http2, proxy_protocol, websocket
from support.echo_gateway import Arrived, EchoGateway, echo_gateway
from support.front import Front, running_front
from support.service import Service, running_service

USER = "nick@example.com"
TRUSTED = "127.0.0.7"
"""Where the identity-aware proxy connects from, on loopback."""
STRANGER = "127.0.0.8"
"""A peer that nobody trusts."""
TRUSTED_REMOTE = "10.0.0.7"
"""The same proxy on another host, as a balancer tells of it."""
LOCAL_REMOTE = "10.0.0.2"
"""An address of the Gateway's own host, which is among the trusted proxies by mistake."""

_RULES: dict[str, Any] = {
    "userHeader": "x-forwarded-user",
    "requiredHeaders": ["x-forwarded-proto", "X-Forwarded-Host"],
    "allowUsers": [USER],
}
_TRUSTED = [TRUSTED, TRUSTED_REMOTE, LOCAL_REMOTE]


def _gateway(**changed: Any) -> dict[str, Any]:
    rules = {**_RULES, **changed.pop("rules", {})}
    auth = {"mode": "trusted-proxy", "trustedProxy": rules}
    return {"trustedProxies": _TRUSTED, "auth": auth, **changed}


CONFIG: dict[str, Any] = {
    "stamp": {"keys": "keys", "bind": ["method", "host", "path"]},
    "gateways": {
        "openclaw": _gateway(controlUi={"allowedOrigins": ["https://openclaw.example.com"]}),
        "research": _gateway(hosts=["research.example.com"], rules={"userHeader": "x-email", "allowUsers": []}),
        "claw": _gateway(ruleset="openclaw-2026.9", localInterfaces=[LOCAL_REMOTE], hosts=["*.claw.example.com"]),
        "claw-loopback": _gateway(ruleset="openclaw-2026.9", rules={"allowLoopback": True}),
        "claw-old": _gateway(ruleset="openclaw-2026.2"),
        "commas": _gateway(rules={"allowCommaInUser": True, "allowUsers": []}),
        "no-loopback": _gateway(rules={"allowLoopback": False}),
        "no-rules": _gateway(auth={"mode": "trusted-proxy"}),
        "no-proxies": _gateway(trustedProxies=[]),
        "no-user-header": _gateway(rules={"userHeader": " "}),
        "elsewhere": _gateway(callers={"addresses": ["192.0.2.1"]}),
    },
}

IDENTITY: tuple[tuple[str, str], ...] = (
    ("x-forwarded-user", USER),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "openclaw.example.com"),
    ("x-forwarded-for", "203.0.113.10"),
)
"""What the identity-aware proxy sends."""


def identity(**changed: str | None) -> list[tuple[str, str]]:
    """`IDENTITY` with headers changed, or left out where None; `_` in a keyword is `-` in the name."""
    names = {key.replace("_", "-"): value for key, value in changed.items()}
    merged = {**dict(IDENTITY), **names}
    return [(name, value) for name, value in merged.items() if value is not None]


@dataclass
class World:
    """extauthz, the Gateways, and as many Envoys in front as tests ask for, each started once."""

    service: Service
    openclaw: EchoGateway
    research: EchoGateway
    jwks: dict[str, Any] = field(repr=False)
    """The public keys that stamps are verified with."""
    _directory: Path
    _stack: contextlib.ExitStack
    _fronts: dict[str, Front] = field(default_factory=dict)

    def front(self, **settings: Any) -> Front:
        """The Envoy with these settings beside the usual ones; it names the gateway by the host."""
        return self._front(self._routes(), settings)

    def front_by_host(self, **settings: Any) -> Front:
        """The Envoy that names no gateway, so that extauthz chooses by the host; only `research` is behind it."""
        route = Route(upstream=self.research.address, user_headers=("x-forwarded-user", "x-email"))
        return self._front([route], settings)

    def arrived(self) -> list[Arrived]:
        """Every request that a Gateway got since `clear`."""
        return [*self.openclaw.arrived, *self.research.arrived]

    def clear(self) -> None:
        """Forget what the Gateways got."""
        self.openclaw.clear()
        self.research.clear()

    def verified(self, arrived: Arrived) -> Identity:
        """Who the stamp of a request says is there, as a Gateway finds out that believes nothing else.

        Raises:
            StampRefused: the stamp is not there, not ours, or not for this request.
        """
        (gateway,), (host,) = arrived.values("x-authz-gateway"), arrived.values("host")
        verifier = StampVerifier(self.jwks, audience=gateway, require=("method", "host", "path"))
        stamp = ",".join(arrived.values("x-authz-stamp"))
        return verifier.verify(stamp, method=arrived.method, host=host, path=arrived.target)

    def _front(self, routes: Sequence[Route], settings: dict[str, Any]) -> Front:
        key = repr((routes, sorted(settings.items())))
        if key not in self._fronts:
            running = running_front(
                self._directory / f"front-{len(self._fronts)}",
                routes=routes,
                extauthz=[self.service.http if settings.get("ask_over") == "http" else self.service.address],
                **settings,
            )
            self._fronts[key] = self._stack.enter_context(running)
        return self._fronts[key]

    def _routes(self) -> list[Route]:
        # `nobody` is known to Envoy and not to extauthz.
        return [
            Route(
                gateway=name,
                domains=(f"{name}.example.com",),
                upstream=(self.research if name == "research" else self.openclaw).address,
                user_headers=("x-email" if name == "research" else "x-forwarded-user",),
            )
            for name in [*CONFIG["gateways"], "nobody"]
        ]


@contextlib.contextmanager
def running_world(directory: Path) -> Iterator[World]:
    """Run the whole cast while the block runs.

    Raises:
        ProgramError: a program did not become ready; the message has the end of its log.
    """
    with (
        contextlib.ExitStack() as stack,
        echo_gateway("openclaw") as openclaw,
        echo_gateway("research") as research,
        running_service(directory / "service", CONFIG) as service,
        stack,
    ):
        listed = subprocess.run(
            [sys.executable, "-m", "extauthz.cli", "keys", "jwks", "--keys", str(directory / "service" / "keys")],
            check=True,
            capture_output=True,
        )
        yield World(service, openclaw, research, json.loads(listed.stdout), directory, stack)


@dataclass(frozen=True)
class Way:
    """One way through Envoy to a Gateway: how Envoy tells of headers, which HTTP the client speaks, how Envoy asks."""

    world: World = field(repr=False)
    raw: bool
    version: int
    ask_over: str = "grpc"

    @property
    def proves_copies(self) -> bool:
        """Whether extauthz is told how often a header came, so that a comma in it is no sign of two."""
        return self.raw and self.ask_over == "grpc"

    def can_come_from(self, peer: str) -> bool:
        """Whether a request can come from this peer: one far away is told of by a balancer, which needs gRPC."""
        return self.ask_over == "grpc" or peer.startswith("127.")

    def send(
        self,
        headers: Headers = IDENTITY,
        *,
        gateway: str = "openclaw",
        peer: str = TRUSTED,
        front: dict[str, Any] | None = None,
        **request: Any,
    ) -> Response:
        """Send a request to <gateway>.example.com.

        Args:
            headers: the headers, one by one.
            gateway: the id of the gateway.
            peer: who sends it: an address of 127.0.0.0/8 connects itself, of any other a balancer tells.
            front: settings of Envoy that differ from the usual ones.
            request: what else the client takes: method, target, body, trailers, host.
        """
        port, request["source"], request["preface"] = self._enter(peer, front)
        client = http1 if self.version == 1 else http2
        return client(port, headers, **{"host": f"{gateway}.example.com", **request})

    @contextlib.contextmanager
    def open(
        self, headers: Sequence[tuple[str, str]] = IDENTITY, *, gateway: str = "openclaw", peer: str = TRUSTED
    ) -> Iterator[WebSocket]:
        """Open a WebSocket, which is always HTTP/1.1, while the block runs.

        Raises:
            Refused: the upgrade was refused.
        """
        port, source, preface = self._enter(peer, None)
        with websocket(port, headers, host=f"{gateway}.example.com", source=source, preface=preface) as opened:
            yield opened

    def _enter(self, peer: str, settings: dict[str, Any] | None) -> tuple[int, str, bytes]:
        chosen = {"encode_raw_headers": self.raw, **(settings or {})}
        if self.ask_over != "grpc":
            chosen["ask_over"] = self.ask_over
        if peer.startswith("127."):
            return self.world.front(**chosen).port, peer, b""
        balanced = self.world.front(proxy_protocol_from=(STRANGER,), **chosen)
        return balanced.port, STRANGER, proxy_protocol(peer)
