"""What is asked in the measurements, and of which configuration: a request with 16 headers, as a browser sends it."""

from collections.abc import Mapping
from typing import Any, Final

from extauthz.wire.pb import check_pb2 as pb

HEADERS: Final = {
    ":authority": "gateway.example.com",
    ":method": "GET",
    ":path": "/chat?session=main",
    ":scheme": "https",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "accept-language": "en-US,en;q=0.9",
    "cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "referer": "https://gateway.example.com/",
    "sec-fetch-site": "same-origin",
    "x-request-id": "b1946ac9-2f0e-4f2c-8a54-1f1c1d3bfa9a",
    "x-forwarded-for": "203.0.113.10",
    "x-forwarded-host": "gateway.example.com",
    "x-forwarded-proto": "https",
    "x-forwarded-user": "nick@example.com",
}
USER: Final = "nick@example.com"
PEER: Final = "10.0.0.7"
LOOPBACK: Final = "127.0.0.1"

SENT: Final = tuple(f"{name}: {value}" for name, value in HEADERS.items() if not name.startswith(":"))
"""The same headers on the way to a proxy."""
ASKED_BY_TRAEFIK: Final = (
    *(line for line in SENT if not line.startswith("x-forwarded-for:")),
    "x-forwarded-method: GET",
    f"x-forwarded-uri: {HEADERS[':path']}",
    f"x-forwarded-for: 203.0.113.10, {PEER}",
)
"""The same request as Traefik asks an HTTP door about it."""


def gateway(**changes: Any) -> dict[str, Any]:
    """Return a gateway that allows the request, with some of its keys, or of its rules, changed."""
    rules: dict[str, Any] = {
        "userHeader": "x-forwarded-user",
        "requiredHeaders": ["x-forwarded-proto", "x-forwarded-host"],
        "allowUsers": [USER],
    }
    rules |= {key: value for key, value in changes.items() if key in rules}
    rest = {key: value for key, value in changes.items() if key not in rules}
    return {"trustedProxies": [PEER, LOOPBACK], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}, **rest}


def configuration(
    gateways: Mapping[str, Any] | None = None,
    *,
    log: bool = True,
    stamp: bool = True,
    reuse: str = "5s",
    engine: str = "grpcio",
    loop: str = "asyncio",
) -> dict[str, Any]:
    """Return a configuration; with no more said, everything is on: stamps that are reused, and every decision logged.

    Metrics cannot be switched off.
    """
    return {
        "server": {"engine": engine, "httpLoop": loop},
        "stamp": {"enabled": stamp, "reuse": reuse},
        # Moved away when it is full, as in operation, and only once, so that a long run does not fill the disk.
        "decisionLog": {"output": "decisions.jsonl" if log else "none", "keep": 1},
        "gateways": dict(gateways) if gateways is not None else {"openclaw": gateway()},
    }


def message(*, raw: bool, gateway: str = "openclaw", user: str = USER, peer: str = PEER, headers: int = 16) -> bytes:
    """Return a CheckRequest in one of the two header encodings, with so many headers."""
    check = pb.CheckRequest()
    check.attributes.context_extensions["gateway"] = gateway
    check.attributes.source.address.socket_address.address = peer.encode()
    http = check.attributes.request.http
    http.id, http.method, http.path = "1234567890", "GET", HEADERS[":path"]
    http.host, http.scheme, http.protocol = HEADERS[":authority"], "https", "HTTP/1.1"
    # The last ones are those that the rules read, so that fewer headers are fewer of the others.
    named = dict(list((HEADERS | {"x-forwarded-user": user}).items())[-headers:])
    named |= {f"x-extra-{number}": "value" for number in range(headers - len(named))}
    for name, value in named.items():
        if raw:
            http.header_map.headers.add(key=name, raw_value=value.encode())
        else:
            http.headers[name] = value.encode()
    return check.SerializeToString()
