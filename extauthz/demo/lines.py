"""The lines to try: each a command for a shell, what it shows, and what comes of it."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Whoever is no trusted proxy.
_STRANGER: Final = "127.0.0.9"
# Its route names a gateway that is not in the file.
UNKNOWN_HOST: Final = "unknown.example.com"
# Over the limit of the example's configuration, which is 16 KiB.
LONG_HEADER_BYTES: Final = 17_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line to try.

    Attributes:
        title: What it shows.
        expect: The HTTP status and, for a denial, the reason.
        command: The line itself, for a shell.
    """

    title: str
    expect: str
    command: str


def lines(front: str, config: Path) -> Iterator[Line]:
    """Yield lines to try on the gateways of config/extauthz.yaml, as a trusted proxy on 127.0.0.1 would ask.

    Args:
        front: Where Envoy listens.
        config: The running configuration, for the one reason that no peer on loopback can meet.
    """
    nick = ["-H", "x-forwarded-user: nick@example.com"]
    host = ["-H", "x-forwarded-host: gateway.example.com"]
    good = [*nick, *host]

    def line(title: str, expect: str, *arguments: str, path: str = "/", to: str = "") -> Line:
        command = ["curl", "-sS", "-i", *(["-H", f"Host: {to}"] if to else []), *arguments, f"http://{front}{path}"]
        return Line(title, expect, shlex.join(command))

    yield line("Allowed: the trusted proxy names a user of the list.", "200", *good)
    yield line(
        "Allowed, and a spoofing attempt: the Gateway sees what was stamped, not what the client made up.",
        "200",
        *good,
        *("-H", "x-authz-user: admin@example.com", "-H", "X-Authz-Stamp: forged", "-H", "x-authz-gateway: research"),
    )
    yield line("Nobody is named.", "401 trusted_proxy_user_missing", *host)
    yield line(
        "The user is not on the list.",
        "403 trusted_proxy_user_not_allowed",
        *host,
        *("-H", "x-forwarded-user: eve@example.com"),
    )
    yield line(
        "Two users are named: one by the proxy, one by whom?",
        "403 trusted_proxy_user_ambiguous",
        *good,
        *("-H", "x-forwarded-user: admin@example.com"),
    )
    yield line("A required header is missing.", "403 trusted_proxy_missing_header_x-forwarded-host", *nick)
    yield line(
        "The peer is not the trusted proxy, whatever it says.",
        "403 trusted_proxy_untrusted_source",
        *("--interface", _STRANGER),
        *good,
    )
    yield line(
        "A page of another site uses the visitor's session.",
        "403 trusted_proxy_origin_not_allowed",
        *good,
        *("-H", "Origin: https://evil.example"),
    )
    yield line(
        "An alias: many servers behind a proxy take x.authz.user for x-authz-user.",
        "403 header_alias_refused",
        *good,
        *("-H", "x.authz.user: admin@example.com"),
    )
    yield line("A header over its limit.", "403 request_malformed", *good, "-H", f"x-long: {'a' * LONG_HEADER_BYTES}")
    yield line("A host whose route names no gateway of the file.", "403 gateway_unknown", *good, to=UNKNOWN_HOST)
    for title, reason, name in (
        ("A gateway without rules.", "trusted_proxy_config_missing", "no-rules"),
        ("A gateway without trusted proxies.", "trusted_proxy_no_proxies_configured", "no-proxies"),
        ("A proxy on loopback, where that is not allowed.", "trusted_proxy_loopback_source", "no-loopback"),
        ("A gateway about which this Envoy may not ask.", "caller_not_allowed", "other-callers"),
    ):
        client = ("-H", "x-forwarded-for: 203.0.113.10")
        yield line(title, f"403 {reason}", *good, *client, to=f"{name}.example.com")
    explain = [str(Path(sys.executable).parent / "extauthz"), "explain", "--config", str(config)]
    explain += ["--gateway", "own-address", "--peer", "10.0.0.2", *nick, "-H", "x-forwarded-for: 203.0.113.10"]
    yield Line(
        "The Gateway host's own address is no proxy's. No peer on loopback can show this; explain can.",
        "403 trusted_proxy_local_interface_source",
        shlex.join(explain),
    )
    yield line(
        "OpenClaw 2026.9's rules: the proxy must say whose request it is.",
        "403 proxy_attribution_required",
        *("--interface", "127.0.0.2", "-H", "x-pomerium-claim-email: nick@example.com"),
        *("-H", "x-pomerium-jwt-assertion: an-assertion"),
        to="research.example.com",
    )
    yield line(
        "The same, with the client named.",
        "200",
        *("--interface", "127.0.0.2", "-H", "x-pomerium-claim-email: nick@example.com"),
        *("-H", "x-pomerium-jwt-assertion: an-assertion", "-H", "x-forwarded-for: 203.0.113.10"),
        to="research.example.com",
    )
    yield line(
        "A WebSocket is held to the same rules (101, then what the Gateway saw).",
        "101",
        *("--max-time", "1", "-o", "-", *good, "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"),
        *("-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: ZXh0YXV0aHotZGVtby0wMQ=="),
    )
