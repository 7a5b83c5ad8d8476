"""The names of a configuration and whom they stand for, to be put into force; each change is logged and counted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from extauthz.config.load import Loaded
from extauthz.config.peer_names import DNS_PREFIX, names_in, parse_server
from extauthz.config.values import seconds
from extauthz.core.policy import NOT_RESOLVED, PeerName
from extauthz.logs import get_logger
from extauthz.peers.known import CHANGES, Bounds, Moment, PeerStatus
from extauthz.peers.lookup import DnsLookup
from extauthz.peers.resolver import Lookup, Resolver, now

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """How names are resolved.

    Attributes:
        servers: Addresses and ports of name servers; none: those of this host.
        timeout: For one question, in seconds.
        bounds: How long answers count.
    """

    servers: tuple[tuple[str, int], ...]
    timeout: float
    bounds: Bounds

    @classmethod
    def configured(cls, loaded: Loaded) -> "PeerSettings":
        """Take them from a checked file."""
        dns = loaded.settings.dns
        return cls(
            servers=tuple(map(parse_server, dns.servers)),
            timeout=seconds(dns.timeout),
            bounds=Bounds(min_ttl=seconds(dns.min_ttl), max_ttl=seconds(dns.max_ttl), keep=seconds(dns.keep)),
        )


def wanted_names(loaded: Loaded) -> list[str]:
    """Return the names in the `trustedProxies` of all gateways, each once."""
    return list(
        dict.fromkeys(name for one in loaded.settings.gateways.values() for name in names_in(one.trusted_proxies))
    )


class Peers:
    """Whom names stand for.

    `want` and `look` are for one thread, the one that puts policies into force. The others are for any thread.
    """

    def __init__(
        self,
        news: Callable[[], None] = lambda: None,
        *,
        lookup: Callable[[Sequence[tuple[str, int]], float], Lookup] = DnsLookup,
        clock: Callable[[], Moment] = now,
    ) -> None:
        """Begin without names.

        Args:
            news: Called by another thread when it is time for a `look`.
            lookup: Makes what asks, from servers and the time for a question.
            clock: This moment.
        """
        self._resolver: Final = Resolver(news, clock)
        self._make_lookup: Final = lookup
        self._clock: Final = clock
        self._asked: tuple[tuple[tuple[str, int], ...], float] | None = None
        self._lookup: Lookup | None = None
        self._peers: Mapping[str, PeerName] = {}
        self._faults: dict[str, str] = {}
        self._changes: dict[str, dict[str, int]] = {}

    def want(self, names: Iterable[str], settings: PeerSettings) -> None:
        """Resolve these names from now on; what is known of those that were wanted before stays."""
        servers = (settings.servers, settings.timeout)
        if self._lookup is None or servers != self._asked:
            self._lookup, self._asked = self._make_lookup(*servers), servers
        names = list(names)
        # Whole new ones, because others may be reading these.
        self._peers = {name: self._peers.get(name) or PeerName(entry=DNS_PREFIX + name) for name in names}
        self._faults = {name: self._faults.get(name, "") for name in names}
        self._changes = {name: self._changes.get(name) or dict.fromkeys(CHANGES, 0) for name in names}
        self._resolver.want(names, self._lookup, settings.bounds)

    def start(self) -> None:
        """Ask from now on, in threads."""
        self._resolver.start()

    def wait(self, seconds: float) -> bool:
        """Wait until each name was asked about once, for so long at most; returns whether that is so."""
        return self._resolver.wait(seconds)

    def ask(self) -> bool:
        """Ask about the name that is due for longest, in this thread; returns whether one was."""
        return self._resolver.ask()

    def close(self) -> None:
        """Ask no more."""
        self._resolver.close()

    def statuses(self) -> tuple[PeerStatus, ...]:
        """Return what is known of each name at this moment."""
        changes = self._changes
        return tuple(replace(one, changes=changes.get(one.name, {})) for one in self._resolver.statuses())

    def look(self) -> Mapping[str, PeerName]:
        """Return whom each name stands for now, and tell what changed since the last time.

        As long as nothing does, it is the same object: nobody need go through thousands of gateways for it.
        """
        changed = {}
        for status in self._resolver.statuses():
            if not status.asked:
                continue
            self._tell_fault(status)
            before = self._peers[status.name]
            if status.addresses != before.addresses:
                self._tell_change(status, before)
                changed[status.name] = self._peer(status)
            elif not status.addresses and before.note == NOT_RESOLVED:
                # Why, as it was at first: a fault that alternates is no reason for another policy each time.
                changed[status.name] = self._peer(status)
        if changed:
            self._peers = {**self._peers, **changed}
        return self._peers

    def _peer(self, status: PeerStatus) -> PeerName:
        since = datetime.fromtimestamp(self._clock().time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        note = f"since {since}" if status.addresses else f"since {since}: {status.fault or 'no answer in time'}"
        return PeerName(entry=DNS_PREFIX + status.name, addresses=status.addresses, note=note)

    def _tell_change(self, status: PeerStatus, before: PeerName) -> None:
        told: dict[str, Any] = {
            "name": status.name,
            "addresses": list(map(str, status.addresses)),
            "added": [str(one) for one in status.addresses if one not in before.addresses],
            "removed": [str(one) for one in before.addresses if one not in status.addresses],
        }
        if status.addresses:
            self._changes[status.name]["somebody"] += 1
            _log.info("the addresses of a trusted name changed", **told)
        else:
            self._changes[status.name]["nobody"] += 1
            _log.error("a trusted name trusts nobody any more", **told, error=status.fault)

    def _tell_fault(self, status: PeerStatus) -> None:
        before, self._faults[status.name] = self._faults[status.name], status.fault
        if status.fault == before:
            return
        told: dict[str, Any] = {"name": status.name, "addresses": list(map(str, status.addresses))}
        if not status.fault:
            _log.info("a trusted name can be resolved", **told)
        elif status.lapses is not None:
            tell = _log.error if status.refused else _log.warning
            left = round(status.lapses)
            tell("a trusted name cannot be resolved, its last answer is kept", **told, error=status.fault, seconds=left)
        else:
            _log.error("a trusted name cannot be resolved: it trusts nobody", **told, error=status.fault)


def _asked_now(status: PeerStatus) -> str:
    fault = status.fault if status.asked else "no answer in time"
    return f"asked just now: {fault}" if fault else "asked just now"


def resolve_once(loaded: Loaded, most_seconds: float) -> dict[str, PeerName]:
    """Ask about each name of a file once, in so many seconds at most; a name without an answer then trusts nobody."""
    names = wanted_names(loaded)
    if not names:
        return {}
    peers = Peers()
    peers.want(names, PeerSettings.configured(loaded))
    peers.start()
    try:
        peers.wait(most_seconds)
        return {
            status.name: PeerName(
                entry=DNS_PREFIX + status.name,
                addresses=status.addresses,
                note=_asked_now(status),
            )
            for status in peers.statuses()
        }
    finally:
        peers.close()
