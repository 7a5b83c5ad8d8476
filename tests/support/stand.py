"""The cast of the attacks through every proxy: one extauthz, one Gateway, a service that authenticates. No asserts.

The proxies before them are started when a test first asks for them, and kept.
"""

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from extauthz.stamp.claims import path_hash
from support.clients import Response, http1
from support.echo_gateway import Arrived, EchoGateway, echo_gateway
from support.http_proxies import Proxy, running_envoy_proxy, running_proxy
from support.rogue_door import RogueDoor, rogue_door
from support.service import Service, running_service

USER: Final = "nick@example.com"
FORGED: Final = "forged@example.com"
FRONT: Final = "127.0.0.7"
"""Where the identity-aware proxy in front connects from."""
STRANGER: Final = "127.0.0.8"
"""A client that nobody trusts."""

STAMPED: Final = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
USER_HEADER: Final = "x-forwarded-user"
PROTECTED: Final = (*STAMPED, USER_HEADER)

IDENTITY: Final = ((USER_HEADER, USER), ("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.10"))
"""What the identity-aware proxy sends."""
WITHOUT_USER: Final = IDENTITY[1:]
"""The same of nobody."""


def _gateway(**changed: Any) -> dict[str, Any]:
    required = changed.pop("required", ["x-forwarded-proto"])
    rules: dict[str, Any] = {"userHeader": USER_HEADER, "requiredHeaders": required, "allowUsers": [USER]}
    if "ruleset" in changed:
        rules["allowLoopback"] = True  # all of this is on one host
    return {"trustedProxies": [FRONT], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}, **changed}


CONFIG: Final[dict[str, Any]] = {
    # Whoever else asks is no proxy of ours.
    "callers": {"addresses": ["127.0.0.1"]},
    "stamp": {"bind": ["method", "host", "path"]},
    "gateways": {
        "openclaw": _gateway(),
        "authenticated": _gateway(peer="caller", trustedProxies=["127.0.0.1"]),
        "shadow": _gateway(mode="shadow"),
        "proof": _gateway(required=["x-proof"], peer="caller", trustedProxies=["127.0.0.1"]),
        "real-ip": _gateway(required=["x-real-ip"]),
        "claw": _gateway(ruleset="openclaw-2026.9"),
    },
}


def http_port(service: Service) -> int:
    """Return where a running extauthz has its HTTP doors."""
    argv = service.program.argv
    return int(argv[argv.index("--http") + 1].rpartition(":")[2])


@dataclass
class Stand:
    """The cast."""

    service: Service
    gateway: EchoGateway
    authenticator: RogueDoor
    _directory: Path
    _stack: contextlib.ExitStack
    _proxies: dict[tuple[str, str], Proxy] = field(default_factory=dict)

    @property
    def door(self) -> str:
        """Where extauthz's HTTP doors are, as `host:port`."""
        return f"127.0.0.1:{http_port(self.service)}"

    def proxy(self, dialect: str, gateway: str = "openclaw") -> Proxy:
        """Return the proxy with this dialect before this gateway of the file."""
        if (dialect, gateway) not in self._proxies:
            directory = self._directory / f"{dialect}-{gateway}"
            told: dict[str, Any] = {
                "gateway": gateway,
                "upstream": self.gateway.address,
                "user_header": USER_HEADER,
            }
            if dialect == "envoy":
                opened = running_envoy_proxy(directory, extauthz=self.service.address, **told)
            elif dialect == "envoy-http":
                opened = running_envoy_proxy(directory, extauthz=self.door, ask_over="http", **told)
            elif gateway == "authenticated":
                step = f"http://{self.authenticator.address}/oauth2/auth"
                opened = running_proxy(dialect, directory, extauthz=(self.door,), authenticate=step, **told)
            else:
                opened = running_proxy(dialect, directory, extauthz=(self.door,), fronts=(FRONT,), **told)
            self._proxies[dialect, gateway] = self._stack.enter_context(opened)
        return self._proxies[dialect, gateway]

    def send(
        self, proxy: Proxy, headers: Any, *, source: str = FRONT, **request: Any
    ) -> tuple[Response, list[Arrived]]:
        """Send one request through a proxy; return its answer, and what came to the Gateway."""
        self.gateway.clear()
        answer = http1(proxy.port, headers, source=source, **request)
        return answer, self.gateway.arrived


@contextlib.contextmanager
def running_stand(directory: Path) -> Iterator[Stand]:
    """Run the cast while the block runs."""
    with (
        contextlib.ExitStack() as stack,
        echo_gateway() as gateway,
        rogue_door() as authenticator,
        running_service(directory / "service", CONFIG) as service,
        stack,
    ):
        authenticator.answer = f"HTTP/1.1 200 OK\r\n{USER_HEADER}: {USER}\r\nContent-Length: 0\r\n\r\n".encode()
        yield Stand(service, gateway, authenticator, directory, stack)


def outcome(answer: Response, arrived: list[Arrived], gateway: str = "openclaw") -> str:
    """Say in a few words what became of a request, the Gateway's view being what counts."""
    if not arrived:
        reasons = answer.values("x-authz-reason")
        if not 400 <= answer.status < 600 and answer.status != 0:
            return f"answered {answer.status} by someone else"
        return f"denied: {reasons[0]}" if reasons else "refused by the proxy"
    if len(arrived) > 1:
        return f"ARRIVES {len(arrived)} TIMES"
    (one,) = arrived
    faults = foreign(one)
    if faults:
        return f"ARRIVES: {', '.join(faults)}"
    if not any(one.values(name) for name in PROTECTED):
        return "passes without an identity"
    if not any(value for name in PROTECTED for value in one.values(name)):
        return "passes with empty identity headers"
    faults = unstamped(one, gateway)
    return f"ARRIVES NOT AS STAMPED: {', '.join(faults)}" if faults else "only extauthz's arrives"


def foreign(arrived: Arrived) -> list[str]:
    """Name what a client has brought to the Gateway that is not the client's to say."""
    found = [name for name, value in arrived.headers if "forged" in value.lower()]
    found += [f"trailer {name}" for name, value in arrived.trailers if "forged" in value.lower()]
    for name, _ in arrived.headers:
        plain = "".join(sign if sign.isalnum() else "-" for sign in name.lower())
        if plain in PROTECTED and name.lower() not in PROTECTED:
            found.append(name)
    named = ",".join(arrived.values("connection")).lower()
    return found + [f"Connection: {name}" for name in PROTECTED if name in named]


def unstamped(arrived: Arrived, gateway: str) -> list[str]:
    """Name what of a request is not as extauthz stamped it."""
    wanted = {"x-authz-user": [USER], USER_HEADER: [USER], "x-authz-gateway": [gateway]}
    faults = [name for name, values in wanted.items() if arrived.values(name) != values]
    faults += [name for name in ("x-authz-decision", "x-authz-stamp") if len(arrived.values(name)) != 1]
    if faults:
        return faults
    payload = arrived.values("x-authz-stamp")[0].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    host = ",".join(arrived.values("host"))
    bound = {
        "aud": gateway,
        "sub": USER,
        "prx": "127.0.0.1" if gateway == "authenticated" else FRONT,
        "htm": arrived.method,
        "hth": re.sub(r":\d+$", "", host.lower()),
        "pth": path_hash(arrived.target),
    }
    return [f"{name}={claims.get(name)!r}" for name, value in bound.items() if claims.get(name) != value]
