"""One real extauthz with its admin address open, and what a test asks there."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from extauthz.config.values import Endpoint
from extauthz.doors.admin import AdminDoor, AdminDoorSettings, StaticFile, Told
from extauthz.doors.http_limits import PATIENCE, Patience
from forward_auth.asking import Asked, ask
from support.clients import Headers, Response, http1
from support.ports import free_port
from support.process import wait_until
from support.service import Service, running_service

USER: Final = "nick@example.com"
API: Final = "/console/api/"
TOKEN: Final = "a-token-of-the-tests-0123456789"


@dataclass(frozen=True)
class Watched:
    """A running extauthz, with the ports of its HTTP doors and of its admin address on 127.0.0.1."""

    service: Service
    http: int
    admin: int

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self.admin}/console"

    def get(self, target: str, headers: Headers = (), **request: Any) -> Response:
        """Ask at the admin address."""
        return http1(self.admin, headers, target=target, **{"host": f"127.0.0.1:{self.admin}", **request})

    def data(self, name: str, headers: Headers = ()) -> Any:
        """Return the console's data with this name and query."""
        response = self.get(API + name, headers)
        assert response.status == 200, response
        return response.json()

    def explain(self, request: Any, *headers: tuple[str, str]) -> Response:
        """Ask for an explanation."""
        body = json.dumps(request).encode()
        return self.get(API + "explain", [("content-type", "application/json"), *headers], method="POST", body=body)

    def decide(self, gateway: str, pairs: Sequence[tuple[str, str]] = (), **asked: Any) -> Response:
        """Have a request decided, as Traefik would ask."""
        return ask("traefik", self.http, gateway, Asked(pairs, **asked))

    def seen(self, count: int) -> list[Any]:
        """Return the decisions once there are so many, newest first."""
        wait_until(lambda: self.data("decisions")["last"] >= count, f"{count} decisions are shown")
        found: list[Any] = self.data("decisions")["decisions"]
        return found


@contextlib.contextmanager
def watched_service(directory: Path, config: Mapping[str, Any]) -> Iterator[Watched]:
    """Run extauthz while the block runs."""
    with running_service(directory, {"decisionLog": {"output": "none"}, **config}) as service:
        http, admin = (int(address.rpartition(":")[2]) for address in (service.http, service.admin))
        yield Watched(service, http, admin)


class BrokenPages:
    """A console that fails, whatever it is asked."""

    files: Mapping[bytes, StaticFile] = MappingProxyType({})
    posted = frozenset({"explain"})

    def tell(self, name: str, query: Mapping[str, str], body: bytes) -> Told | None:
        raise RuntimeError(f"{USER} {name} {query} {body!r}")


@contextlib.contextmanager
def opened_door(
    address: str | None = None, ready: Callable[[], bool] = lambda: True, *, patience: Patience = PATIENCE
) -> Iterator[Endpoint]:
    """Open an admin door in this process, before a broken console, while the block runs; None is a free port."""
    endpoint = Endpoint.parse(address or f"127.0.0.1:{free_port()}")
    settings = AdminDoorSettings(endpoints=[endpoint], drain_seconds=1, ready=ready, patience=patience)
    door = AdminDoor(BrokenPages(), settings)
    door.start()
    try:
        yield door.endpoints[0]
    finally:
        door.drain()


def write_token(file: Path, token: str = TOKEN, mode: int = 0o600) -> Path:
    """Write a token file."""
    file.touch(mode=mode)
    file.chmod(mode)
    file.write_text(f"{token}\n", encoding="utf-8")
    return file


def bearer(token: str = TOKEN) -> tuple[str, str]:
    """The header that carries a token."""
    return ("authorization", f"Bearer {token}")
