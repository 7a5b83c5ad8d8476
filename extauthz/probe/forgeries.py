"""What a client sends to become someone else: which headers, in which forms, with which marks. Nothing is sent here.

The forms are the rows of the attacks in docs/security.md, whose tests use them from here. Each forged value holds a
mark that was never used before: where the mark is seen, that very header has passed.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from extauthz.proxies.values import CLIENTS_WORD

Headers = tuple[tuple[str, str], ...]
"""Names and values as Latin-1 text: one sign a byte."""

LONG: Final = "8 KiB long"
"""The form of that name."""
LONG_BYTES: Final = 8192
"""The length of a long value, in bytes."""

KNOWN_IDENTITY: Final = (
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "x-auth-request-user",
    "x-auth-request-email",
    "remote-user",
    "x-remote-user",
    "x-webauth-user",
    "x-pomerium-claim-email",
    "x-pomerium-jwt-assertion",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "tailscale-user-login",
    "x-authentik-username",
    "x-goog-authenticated-user-email",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-identity",
    "x-amzn-oidc-data",
    "x-ms-client-principal-name",
)
"""Headers in which well-known proxies name the user, and in which some Gateway may look for one."""

FORWARDED: Final = ("x-forwarded-for", "x-forwarded-proto", *CLIENTS_WORD)
"""Headers that say where a request comes from, or what it was meant to be."""

COPIES: Final[Mapping[str, Callable[[str, str], Headers]]] = {
    "plain": lambda name, value: ((name, value),),
    "twice": lambda name, value: ((name, value), (name, f"second-{value}")),
    "empty": lambda name, _: ((name, ""),),
    "empty and full": lambda name, value: ((name, ""), (name, value), (name, "")),
    "in upper case": lambda name, value: ((name.upper(), value),),
    LONG: lambda name, value: ((name, value.ljust(LONG_BYTES, "a")),),
    "with odd bytes": lambda name, value: ((name, f"\xff\xfe{value}\x80"),),
    "folded over two lines": lambda name, value: ((name, f"{value}\r\n {value}"),),
}
"""How a client sends its copy of a header, under the header's own name."""

HOP_BY_HOP: Final[Mapping[str, Callable[[str, str], Headers]]] = {
    "named in Connection": lambda name, value: (("Connection", f"keep-alive, {name}"), (name, value)),
    "named in Connection alone": lambda name, _: (("Connection", name.title()),),
}
"""How a client bids a proxy to drop a header on its way (RFC 9110, section 7.6.1)."""

ALIASES: Final[Mapping[str, Callable[[str, str], Headers]]] = {
    "as an alias with _": lambda name, value: ((name.replace("-", "_"), value),),
    "as an alias with .": lambda name, value: ((name.replace("-", "."), value),),
}
"""How a client sends its copy under a name that CGI, WSGI and PHP take for the header's own."""

FORMS: Final[Mapping[str, Callable[[str, str], Headers]]] = {**COPIES, **HOP_BY_HOP, **ALIASES}
"""All of them."""

_ADDRESSES: Final = frozenset({"x-forwarded-for", "x-real-ip", "x-extauthz-peer"})
_PATHS: Final = frozenset(name for name in FORWARDED if name.endswith(("-uri", "-url", "-prefix")))


@dataclass(frozen=True, slots=True)
class Forged:
    """Headers to send, and which header each mark in them stands for."""

    headers: Headers
    marks: Mapping[str, str]
    """Header name by mark."""


def forge(names: Iterable[str], form: str = "plain", *, value: str | None = None) -> Forged:
    """Forge these headers in one form of `FORMS`, each with a fresh mark, or with this value and without marks."""
    headers: list[tuple[str, str]] = []
    marks: dict[str, str] = {}
    for name in names:
        mark, marked = _marked(name)
        headers += FORMS[form](name, marked if value is None else value)
        if value is None:
            marks[mark] = name
    return Forged(tuple(headers), marks)


def fresh_word() -> str:
    """Return a word of lower-case letters and digits that nobody has seen, 64 bits of chance in it."""
    return f"probe{secrets.token_hex(8)}"


def _marked(name: str) -> tuple[str, str]:
    """Return a fresh mark and a value with it that is of the kind that the header has."""
    word = fresh_word()
    if name in _ADDRESSES:
        address = _fresh_address()
        return address, address
    if name == "forwarded":
        return word, f'for="[{_fresh_address()}]";host={word}.invalid;proto=https'
    if name == "x-forwarded-host":
        return word, f"{word}.invalid"
    return word, f"/{word}" if name in _PATHS else word


def _fresh_address() -> str:
    # Of the range for documentation (RFC 3849), without a zero that some program would write otherwise.
    groups = (f"{secrets.randbelow(0xEFFF) + 0x1000:x}" for _ in range(6))
    return f"2001:db8:{':'.join(groups)}"
