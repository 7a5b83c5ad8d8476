"""The changed `gateway` block for OpenClaw, and the same change as a patch. What OpenClaw is told is said elsewhere.

That is `openclaw_gateway` of proxies/from_config.py, as for `proxy-config openclaw`; here it is laid over what the
operator had, and what of that would be a way past the proxy is taken out.
"""

import copy
from dataclasses import dataclass
from typing import Any, Final

from extauthz.config.schema import Settings
from extauthz.migrate.found import DEFAULT_PORT, Found
from extauthz.migrate.kept import Path, keep, place
from extauthz.migrate.notes import Note, shown
from extauthz.openclaw import references
from extauthz.proxies.from_config import is_loopback, openclaw_gateway, user_header

# What `openclaw_gateway` says anew: what stood there is gone, and not mixed with it.
_SAID_ANEW: Final[tuple[Path, ...]] = (
    ("trustedProxies",),
    ("auth", "trustedProxy", "userHeader"),
    ("auth", "trustedProxy", "requiredHeaders"),
    ("auth", "trustedProxy", "allowUsers"),
    ("auth", "trustedProxy", "allowLoopback"),
    ("controlUi", "allowedOrigins"),
    ("controlUi", "dangerouslyAllowHostHeaderOriginFallback"),
)
# Second ways in: who knows the secret would not pass the proxy. A token for another Gateway OpenClaw 2026.9 takes for
# its own, and does not start.
_SECOND_WAYS: Final[tuple[Path, ...]] = (("auth", "token"), ("auth", "password"), ("remote", "token"))
_WRITTEN_FOR: Final = (2026, 9)
_BEYOND_LOOPBACK: Final = frozenset({"custom", "tailnet"})


@dataclass(frozen=True, slots=True)
class Block:
    """What changes for OpenClaw.

    Attributes:
        gateway: The whole changed block. Without the secrets it had, which are named in `left_out`.
        patch: What `openclaw config patch` needs: only what changes, null where something is taken out.
        changes: What changed beside the authentication itself, and why.
        left_out: Places of the old block that are not shown here, since they may hold secrets.
    """

    gateway: dict[str, Any]
    patch: dict[str, Any]
    changes: tuple[Note, ...]
    left_out: tuple[str, ...]


def change(old: dict[str, Any], found: Found, settings: Settings, gateway: str, proxies: tuple[str, ...]) -> Block:
    """Return what OpenClaw is to be told.

    Args:
        old: Its `gateway` block until now.
        found: What was found in it.
        settings: Our file; an open place in it is one here as well, with which OpenClaw does not start.
        gateway: The id of the gateway in our file.
        proxies: From where the proxy calls OpenClaw.

    Raises:
        GapError: One of these is no address.
    """
    kept, left_out = keep(old)
    changes = [*_ways_past(found), *_listening(old, found, proxies)]
    new = _stripped(kept, found)
    known = user_header(settings.gateways[gateway]) is not None
    said = openclaw_gateway(settings, gateway, proxies, verified=not known)
    if not known:
        said["auth"]["trustedProxy"]["userHeader"] = ""  # OpenClaw does not start with it
    if said["bind"] != "loopback" and found.bind in _BEYOND_LOOPBACK:
        said["bind"] = found.bind  # one address, and not all of them
    _lay_over(new, said)
    for origin in found.allowed_origins:
        if references(origin):
            new.setdefault("controlUi", {}).setdefault("allowedOrigins", []).append(origin)
    patch = _difference(kept, new)
    for block, key in _SECOND_WAYS:
        if key in (old.get(block) or {}):
            patch[block] = {key: None, **patch.get(block, {})}
    taken_out = {place(path) for path in _SECOND_WAYS}
    return Block(new, patch, tuple(changes), tuple(one for one in left_out if not _is_below(one, taken_out)))


def _stripped(kept: dict[str, Any], found: Found) -> dict[str, Any]:
    """Return what may be shown without what is said anew, and without what would be a way past the proxy."""
    block = copy.deepcopy(kept)
    for path in (*_SAID_ANEW, *_SECOND_WAYS):
        _remove(block, path)
    if found.mode != "trusted-proxy":
        # What was prepared or left over there did not count until now, and does not begin to by itself.
        _remove(block, ("auth", "trustedProxy"))
    if found.allow_real_ip_fallback:
        _remove(block, ("allowRealIpFallback",))
    if found.tailscale != "off":
        block["tailscale"]["mode"] = "off"
    if found.allow_tailscale:
        block["auth"]["allowTailscale"] = False
    return block


