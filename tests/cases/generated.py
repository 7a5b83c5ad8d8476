"""Gateways and requests drawn at random, from pools small enough that every step is passed and failed often.

Drawn with a `Random` that hypothesis seeds: what matters here is how often each rule is reached, which a strategy that
looks for extremes does not keep. A failing example prints the gateway and the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# For every property test: bounded by number and never by time, so that a loaded machine is no failure.
bounded = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
few = settings(bounded, max_examples=30)

T = TypeVar("T")

ENTRIES = (
    "10.0.0.7",
    "10.0.1.0/28",
    "10.0.1.9/24",
    " 10.0.0.7 ",
    "127.0.0.1",
    "127.0.0.0/8",
    "::1",
    "[::1]",
    "fe80::1%eth0",
    "fe80::1",
    "fe80::/10",
    "::ffff:10.0.0.7",
    "::ffff:10.0.0.0/104",
    "::ffff:10.0.0.0/90",
    "2001:db8::/032",
    "2001:DB8::A",
    "0.0.0.0/0",
    "::/0",
)
PEERS = (
    *("10.0.0.7", "10.0.1.3", "10.0.1.200", "10.9.9.9", "127.0.0.1", "127.0.0.2", "::1", "[::1]", "::ffff:127.0.0.1"),
    *("fe80::1%eth0", "fe80::1", "::ffff:10.0.0.7", "2001:db8::a", "2001:db9::1", "203.0.113.9", " 10.0.0.7\t"),
    *(None, "", "unix:", "10.0.0.7:4444", "010.0.0.7", "localhost"),
)
HOPS = (
    *("203.0.113.9", "10.0.0.7", "10.0.1.3", "127.0.0.1", "::ffff:127.0.0.1", "[2001:db8::9]:443", "203.0.113.9:80"),
    *("192.168.1.4", "::1", "", "unknown", '"203.0.113.9"', "0177.0.0.1", "2001:db8:1::5"),
)
USERS = ("nick@example.com", "  nick@example.com\t", "Nick@example.com", "eve@example.com", "ümlaut@example.com")
ODD_USERS = ("", " ", "\u00a0\ufeff", ",", " , ,", "nick@example.com,eve@example.com", "ni\tck", "x\u0085y", "\u200b")
HOSTS = (
    *("gateway.example.com", "Gateway.Example.com:8443", "box.local", "box.local:8080", "box.tail1.ts.net", "10.0.0.5"),
    *("10.0.0.5:18789", "[fd00::5]:8443", "[2001:db8::5]", "localhost:18789", "8.8.8.8", ""),
)
ORIGINS = (
    *(
        "https://control.example.com",
        "HTTPS://Control.Example.com/",
        "https://control.example.com:443",
        "null",
        "",
        ",",
    ),
    *("https://evil.example", "https://control.example.com/path", "https://user@control.example.com", "https://"),
    *(
        "http://box.local",
        "http://box.local:8080",
        "https://10.0.0.5",
        "http://10.0.0.5:18789",
        "http://[fd00::5]:8443",
    ),
    *("https://gateway.example.com:8443", "https://box.tail1.ts.net", "http://localhost:18789", "http://8.8.8.8:80"),
)
CONFIGURED_ORIGINS = ("https://control.example.com", "https://Control.Example.com:443", "http://box.local:8080", "*")
REQUIRED = ("x-forwarded-proto", "X-Forwarded-Host", "x-forwarded-proto", "X-Forwarded-For")
ODD_REQUIRED = ("  x-padded ", "", "host", "x-real-ip", "Origin")
USER_HEADERS = ("x-forwarded-user", "X-Forwarded-User ", "x-auth-request-email", "x-authz-user")
NAMES = (
    *("x-forwarded-user", "X-FORWARDED-USER", "x-auth-request-email", "x-authz-user", "x-padded", "x-forwarded-proto"),
    *("x-forwarded-host", "cookie", "forwarded", "x-real-ip", "tailscale-user-login", "x-forwarded-for", "origin"),
    *("x-forwarded-\u212aey", "upgrade", "x-authz-stamp"),
)
ALIASES = ("x_forwarded_user", "X.Authz.User", "x-authz_stamp", "x\u2010authz-user", "x-auth~request-email")


@dataclass(frozen=True)
class Asked:
    """One request to a gateway."""

    peer: str | None
    pairs: list[tuple[str, str]]
    host: str


@dataclass(frozen=True)
class Example:
    """A gateway as the configuration file has it, and requests to it."""

    gateway: dict[str, Any]
    requests: list[Asked]


def examples(ruleset: str, requests: int = 12) -> st.SearchStrategy[Example]:
    """Gateways under one ruleset with requests to each."""

    def draw(rng: Random) -> Example:
        gateway = _gateway(rng, ruleset)
        return Example(gateway, [_request(rng, gateway) for _ in range(requests)])

    return st.randoms(use_true_random=True).map(draw)


def _some(rng: Random, pool: Sequence[T], most: int, least: int = 0) -> list[T]:
    return [rng.choice(pool) for _ in range(rng.randint(least, most))]


def _often(rng: Random, share: float, usual: Sequence[T], odd: Sequence[T]) -> T:
    return rng.choice(usual if rng.random() < share else odd)


def _proxies(rng: Random) -> list[str]:
    usual = ("10.0.0.7", "127.0.0.1", "10.0.1.0/28") if rng.random() < 0.7 else ()
    return [*usual, *_some(rng, ENTRIES, 4, least=1)]


def _gateway(rng: Random, ruleset: str) -> dict[str, Any]:
    trusted_proxy: dict[str, Any] = {"userHeader": _often(rng, 0.95, USER_HEADERS, ("", " \u00a0", None))}
    if rng.random() < 0.5:
        trusted_proxy["requiredHeaders"] = [_often(rng, 0.85, REQUIRED, ODD_REQUIRED) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.5:
        trusted_proxy["allowUsers"] = [*_some(rng, (*USERS, "*", "@example.com", ""), 2), "nick@example.com"]
    if rng.random() < 0.6:
        trusted_proxy["allowLoopback"] = rng.choice((True, True, False, None))
    if rng.random() < 0.4:
        trusted_proxy["allowCommaInUser"] = rng.random() < 0.8
    gateway: dict[str, Any] = {
        "ruleset": ruleset,
        "trustedProxies": _proxies(rng) if rng.random() < 0.97 else [],
        "auth": {"mode": "trusted-proxy", "trustedProxy": trusted_proxy if rng.random() < 0.97 else None},
    }
    if rng.random() < 0.4:
        gateway["allowRealIpFallback"] = rng.random() < 0.7
    if rng.random() < 0.3:
        gateway["localInterfaces"] = _some(rng, ("10.0.0.7", "10.0.0.2", "fe80::1"), 2)
    if rng.random() < 0.7:
        gateway["controlUi"] = {
            "allowedOrigins": [_often(rng, 0.85, CONFIGURED_ORIGINS[:-1], ("*",)) for _ in range(rng.randint(0, 2))],
            "dangerouslyAllowHostHeaderOriginFallback": rng.random() < 0.3,
        }
    return gateway


def _request(rng: Random, gateway: dict[str, Any]) -> Asked:
    pairs: list[tuple[str, str]] = []
    user_header = (gateway["auth"]["trustedProxy"] or {}).get("userHeader") or ""
    if rng.random() < 0.93:
        name = _often(rng, 0.9, (user_header.strip(),), USER_HEADERS) or "x-forwarded-user"
        pairs.append((name.strip(), _often(rng, 0.85, USERS, ODD_USERS)))
    if rng.random() < 0.85:
        hops = [_often(rng, 0.5, ("203.0.113.9",), HOPS) for _ in range(rng.randint(1, 3))]
        pairs.append(("X-Forwarded-For", rng.choice((", ", ",")).join(hops)))
    if rng.random() < 0.8:
        pairs.extend((("x-forwarded-proto", "https"), ("x-forwarded-host", "gateway.example.com"), ("x-padded", "1")))
    if rng.random() < 0.5:
        pairs.append(("origin", rng.choice(ORIGINS)))
    if rng.random() < 0.2:
        pairs.append(("X-Real-IP", rng.choice(HOPS)))
    extra = rng.choice((0, 0, 0, 1, 2))
    pairs.extend((rng.choice(NAMES), _often(rng, 0.6, USERS, ODD_USERS)) for _ in range(extra))
    if rng.random() < 0.04:
        pairs.append((rng.choice(ALIASES), rng.choice(USERS)))
    if rng.random() < 0.2:
        rng.shuffle(pairs)
    if rng.random() < 0.04:
        pairs = []
    return Asked(_often(rng, 0.5, ("10.0.0.7", "10.0.1.3", "127.0.0.1"), PEERS), pairs, rng.choice(HOSTS))
