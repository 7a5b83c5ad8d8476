"""How each finding about the service itself is found: functions from the view to what was seen."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from extauthz.audit import ranges
from extauthz.audit.finding import quoted
from extauthz.audit.keys import KeyFacts
from extauthz.audit.ranges import Entry
from extauthz.config.schema import Accepted, Settings
from extauthz.config.values import UNIX, Endpoint
from extauthz.core.address import parse_entry

LONGEST_KEY_AGE_DAYS: Final = 90
_DAY_SECONDS: Final = 86_400

_Broad: TypeAlias = Callable[[list[Entry]], Iterator[str]]

Unmatched: TypeAlias = list[tuple[int, Accepted]]
"""Entries of `accepted` for which no finding has come up, with their positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """What the auditor sees of the service.

    Attributes:
        settings: The whole file.
        keys: The key files that it names.
        now: Unix seconds.
    """

    settings: Settings
    keys: KeyFacts
    now: float


def everyone_may_ask(service: ServiceView) -> Iterator[str]:
    """A door is open beyond this host, asks for no certificate, and its callers are everybody."""
    return _exposed(service.settings, ranges.everything)


def many_may_ask(service: ServiceView) -> Iterator[str]:
    """The same, where the callers are a network and not a proxy."""
    return _exposed(service.settings, ranges.wide)


def _exposed(settings: Settings, broad: _Broad) -> Iterator[str]:
    doors = list(_open_doors(settings))
    if not doors:
        return
    everyone = _entries("callers", settings.callers.addresses)
    found: dict[str, None] = {}  # in order, each once
    for name, gateway in settings.gateways.items():
        own = gateway.callers
        if own is not None and own.principals:
            continue
        lists = [everyone]
        if own is not None and own.addresses is not None:
            lists.append(_entries(f"gateways.{name}.callers", own.addresses))
        # Who asks must be in both lists, so it is the narrower one that counts.
        narrowest = min(lists, key=_breadth)
        found.update(dict.fromkeys(broad(narrowest)))
    if found:
        yield f"{', '.join(doors)}, without client certificates"
        yield from found


def refusals_unlimited(service: ServiceView) -> Iterator[str]:
    """Other hosts reach a door, and nobody is ever told that it was too often."""
    settings = service.settings
    if settings.limits.refusals is not None:
        return
    doors = (("grpc", settings.listen.grpc), ("http", settings.listen.http))
    found = [f"listen.{door} is {text}" for door, texts in doors for text in texts if not Endpoint.parse(text).is_local]
    if found:
        yield f"{', '.join(found)}, and limits.refusals is not set"


def _breadth(entries: list[Entry]) -> int:
    if any(ranges.everything(entries)):
        return 2
    return 1 if any(ranges.wide(entries)) else 0


def _open_doors(settings: Settings) -> Iterator[str]:
    """Yield the listeners that other hosts reach and where an address is all that a caller has to show."""
    if settings.callers.principals:
        return
    certificates = settings.tls is not None and settings.tls.client_ca is not None
    doors = (
        {"http": settings.listen.http} if certificates else {"grpc": settings.listen.grpc, "http": settings.listen.http}
    )
    for door, listeners in doors.items():
        for text in listeners:
            if not Endpoint.parse(text).is_local:
                yield f"listen.{door} is {text}"


def _entries(place: str, addresses: Iterable[str]) -> list[Entry]:
    """Return who may come from beyond this host: neither `unix` nor loopback, however wide."""
    entries = [
        Entry(f"{place}.addresses[{position}]", parse_entry(text))
        for position, text in enumerate(addresses)
        if text != UNIX
    ]
    return [entry for entry in entries if not ranges.is_loopback(entry)]


def stamp_disabled(service: ServiceView) -> Iterator[str]:
    """Nothing is signed."""
    if not service.settings.stamp.enabled:
        yield "stamp.enabled is false: a Gateway cannot tell what extauthz allowed from what anybody sent"


def key_open_to_everyone(service: ServiceView) -> Iterator[str]:
    """Everyone on the host can use a private key."""
    return (str(file) for file in service.keys.files if file.open_to_everyone)


def key_open_to_group(service: ServiceView) -> Iterator[str]:
    """The group can use a private key."""
    return (str(file) for file in service.keys.files if file.open_to_group)


def key_old(service: ServiceView) -> Iterator[str]:
    """The key that signs was made long ago."""
    key = service.keys.signing
    days = int((service.now - key.created_at) // _DAY_SECONDS) if key is not None else 0
    if key is not None and service.now - key.created_at > LONGEST_KEY_AGE_DAYS * _DAY_SECONDS:
        yield f"stamp.keys: {key.file} signs, and is {days} days old"


def keys_unread(service: ServiceView) -> Iterator[str]:
    """A key could not be looked at."""
    return iter(service.keys.unread)


def shadow_mode(service: ServiceView) -> Iterator[str]:
    """The mode of the service is shadow, for gateways that have none of their own."""
    names = [name for name, gateway in service.settings.gateways.items() if gateway.mode is None]
    if service.settings.mode == "shadow" and names:
        yield f"mode is shadow, for {_named(names)}: what would be denied passes, without an identity"


def chosen_by_host(service: ServiceView) -> Iterator[str]:
    """Several gateways have hosts: where the proxy names none, the client's Host chooses."""
    names = [name for name, gateway in service.settings.gateways.items() if gateway.hosts]
    if len(names) > 1:
        yield f"gateways.*.hosts: {_named(names)} are chosen by the request's Host where the proxy names no gateway"


def accepted_unmatched(unmatched: Unmatched) -> Iterator[str]:
    """What was accepted is not there, or is not called so."""
    for position, entry in unmatched:
        where = f"for gateway {entry.gateway}" if entry.gateway is not None else "for the service"
        yield f"accepted[{position}] is {quoted(entry.id)} {where}"


def _named(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:5])} and {len(names) - 5} more"
