"""What of an OpenClaw `gateway` block concerns us, with its types checked. All else of it is not looked at here."""

import re
from dataclasses import dataclass
from typing import Any, Final

from extauthz.migrate.notes import MigrateError, Note
from extauthz.openclaw import OpenClawFile, auth_mode, variables
from extauthz.openclaw.values import AUTH_MODES, AuthMode

DEFAULT_PORT: Final = 18789
"""Where OpenClaw listens if nothing says otherwise."""

TOKEN_VARIABLES: Final = ("OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_PASSWORD")
"""Variables that OpenClaw takes its token and its password from, whatever the file says."""

_RELEASE: Final = re.compile(r"(20\d\d)\.(\d{1,2})(?:\D|$)", re.ASCII)
_WANTED: Final = {str: "text", bool: "true or false", int: "a number", dict: "an object", list: "a list of texts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An installation of OpenClaw, as far as it concerns us. Secrets are not in it."""

    mode: AuthMode
    port: int | None
    """None: it is a reference, and not known here."""
    bind: str | None
    release: tuple[int, int] | None
    """Year and month of the release that last wrote the file."""
    trusted_proxies: tuple[str, ...]
    has_rules: bool
    """Whether there is an `auth.trustedProxy`."""
    user_header: str
    required_headers: tuple[str, ...]
    allow_users: tuple[str, ...]
    allow_loopback: bool | None
    allow_real_ip_fallback: bool
    control_ui: bool
    """Whether the Control UI is on."""
    allowed_origins: tuple[str, ...]
    host_header_origin_fallback: bool
    public_origin: str
    tailscale: str
    allow_tailscale: bool
    tls: bool
    ingress: bool
    """Whether OpenClaw opens a port of its own for portals."""
    has_token: bool
    """Whether the file has a token or a password, or says where one is kept."""
    has_remote_token: bool
    """Whether there is a token for a Gateway elsewhere."""
    variables: tuple[str, ...]
    """Environment variables in which the token or the password is, or may be, kept."""
    variables_in_file: tuple[str, ...]
    """Those of them that OpenClaw's file itself sets."""


class _Reader:
    """Typed looks into a mapping; every wrong type is a fault, all of them told at once."""

    def __init__(self, data: dict[str, Any], prefix: str) -> None:
        self._data = data
        self._prefix = prefix
        self.faults: list[Note] = []

    def get(self, path: str, kind: type, default: Any = None) -> Any:
        """Return the value at a dotted path; the default where there is none or one of another type."""
        value: Any = self._data
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self._fault(path, kind)
            return default
        return value

    def texts(self, path: str) -> tuple[str, ...]:
        """Return the list of texts at a dotted path."""
        value = self.get(path, list, [])
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        self._fault(path, list)
        return ()

    def _fault(self, path: str, kind: type) -> None:
        self.faults.append(Note(f"{self._prefix}.{path}", f"must be {_WANTED[kind]}; OpenClaw refuses it too"))


def look(file: OpenClawFile) -> Found:
    """Find what concerns us.

    Raises:
        MigrateError: Something of it has a type or a value that OpenClaw itself refuses, or this is a file of an
            OpenClaw that has no Gateway.
    """
    read = _Reader(file.gateway, "gateway")
    for block in ("auth", "auth.trustedProxy", "controlUi", "tailscale", "tls"):
        read.get(block, dict)
    mode = auth_mode(file.gateway)
    if mode is None:
        read.faults.append(Note("gateway.auth.mode", f"must be one of {', '.join(AUTH_MODES)}"))
    if read.get("mode", str, "local") != "local":
        told = "is not `local`: this OpenClaw has no Gateway of its own. Give the file of the host that has it"
        read.faults.append(Note("gateway.mode", told))
    port: Any = file.gateway.get("port", DEFAULT_PORT)
    auth = read.get("auth", dict, {})
    secrets = [auth.get("token"), auth.get("password")]
    names = tuple(dict.fromkeys([*TOKEN_VARIABLES, *(name for one in secrets for name in variables(one))]))
    found = Found(
        mode=mode or "token",  # type: ignore[arg-type]  # one of AUTH_MODES, or there is a fault
        port=None if isinstance(port, str) else read.get("port", int, DEFAULT_PORT),
        bind=read.get("bind", str),
        release=_release(file.data),
        trusted_proxies=read.texts("trustedProxies"),
        has_rules=read.get("auth.trustedProxy", dict) is not None,
        user_header=read.get("auth.trustedProxy.userHeader", str, ""),
        required_headers=read.texts("auth.trustedProxy.requiredHeaders"),
        allow_users=read.texts("auth.trustedProxy.allowUsers"),
        allow_loopback=read.get("auth.trustedProxy.allowLoopback", bool),
        allow_real_ip_fallback=read.get("allowRealIpFallback", bool, default=False),
        control_ui=read.get("controlUi.enabled", bool, default=True),
        allowed_origins=read.texts("controlUi.allowedOrigins"),
        host_header_origin_fallback=read.get("controlUi.dangerouslyAllowHostHeaderOriginFallback", bool, default=False),
        public_origin=read.get("publicOrigin", str, ""),
        tailscale=read.get("tailscale.mode", str, "off"),
        allow_tailscale=read.get("auth.allowTailscale", bool, default=False),
        tls=read.get("tls.enabled", bool, default=False),
        ingress=read.get("portals.ingress", dict) is not None,
        has_token=any(secret is not None for secret in secrets),
        has_remote_token=read.get("remote", dict, {}).get("token") is not None,
        variables=names,
        variables_in_file=tuple(name for name in names if name in _set_in_file(file.data)),
    )
    if read.faults:
        raise MigrateError(str(file.file), read.faults)
    return found


def _release(data: dict[str, Any]) -> tuple[int, int] | None:
    meta = data.get("meta")
    release = meta.get("lastTouchedVersion") if isinstance(meta, dict) else None
    known = _RELEASE.match(release) if isinstance(release, str) else None
    return (int(known[1]), int(known[2])) if known else None


def _set_in_file(data: dict[str, Any]) -> frozenset[str]:
    env = data.get("env")
    inline = env.get("vars") if isinstance(env, dict) else None
    return frozenset(name for block in (env, inline) if isinstance(block, dict) for name in block)
