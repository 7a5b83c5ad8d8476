"""One real extauthz with its HTTP doors open, on ports of its own."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.clients import Response
from support.service import Service, running_service

USER: Final = "nick@example.com"


@dataclass(frozen=True)
class Doors:
    """A running extauthz with its HTTP doors on a port of 127.0.0.1."""

    service: Service
    port: int


@contextlib.contextmanager
def opened_doors(directory: Path, config: Mapping[str, Any]) -> Iterator[Doors]:
    """Run extauthz while the block runs."""
    with running_service(directory, config) as service:
        argv = service.program.argv
        yield Doors(service, int(argv[argv.index("--http") + 1].rpartition(":")[2]))


def gateway(**changed: Any) -> dict[str, Any]:
    """A gateway that allows USER from 10.0.0.7, with changes."""
    rules = {"userHeader": "x-forwarded-user", "allowUsers": [USER], **changed.pop("rules", {})}
    return {"trustedProxies": ["10.0.0.7"], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}, **changed}


def told(response: Response) -> str:
    """Return "allow:USER" or "deny:REASON" as a door's answer says it."""
    if response.status == 200:
        return f"allow:{response.values('x-authz-user')[0].encode('latin-1').decode()}"
    assert response.status in {401, 403}, response
    return f"deny:{json.loads(response.body)['error']}"
