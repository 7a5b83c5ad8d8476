"""How each proxy asks at its door, as it was seen to: the request of its client in the proxy's own words.

What a proxy's client sends is passed on untouched, but for what that proxy writes itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from support.clients import Response, http1

Pairs = Sequence[tuple[str, str]]

DIALECTS: Final = ("traefik", "caddy", "nginx", "envoy")
PEER_HEADER: Final = "x-extauthz-peer"
DOOR: Final = "127.0.0.1"


@dataclass(frozen=True)
class Asked:
    """What a client sent to a proxy, and from where."""

    pairs: Pairs = ()
    peer: str | None = "10.0.0.7"
    method: str = "GET"
    host: str = "gateway.example.com"
    path: str = "/"


@dataclass(frozen=True)
class Question:
    """What the proxy then sends to a door."""

    method: str
    target: str
    host: str
    pairs: Pairs


def ask(dialect: str, port: int, gateway: str, asked: Asked, *, source: str = DOOR) -> Response:
    """Ask at a door as this proxy does, and return the answer."""
    question = QUESTIONS[dialect](gateway, asked)
    headers = [(name.encode(), value.encode(errors="surrogatepass")) for name, value in question.pairs]
    return http1(port, headers, method=question.method, target=question.target, host=question.host, source=source)


def _without(pairs: Pairs, *names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if name.lower() not in {*names, "host"}]


def _chain(asked: Asked) -> list[tuple[str, str]]:
    """X-Forwarded-For, to which the proxy adds its peer behind what the client sent."""
    entries = [value for name, value in asked.pairs if name.lower() == "x-forwarded-for"]
    if asked.peer is not None:
        entries.append(asked.peer)
    return [("X-Forwarded-For", ", ".join(entries))] if entries else []


def _go(dialect: str, gateway: str, asked: Asked, query: str = "") -> Question:
    own = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-method", "x-forwarded-uri")
    added = [
        ("X-Forwarded-Host", asked.host),
        ("X-Forwarded-Method", asked.method),
        ("X-Forwarded-Uri", asked.path),
    ]
    pairs = [*_without(asked.pairs, *own), *_chain(asked), *added]
    return Question("GET", f"/forward-auth/{dialect}/{gateway}{query}", DOOR, pairs)


def _traefik(gateway: str, asked: Asked) -> Question:
    return _go("traefik", gateway, asked)


def _caddy(gateway: str, asked: Asked) -> Question:
    _, mark, query = asked.path.partition("?")
    return _go("caddy", gateway, asked, mark + query)


def _nginx(gateway: str, asked: Asked) -> Question:
    pairs = _without(asked.pairs, "x-forwarded-for", "x-original-method", "x-original-uri")
    pairs += [*_chain(asked), ("X-Original-Method", asked.method), ("X-Original-URI", asked.path)]
    return Question("GET", f"/forward-auth/nginx/{gateway}", asked.host, pairs)


def _envoy(gateway: str, asked: Asked) -> Question:
    joined: dict[str, str] = {}
    for name, value in _without(asked.pairs, PEER_HEADER):
        key = name.lower() if name.isascii() else name
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    if asked.peer is not None:
        joined[PEER_HEADER] = asked.peer
    pairs = [("content-length", "0"), *joined.items()]
    return Question(asked.method, f"/forward-auth/envoy/{gateway}{asked.path}", asked.host, pairs)


QUESTIONS: Final[dict[str, Callable[[str, Asked], Question]]] = {
    "traefik": _traefik,
    "caddy": _caddy,
    "nginx": _nginx,
    "envoy": _envoy,
}
