"""Questions byte by byte, and a door in this process, so that a test can wait for less than the real times."""

import contextlib
import json
import socket
from collections.abc import Iterator

from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.config.load import loads
from extauthz.config.values import Endpoint
from extauthz.doors.http import HttpDoor, HttpDoorSettings
from extauthz.doors.http_limits import HEAD_BYTES, PATIENCE, Patience
from forward_auth.asking import QUESTIONS, Asked
from forward_auth.opening import USER, gateway
from support.loop import chosen_loop

TARGET = "/forward-auth/traefik/openclaw"
ALLOWED = [*QUESTIONS["traefik"]("openclaw", Asked((("x-forwarded-user", USER),))).pairs]


def head(*lines: str, target: str = TARGET, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of a request that is allowed, with further lines."""
    fields = ["Host: door", *(f"{name}: {value}" for name, value in ALLOWED), *lines]
    return "\r\n".join([f"{method} {target} HTTP/{version}", *fields, "", ""]).encode("latin-1")


def everything(port: int, sent: bytes, source: str = "127.0.0.1") -> bytes:
    """Send these bytes and return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0)) as connection:
        found = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65_536):
                found += data
        return found


@contextlib.contextmanager
def opened_in_process(
    endpoint: str = "127.0.0.1:0", denial: str = "json", patience: Patience = PATIENCE
) -> Iterator[HttpDoor]:
    """A door in this process."""
    loaded = loads(json.dumps({"denial": {"body": denial}, "gateways": {"openclaw": gateway()}}))
    settings = HttpDoorSettings(
        endpoints=(Endpoint.parse(endpoint),),
        most_connections=100,
        most_headers=200,
        most_head_bytes=HEAD_BYTES,
        drain_seconds=1,
        patience=patience,
        loop=chosen_loop(),
    )
    door = HttpDoor(Authorizer(make_snapshot(loaded)), settings)
    door.start()
    try:
        yield door
    finally:
        door.drain()


@contextlib.contextmanager
def door_in_process(
    endpoint: str = "127.0.0.1:0", denial: str = "json", patience: Patience = PATIENCE
) -> Iterator[Endpoint]:
    """Where a door in this process listens."""
    with opened_in_process(endpoint, denial, patience) as door:
        yield door.endpoints[0]
