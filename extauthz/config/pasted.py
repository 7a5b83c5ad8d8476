"""OpenClaw's own keys of a `gateway` object that do not concern us: what an audit passes over where one was pasted.

A service does not: a key that it would not heed is a fault of the file (rules.md, "Configuration a gateway accepts").
"""

from typing import Any, Final

# By the object that they stand in. No key is here that could be a second way in: a token, a password.
_KEYS: Final[dict[tuple[str, ...], frozenset[str]]] = {
    (): frozenset(
        {
            *("port", "bind", "customBindHost", "publicOrigin", "reload", "tailscale", "tls", "remote", "http", "push"),
            *("nodes", "portals", "terminal", "roles", "tools", "channelHealthCheckMinutes", "handshakeTimeoutMs"),
        }
    ),
    ("auth",): frozenset({"rateLimit", "allowTailscale", "identityScopes"}),
    ("auth", "trustedProxy"): frozenset({"deviceAutoApprove", "cloudflareAccessOidc"}),
    ("controlUi",): frozenset(
        {
            *("enabled", "basePath", "root", "allowInsecureAuth", "dangerouslyDisableDeviceAuth", "embedSandbox"),
            *("environment", "chatMessageMaxWidth"),
        }
    ),
}
# The one key that both have, and what only OpenClaw says there.
_MODE: Final = "mode"
_OPENCLAW_MODES: Final = ("local", "remote")


def without_pasted_keys(data: dict[str, Any]) -> dict[str, Any]:
    """Return a file's content without these keys in its gateways; whatever has the wrong type stays as it is."""
    gateways = data.get("gateways")
    if not isinstance(gateways, dict):
        return data
    return {**data, "gateways": {name: _without(gateway, ()) for name, gateway in gateways.items()}}


def _without(value: Any, place: tuple[str, ...]) -> Any:
    keys = _KEYS.get(place)
    if keys is None or not isinstance(value, dict):
        return value
    left = {key: _without(item, (*place, key)) for key, item in value.items() if key not in keys}
    if not place and left.get(_MODE) in _OPENCLAW_MODES:
        del left[_MODE]
    return left