def _ways_past(found: Found) -> list[Note]:
    """Name what would be, or stays, a way to OpenClaw past the proxy."""
    changes = []
    if found.has_token:
        what = "password" if found.mode == "password" else "token or password"
        changes.append(
            Note(
                "gateway.auth",
                f"the {what} is taken out, and must go from OpenClaw's environment too: {', '.join(found.variables)}. "
                "With a token OpenClaw does not start in this mode, and a password is a second way in",
            )
        )
    changes += [
        Note(f"env.vars.{name}", "is set in OpenClaw's own file: take it out there") for name in found.variables_in_file
    ]
    if found.tailscale != "off":
        changes.append(
            Note(
                "gateway.tailscale.mode",
                f"was `{shown(found.tailscale)}`, is `off`: Tailscale on this host would bring requests to OpenClaw "
                "past the proxy, with whatever headers they have. Point `tailscale serve` at the proxy instead",
            )
        )
    if found.allow_tailscale:
        changes.append(Note("gateway.auth.allowTailscale", "was true, is false: it is a second way in"))
    if found.allow_real_ip_fallback:
        changes.append(
            Note(
                "gateway.allowRealIpFallback",
                "is taken out: the proxy writes X-Forwarded-For, and X-Real-IP may be a client's. extauthz.yaml keeps "
                "what decided until now; the audit says what to do about it",
            )
        )
    if found.ingress:
        changes.append(
            Note("gateway.portals.ingress", "is kept: a port of its own, whose requests extauthz never hears of")
        )
    if found.has_remote_token:
        changes.append(
            Note(
                "gateway.remote.token",
                "is taken out: OpenClaw takes it for a token of its own, and does not start in this mode. It is for "
                "another Gateway; keep it where you use it",
            )
        )
    return changes


def _listening(old: dict[str, Any], found: Found, proxies: tuple[str, ...]) -> list[Note]:
    """Name what the proxy has to know about where and how OpenClaw listens."""
    changes = []
    local = all(is_loopback(proxy) for proxy in proxies)
    if local and found.bind not in {None, "loopback", "auto"}:
        changes.append(
            Note(
                "gateway.bind",
                f"was `{shown(found.bind or '')}`, is `loopback`: the proxy is on this host, and nobody else has "
                "business there. Say --proxy-address ADDR if it is on another, or in another container",
            )
        )
    if not local:
        changes.append(
            Note(
                "gateway.bind",
                "listens beyond loopback: let a firewall admit only the proxy. Whoever reaches that port from its "
                "address can be anyone",
            )
        )
    if found.tls:
        changes.append(
            Note(
                "gateway.tls.enabled",
                "is kept, and does not go together with the configurations that are written here: they speak plain "
                "HTTP to OpenClaw. On loopback turn it off; else have the proxy speak TLS",
            )
        )
    if found.release is not None and found.release < _WRITTEN_FOR:
        changes.append(
            Note(
                "gateway",
                "is written for OpenClaw 2026.9. An older release does not start in this mode on loopback: update it "
                "first",
            )
        )
    if "port" not in old:
        changes.append(Note("gateway.port", f"is not set: OpenClaw listens on {DEFAULT_PORT}"))
    return changes


def _remove(block: dict[str, Any], path: Path) -> None:
    for key in path[:-1]:
        inner = block.get(key)
        if not isinstance(inner, dict):
            return
        block = inner
    block.pop(path[-1], None)


def _lay_over(block: dict[str, Any], said: dict[str, Any]) -> None:
    for key, value in said.items():
        if isinstance(value, dict) and isinstance(block.get(key), dict):
            _lay_over(block[key], value)
        else:
            block[key] = value


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return what must be laid over `old`, key by key, so that it becomes `new`; None takes a key out."""
    found: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            inner = _difference(old[key], value)
            if inner:
                found[key] = inner
        elif key not in old or old[key] != value:
            found[key] = value
    return found


def _is_below(path: str, places: set[str]) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in places)
