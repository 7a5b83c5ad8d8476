"""What of OpenClaw's `gateway` block is copied into the changed one: its settings. This is where secrets end.

A text is copied only from where OpenClaw is known to keep no secret, so that a key unknown here, or a new one, is
left out and named rather than shown. References to secrets are copied: they are none.
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from extauthz.openclaw import is_reference

# Where OpenClaw 2026.2 and 2026.9 have texts, or numbers, that are no secrets. `*` stands for one key or position.
_PLAIN: Final = """
    port mode bind customBindHost publicOrigin reload.mode tailscale.mode trustedProxies.*
    auth.mode auth.identityScopes.*.* auth.rateLimit.* auth.trustedProxy.userHeader
    auth.trustedProxy.requiredHeaders.* auth.trustedProxy.allowUsers.* auth.trustedProxy.deviceAutoApprove.scopes.*
    auth.trustedProxy.cloudflareAccessOidc.issuer auth.trustedProxy.cloudflareAccessOidc.providerId
    auth.trustedProxy.cloudflareAccessOidc.githubAccountIdClaim
    controlUi.basePath controlUi.root controlUi.allowedOrigins.* controlUi.embedSandbox controlUi.environment.label
    controlUi.environment.color controlUi.chatMessageMaxWidth
    portals.ingress.domain portals.ingress.port terminal.shell terminal.detachedSessionTimeoutSeconds
    roles.default roles.definitions.*.sessions.others roles.definitions.*.sandbox roles.definitions.*.agents
    roles.definitions.*.agents.* roles.definitions.*.scopes.* roles.definitions.*.accessPolicyPlugin
    tools.allow.* tools.deny.* tls.certPath tls.keyPath tls.caPath
    remote.url remote.transport remote.sshTarget remote.sshIdentity remote.sshHostKeyPolicy remote.tlsFingerprint
    remote.remotePort reload.debounceMs reload.deferralTimeoutMs channelHealthCheckMinutes handshakeTimeoutMs
    http.endpoints.*.maxUrlParts http.endpoints.*.maxBodyBytes http.endpoints.*.*.urlAllowlist.*
    http.endpoints.*.*.allowedMimes.* http.endpoints.*.*.maxBytes http.endpoints.*.*.maxRedirects
    http.endpoints.*.*.timeoutMs http.endpoints.*.files.maxChars http.endpoints.*.files.pdf.*
    http.securityHeaders.strictTransportSecurity push.apns.relay.baseUrl push.apns.relay.timeoutMs
    nodes.browser.mode nodes.browser.node nodes.pairing.autoApproveCidrs.* nodes.pairing.sshVerify.user
    nodes.pairing.sshVerify.identity nodes.pairing.sshVerify.timeoutMs nodes.pairing.sshVerify.cidrs.*
    nodes.commands.allow.* nodes.commands.deny.* nodes.allowCommands.* nodes.denyCommands.*
"""
_SEPARATOR: Final = "\0"  # of keys while they are matched: a key may hold any sign, a dot too
_PLAIN_PATTERN: Final = re.compile(
    "|".join(
        _SEPARATOR.join(f"[^{_SEPARATOR}]*" if part == "*" else re.escape(part) for part in path.split("."))
        for path in _PLAIN.split()
    )
)
_SIMPLE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

Path = tuple[str, ...]


def keep(block: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the part of a `gateway` block that may be shown, and the places of what was left out."""
    left_out: list[str] = []
    kept = _kept(block, (), left_out)
    return kept, tuple(left_out)


def _kept(value: Any, path: Path, left_out: list[str]) -> Any:
    if isinstance(value, dict) and not is_reference(value):
        found = {key: _kept(item, (*path, key), left_out) for key, item in value.items()}
        return {key: item for key, item in found.items() if item is not _LEFT_OUT}
    if isinstance(value, list):
        items = [_kept(item, (*path, str(position)), left_out) for position, item in enumerate(value)]
        return [item for item in items if item is not _LEFT_OUT]
    if value is None or isinstance(value, bool) or is_reference(value) or _is_plain(value, path):
        return value
    left_out.append(place(path))
    return _LEFT_OUT


_LEFT_OUT: Final = object()


def _is_plain(value: Any, path: Path) -> bool:
    if any(_SEPARATOR in key for key in path) or _PLAIN_PATTERN.fullmatch(_SEPARATOR.join(path)) is None:
        return False
    return not (isinstance(value, str) and _has_credentials(value))


def _has_credentials(text: str) -> bool:
    """Tell whether a text is an address with a user, a password or a query, in which a token could be."""
    if "://" not in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return True
    return "@" in parts.netloc or bool(parts.query or parts.fragment)


def place(path: Path) -> str:
    """Return a place of the block as text; a key that is no plain word is quoted."""
    return ".".join(("gateway", *(key if _SIMPLE_KEY.fullmatch(key) else ascii(key) for key in path)))
