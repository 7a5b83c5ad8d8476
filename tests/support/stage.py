"""Envoy between a scripted authorizer and an echo Gateway: what its configuration does by itself. No asserts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extauthz.proxies.envoy import STAMPED_HEADERS, Route
from extauthz.wire.pb import check_pb2
from support.check_server import Answer, CheckServer, allow, check_server
from support.echo_gateway import EchoGateway, echo_gateway
from support.front import Front, running_front

STAMPS = {**dict.fromkeys(STAMPED_HEADERS, "ours"), "x-forwarded-user": "nick@example.com"}
"""What the authorizer sets, unless it is told to say something else."""


def pass_all(_: check_pb2.CheckRequest) -> check_pb2.CheckResponse:
    """The answer of an authorizer that allows everything, and stamps it."""
    return allow(STAMPS)


@dataclass(frozen=True)
class Stage:
    """The three of them."""

    front: Front
    authorizer: CheckServer
    gateway: EchoGateway

    @property
    def port(self) -> int:
        """Where Envoy listens."""
        return self.front.port

    @contextlib.contextmanager
    def saying(self, answer: Answer) -> Iterator[None]:
        """Let the authorizer say this while the block runs."""
        self.authorizer.answer = answer
        try:
            yield
        finally:
            self.authorizer.answer = pass_all

    def not_reached(self) -> bool:
        """Whether nothing has come to the Gateway since it was last asked."""
        arrived = self.gateway.arrived
        self.gateway.clear()
        return not arrived


@contextlib.contextmanager
def running_stage(directory: Path, **settings: Any) -> Iterator[Stage]:
    """Run them while the block runs, with these settings of Envoy."""
    with echo_gateway() as gateway, check_server(pass_all) as authorizer:
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        with running_front(directory, routes=[route], extauthz=[authorizer.address], **settings) as front:
            yield Stage(front, authorizer, gateway)
