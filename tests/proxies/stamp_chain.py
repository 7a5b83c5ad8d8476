"""The chain that a stamp goes through, each link a real program: Envoy, extauthz, and Gateways that verify. No asserts.

Beside it, what an attacker may have: a second Envoy before the same Gateways that asks nobody, the way around both,
and stamps of any kind, also such as only extauthz's own key could sign.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from extauthz.proxies.envoy import Route, Settings, render
from extauthz.stamp.keys import load
from gateway.forge import Forge
from support.clients import Response
from support.envoy import running_envoy
from support.front import Front, running_front
from support.ports import free_port
from support.reference_gateway import running_gateway
from support.service import Service, running_service
from support.world import TRUSTED, USER

GATEWAYS = ("openclaw", "research")

_RULES = {"userHeader": "x-forwarded-user", "requiredHeaders": ["x-forwarded-host"], "allowUsers": [USER]}
CONFIG: dict[str, Any] = {
    "stamp": {"keys": "keys", "bind": ["method", "host", "path"]},
    "gateways": {
        name: {"trustedProxies": [TRUSTED], "auth": {"mode": "trusted-proxy", "trustedProxy": _RULES}}
        for name in GATEWAYS
    },
}


@dataclass(frozen=True)
class Chain:
    """The running programs, and the ports by which the Gateways are reached."""

    service: Service
    front: Front
    """Envoy as extauthz configures it."""
    overwriting: Front
    """The same, but for stamps that clients send not being removed before extauthz is asked."""
    careless_port: int
    """An Envoy that asks nobody and removes nothing."""
    gateway_ports: Mapping[str, int]
    """Around every Envoy."""
    signer: Forge
    """Who has extauthz's own key."""


@contextlib.contextmanager
def running_chain(directory: Path) -> Iterator[Chain]:
    """Run all of it while the block runs.

    Raises:
        ProgramError: a program did not become ready; the message has the end of its log.
    """
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running_service(directory / "service", CONFIG))
        ports = {
            name: stack.enter_context(running_gateway(directory, audience=name, jwks=service.jwks_url))
            for name in GATEWAYS
        }
        routes = routes_to(ports)
        front, overwriting = (
            stack.enter_context(
                running_front(directory / name, routes=routes, extauthz=[service.address], strip_stamped=strip)
            )
            for name, strip in (("front", True), ("overwriting", False))
        )
        careless = stack.enter_context(_running_careless(directory / "careless", overwriting.settings))
        signer = Forge()
        signer.key = load(directory / "service" / "keys").keys[0]
        yield Chain(service, front, overwriting, careless, ports, signer)


def routes_to(ports: Mapping[str, int]) -> list[Route]:
    """Envoy's routes to Gateways on 127.0.0.1, each at <id>.example.com."""
    return [
        Route(
            gateway=name,
            domains=(f"{name}.example.com",),
            upstream=f"127.0.0.1:{port}",
            user_headers=("x-forwarded-user",),
        )
        for name, port in ports.items()
    ]


def said(answer: Response) -> str:
    """What an answer comes to: extauthz's reason, the Gateway's, or the user whom the Gateway's application sees."""
    if answer.status == 200:
        return f"hello {answer.json()['identity']['user']}"
    if reason := answer.values("x-authz-reason"):
        return reason[0]
    challenged = answer.values("www-authenticate")
    return challenged[0].partition('error="')[2].rstrip('"') if challenged else str(answer.status)


def seen(answer: Response, name: str) -> list[str]:
    """The values of a header as the Gateway's application saw it."""
    return [value for key, value in answer.json()["headers"] if key == name]


@contextlib.contextmanager
def _running_careless(directory: Path, settings: Settings) -> Iterator[int]:
    """Run an Envoy whose operator took everything of extauthz out of the configuration."""
    port, admin = free_port(), free_port()
    config: dict[str, Any] = yaml.safe_load(render(settings))
    config["admin"]["address"]["socket_address"]["port_value"] = admin
    (listener,) = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["port_value"] = port
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"] = manager["http_filters"][-1:]  # the router alone
    for host in manager["route_config"]["virtual_hosts"]:
        host.pop("typed_per_filter_config")
    directory.mkdir()
    with running_envoy(yaml.safe_dump(config), admin_port=admin, directory=directory):
        yield port
