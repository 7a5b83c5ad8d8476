"""Decision logs as the service writes them: lines of requests decided under a file. Nothing here judges."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cases.build import request_of
from extauthz.assembly import version_of
from extauthz.config.compile import compile_policy
from extauthz.config.load import Loaded
from extauthz.core.request import Request
from extauthz.telemetry.lines import encode, line
from telemetry.records import record_of

DOOR = "grpc"


def log_line(loaded: Loaded, request: Request | None = None, *, door: str = DOOR, redact: Iterable[str] = ()) -> bytes:
    """Return the line of one decision under a file; without a request, of one that the ordinary gateway allows."""
    policy = compile_policy(loaded, frozenset)
    asked = request if request is not None else request_of()
    record = record_of(policy, asked, door=door, version=version_of(loaded.settings))
    return encode(line(record, tuple(redact)))


def changed(told: bytes, **keys: Any) -> bytes:
    """Return a line with other values; those that are None are kept as null."""
    found: Mapping[str, Any] = json.loads(told)
    return (json.dumps({**found, **keys}) + "\n").encode()
