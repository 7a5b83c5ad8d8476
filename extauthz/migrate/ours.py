"""extauthz's own file from what was found and what the operator chose. What nobody said is left open, and denies.

An open place is one that the file cannot have from OpenClaw's, such as the address of a proxy that does not stand there
yet. It gets a value with which the gateway denies everything, and a note that says what belongs there.
"""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from extauthz.config.values import check_header_name
from extauthz.core.address import parse_address, parse_entry
from extauthz.core.origin import parse_configured_origin
from extauthz.core.rulesets import RULESETS
from extauthz.core.text import trim
from extauthz.migrate.found import Found
from extauthz.migrate.notes import MigrateError, Note
from extauthz.openclaw import references

NOBODY: Final = "to-be-filled-in@users.invalid"
"""Stands in `allowUsers` where nobody said who may come in. No mail domain ends in .invalid (RFC 2606)."""

_STANDARD: Final = "standard"
_OPENCLAW_2: Final = "openclaw-2026.2"
_OPENCLAW_9: Final = "openclaw-2026.9"
_LAST_OF_2: Final = (2026, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the operator says on the command line; it takes the place of what OpenClaw's file says."""

    gateway: str = "openclaw"
    """The gateway's id in our file."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and ranges of the identity-aware proxy."""
    user_header: str | None = None
    required_headers: tuple[str, ...] = ()
    allow_users: tuple[str, ...] = ()
    allow_everyone: bool = False
    """Let everyone in whom the proxy names."""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    ruleset: str | None = None
    proxy_addresses: tuple[str, ...] = ("127.0.0.1",)
    """From where the proxy that asks extauthz calls OpenClaw."""


@dataclass(slots=True)
class Ours:
    """Our file, and what is to be said about it.

    Attributes:
        gateway: The gateway's part of the file, as data.
        open: Places to fill in; until then everything is denied.
        notes: What was decided on the way, and what differs from OpenClaw's file.
    """

    gateway: dict[str, Any] = field(default_factory=dict)
    open: list[Note] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def propose(found: Found, choices: Choices, source: str) -> Ours:
    """Return our file for an installation.

    Args:
        found: The installation.
        choices: What the operator says beside it.
        source: The name of OpenClaw's file, for messages.

    Raises:
        MigrateError: What is there cannot be migrated without letting in who was not let in before.
    """
    ours = Ours()
    ruleset = choices.ruleset or _ruleset(found)
    origins = _origins(found, choices, source, ours)
    proxies = _trusted_proxies(found, choices, ours)
    rules: dict[str, Any] = {
        "userHeader": _user_header(found, choices, ours),
        "requiredHeaders": _required_headers(found, choices, ours),
        "allowUsers": _allow_users(found, choices, ours),
    }
    if found.mode == "trusted-proxy" and found.allow_loopback is not None:
        rules["allowLoopback"] = found.allow_loopback
    gateway: dict[str, Any] = {
        "hosts": _hosts(found, choices),
        "ruleset": ruleset,
        "trustedProxies": proxies,
        "auth": {"mode": "trusted-proxy", "trustedProxy": rules},
    }
    if ruleset == _OPENCLAW_9:
        # What OpenClaw does by itself: its own host is no proxy.
        gateway["localInterfaces"] = "auto"
        if found.allow_real_ip_fallback:
            gateway["allowRealIpFallback"] = True
    control_ui = {
        **({"allowedOrigins": origins} if origins else {}),
        **({"dangerouslyAllowHostHeaderOriginFallback": True} if found.host_header_origin_fallback else {}),
    }
    if control_ui:
        gateway["controlUi"] = control_ui
    _loopback(gateway, rules, ours)
    gateway["mode"] = _first_mode(found, ours)
    ours.gateway = gateway
    return ours


def _ruleset(found: Found) -> str:
    """Return the rules of the OpenClaw that decided until now, where one did by this mode; else ours."""
    if found.mode != "trusted-proxy":
        return _STANDARD
    return _OPENCLAW_2 if found.release is not None and found.release <= _LAST_OF_2 else _OPENCLAW_9


def _first_mode(found: Found, ours: Ours) -> str:
    if ours.open:
        return "enforce"
    if found.mode == "none":
        ours.notes.append(
            Note(
                "gateway.auth.mode",
                "is `none`: what shadow mode lets pass, OpenClaw would let in. extauthz enforces from the start",
            )
        )
        return "enforce"
    return "shadow"


def _trusted_proxies(found: Found, choices: Choices, ours: Ours) -> list[str]:
    entries: list[str] = list(choices.trusted_proxies)
    if not entries and found.mode == "trusted-proxy":
        for position, entry in enumerate(found.trusted_proxies):
            place = f"gateway.trustedProxies[{position}]"
            if references(entry):
                ours.notes.append(
                    Note(
                        place,
                        f"left out: what {_named(entry)} is, OpenClaw alone knows; say it as --trusted-proxy ADDR",
                    )
                )
                continue
            try:
                parse_entry(entry)
            except ValueError as error:
                ours.notes.append(Note(place, f"left out: {error}; correct it, or say it as --trusted-proxy ADDR"))
                continue
            entries.append(entry)
    elif found.trusted_proxies and found.mode != "trusted-proxy":
        ours.notes.append(
            Note(
                "gateway.trustedProxies",
                "is not taken over: in this mode its entries may say where a client is, not who it is. Say with "
                "--trusted-proxy which of them sign people in",
            )
        )
    if not entries:
        ours.open.append(
            Note(
                "trustedProxies",
                "the addresses from which the identity-aware proxy connects to the proxy that asks extauthz "
                "(--trusted-proxy ADDR)",
            )
        )
    return entries


def _user_header(found: Found, choices: Choices, ours: Ours) -> str:
    name = choices.user_header
    if name is None and found.mode == "trusted-proxy" and trim(found.user_header):
        try:
            name = check_header_name(found.user_header)
        except ValueError as error:
            ours.notes.append(Note("gateway.auth.trustedProxy.userHeader", f"left out: {error}"))
    if name is None:
        ours.open.append(
            Note(
                "auth.trustedProxy.userHeader",
                "the header in which the identity-aware proxy names who is signed in, and which it overwrites on every "
                "request (--user-header NAME)",
            )
        )
    return name or ""


def _required_headers(found: Found, choices: Choices, ours: Ours) -> list[str]:
    names = list(choices.required_headers)
    if not names and found.mode == "trusted-proxy":
        names = list(found.required_headers)
    for position, name in enumerate(names):
        if references(name):
            ours.open.append(
                Note(
                    f"auth.trustedProxy.requiredHeaders[{position}]",
                    f"the name that {_named(name)} stands for: extauthz puts in nothing from an environment "
                    "(--required-header NAME)",
                )
            )
    return names


def _allow_users(found: Found, choices: Choices, ours: Ours) -> list[str]:
    place = "auth.trustedProxy.allowUsers"
    if choices.allow_users:
        return list(choices.allow_users)
    if choices.allow_everyone:
        return []
    if found.mode != "trusted-proxy" or not found.has_rules:
        ours.open.append(
            Note(
                place,
                "who may come in, exactly as the proxy names them (--allow-user USER; or --allow-everyone for "
                "everyone whom it names)",
            )
        )
        return [NOBODY]
    if not found.allow_users:
        ours.notes.append(
            Note(
                f"gateway.{place}", "is empty: everyone whom the proxy names is let in. --allow-user USER narrows that"
            )
        )
    for position, user in enumerate(found.allow_users):
        if references(user):
            # Taken out, the list could become empty, and an empty one lets everyone in.
            ours.open.append(
                Note(
                    f"{place}[{position}]",
                    f"the user that {_named(user)} stands for: extauthz puts in nothing from an environment "
                    "(--allow-user USER)",
                )
            )
    return list(found.allow_users)


def _hosts(found: Found, choices: Choices) -> list[str]:
    if choices.hosts:
        return list(choices.hosts)
    host = _host_of(found.public_origin)
    return [host] if host else []


def _host_of(origin: str) -> str:
    """Return the host of an https origin that people use; "" where it is none."""
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return ""
    return host if parts.scheme == "https" and "." in host and parse_address(host) is None else ""


def _origins(found: Found, choices: Choices, source: str, ours: Ours) -> list[str]:
    """Return the browser's origins. An empty list is no question at all in some rulesets, so none becomes empty here.

    Raises:
        MigrateError: There are entries, and none of them can be used.
    """
    if choices.origins:
        return list(choices.origins)
    usable, faults = [], []
    for position, entry in enumerate(found.allowed_origins):
        place = f"gateway.controlUi.allowedOrigins[{position}]"
        try:
            if references(entry):
                raise ValueError(f"what {_named(entry)} is, OpenClaw alone knows; say it as --origin ORIGIN")  # noqa: TRY301
            if trim(entry) != "*":
                parse_configured_origin(entry)
        except ValueError as error:
            faults.append(Note(place, f"left out: {error}"))
        else:
            usable.append(entry)
    if faults and not usable:
        cure = Note("gateway.controlUi.allowedOrigins", "has no entry that can be used: say them as --origin ORIGIN")
        raise MigrateError(source, [*faults, cure])
    ours.notes += faults
    if usable or not found.control_ui or found.host_header_origin_fallback:
        return usable
    hosts = [host for host in _hosts(found, choices) if not host.startswith("*")]
    if hosts:
        proposed = [f"https://{host}" for host in hosts]
        ours.notes.append(
            Note(
                "gateway.controlUi.allowedOrigins",
                f"was missing, and is now {', '.join(proposed)}: what the browser shows before the path",
            )
        )
        return proposed
    ours.notes.append(
        Note(
            "gateway.controlUi.allowedOrigins",
            "is missing: OpenClaw refuses its Control UI to browsers. Say --origin https://HOST, or --host HOST",
        )
    )
    return []


def _named(text: str) -> str:
    """Return the references in a text, and no other part of it."""
    return " and ".join(f"${{{name}}}" for name in references(text))


def _loopback(gateway: dict[str, Any], rules: dict[str, Any], ours: Ours) -> None:
    allowed = rules.get("allowLoopback", RULESETS[gateway["ruleset"]].allow_loopback)
    for entry in gateway["trustedProxies"]:
        address = parse_address(entry)
        if not allowed and address is not None and address.loopback:
            ours.notes.append(
                Note(
                    "gateway.auth.trustedProxy.allowLoopback",
                    f"is not true: requests from {entry} are refused, as OpenClaw 2026.9 refuses them",
                )
            )
