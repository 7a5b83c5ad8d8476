"""The policy in force: gateways as compiled, and which of them a request belongs to.

Everything here is immutable and made once per configuration; what does not depend on the request is worked out
in these constructors and not while a request waits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from extauthz.core.address import Address, AddressSet
from extauthz.core.assertion import Assertion
from extauthz.core.origin import host_name
from extauthz.core.principals import Principals
from extauthz.core.reasons import MISSING_HEADER, Reason
from extauthz.core.request import Caller
from extauthz.core.rulesets import Ruleset
from extauthz.core.step import Step
from extauthz.core.text import canonical, fold, trim

# A service's callers are few and come again: what was found out about this many of them is remembered.
REMEMBERED_CALLERS: Final = 1024
# Of thousands of gateways most have the same headers: what becomes of them is worked out once, and shared.
REMEMBERED_NAMES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Callers:
    """Who may ask (design.md, `callers`).

    Attributes:
        addresses: The addresses a caller may have; None leaves the address open.
        unix: Callers on a unix socket may ask.
        principals: Where not empty, a caller must show a client certificate with one of these SANs.
    """

    addresses: AddressSet | None
    unix: bool = False
    principals: frozenset[str] = frozenset()

    # What was found out; kept here, so that it goes with the policy.
    _known: dict[Caller, bool] = field(init=False, default_factory=dict, repr=False)

    def admit(self, caller: Caller) -> bool:
        """Tell whether this caller may ask: an address here and, where principals are given, one of them."""
        known = self._known
        admitted = known.get(caller)
        if admitted is None:
            if len(known) >= REMEMBERED_CALLERS:
                known.clear()
            admitted = known[caller] = self._admits(caller)
        return admitted

    def _admits(self, caller: Caller) -> bool:
        if self.addresses is not None:
            if caller.unix:
                if not self.unix:
                    return False
            elif caller.address is None or caller.address not in self.addresses:
                return False
        return not self.principals or not self.principals.isdisjoint(caller.principals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """One entry of `requiredHeaders`.

    Attributes:
        name: The name by which the header is looked up.
        missing: The reason if it is blank: the name in it is as configured, case and white space kept.
    """

    name: str
    missing: Reason

    @classmethod
    @lru_cache(REMEMBERED_NAMES)
    def configured(cls, entry: str) -> "Required":
        """Make one from the text of the configuration."""
        return cls(
            name=fold(trim(entry)), missing=replace(MISSING_HEADER, code=MISSING_HEADER.code + entry, open_ended=False)
        )


# The note of a name that nobody has asked about yet.
NOT_RESOLVED: Final = "not resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerName:
    """One name in `trustedProxies`, and whom it stands for while this policy is in force.

    Attributes:
        entry: As in the file: dns:traefik.internal.
        addresses: Its addresses; none while it is not resolved, and then it trusts nobody.
        note: Since when that is so, or why it has none, for people.
    """

    entry: str
    addresses: tuple[Address, ...] = ()
    note: str = NOT_RESOLVED

    def __str__(self) -> str:
        known = ", ".join(map(str, self.addresses)) or "nobody"
        return f"{self.entry} stands for {known} ({self.note})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gateway:
    """One gateway's policy. The names are those of the configuration file, where each is explained.

    Attributes:
        configured: There is an `auth.trustedProxy` block.
        peer_is_caller: `peer: caller`: the peer is who asks, not the address that the proxy reports.
        trusted_proxies: All addresses and ranges, those that the names stand for too.
        trusted_principals: Whose certificate makes a trusted proxy; None where the file lists none.
        require_all: `require: all`: a trusted proxy has a trusted address and a trusted principal, not one of both.
        peer_names: The names in `trustedProxies`.
        user_header: Folded and trimmed; "" if it is not set.
        assertion: The signed token that has to come, and names the user where `user_header` does not; None if none.
        local_interfaces: This host's own addresses; None if they could not be read.
        output_headers: The names that an allow sets besides `user_header`, in the file's order.
        reads: The headers whose values the ruleset looks at.
        asked: The steps that some request could fail here; the others are settled by the configuration.
        protected: The names that no client may set, neither by name nor by alias.
        protected_plain: All of these are made of letters, digits and "-", so that no name like that is an alias.
    """

    id: str
    ruleset: Ruleset
    hosts: tuple[str, ...] = ()
    callers: Callers | None = None
    peer_is_caller: bool = False
    shadow: bool = False
    configured: bool = True
    trusted_proxies: AddressSet = AddressSet()  # noqa: RUF009 - immutable
    peer_names: tuple[PeerName, ...] = ()
    trusted_principals: Principals | None = None
    require_all: bool = False
    allow_loopback: bool = False
    local_interfaces: frozenset[Address] | None = frozenset()
    required_headers: tuple[Required, ...] = ()
    user_header: str = ""
    assertion: Assertion | None = None
    allow_users: frozenset[str] = frozenset()
    allow_comma_in_user: bool = False
    allow_real_ip_fallback: bool = False
    any_origin: bool = False
    allowed_origins: frozenset[str] = frozenset()
    host_origin_fallback: bool = False
    output_headers: tuple[str, ...] = ()

    reads: tuple[str, ...] = field(init=False)
    asked: tuple[Step, ...] = field(init=False)
    protected: frozenset[str] = field(init=False)
    protected_canonical: frozenset[str] = field(init=False)
    protected_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        protected, canonically = _protected(self.output_headers, self.user_header)
        reads = dict.fromkeys(name for step in self.ruleset.steps for name in step.reads(self))
        object.__setattr__(self, "reads", tuple(reads))
        object.__setattr__(self, "asked", tuple(step for step in self.ruleset.whole if not step.settled(self)))
        object.__setattr__(self, "protected", protected)
        object.__setattr__(self, "protected_canonical", canonically)
        object.__setattr__(self, "protected_plain", protected == canonically)

    def trusts(self, peer: Address, principal: str) -> bool:
        """Tell whether a connection is the trusted proxy's: by its address, by its principal, or by both.

        The steps of the rulesets say the same, each its part, with the reason.
        """
        if self.trusted_principals is None:
            return peer in self.trusted_proxies
        if self.require_all:
            return peer in self.trusted_proxies and principal in self.trusted_principals
        return peer in self.trusted_proxies or principal in self.trusted_principals

    @property
    def names_proxy(self) -> bool:
        """There is something by which a proxy is trusted, though a name may stand for nobody just now."""
        return bool(self.trusted_proxies or self.peer_names or self.trusted_principals)

    @property
    def names_user(self) -> bool:
        """There is something that names the user: a header, or an assertion."""
        return bool(self.user_header) or self.assertion is not None

    def aliases(self, names: Iterable[str]) -> list[str]:
        """Return those of the folded names that are aliases: to some servers a protected one, without being it."""
        return [name for name in names if canonical(name) in self.protected_canonical and name not in self.protected]


@lru_cache(REMEMBERED_NAMES)
def _protected(output_headers: tuple[str, ...], user_header: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that no client may set, and their canonical forms."""
    protected = frozenset(name for name in (*output_headers, user_header) if name)
    return protected, frozenset(map(canonical, protected))


# RFC 1035, section 2.3.4: no name is longer, so no longer one is looked up label by label.
LONGEST_HOST_CHARACTERS: Final = 253


class HostConflictError(ValueError):
    """Two gateways claim the same host."""


class Policy:
    """All gateways, and the rules that come before any of them.

    Attributes:
        callers: Who may ask at all.
        gateways: By id.
        most_headers: Distinct header names in one request.
        longest_header_bytes: Bytes of one header's name, or of its joined values.
    """

    __slots__ = (
        "_by_host",
        "_by_id",
        "_by_suffix",
        "_only",
        "callers",
        "gateways",
        "longest_header_bytes",
        "most_headers",
    )

    def __init__(
        self, gateways: Iterable[Gateway], *, callers: Callers, most_headers: int, longest_header_bytes: int
    ) -> None:
        """Compile the host tables.

        Raises:
            HostConflictError: The same host stands in two gateways.
        """
        self.callers: Final = callers
        self.most_headers: Final = most_headers
        self.longest_header_bytes: Final = longest_header_bytes
        self._by_id: Final = {gateway.id: gateway for gateway in gateways}
        self.gateways: Final[Mapping[str, Gateway]] = self._by_id
        by_host: dict[str, Gateway] = {}
        by_suffix: dict[str, Gateway] = {}
        for gateway in self.gateways.values():
            for host in map(fold, gateway.hosts):
                table, key = (by_suffix, host[1:]) if host.startswith("*.") else (by_host, host)
                if table.setdefault(key, gateway) is not gateway:
                    raise HostConflictError(f"host {host!r} is in gateway {table[key].id!r} and in {gateway.id!r}")
        self._by_host: Final = by_host
        self._by_suffix: Final = by_suffix
        only = next(iter(self.gateways.values())) if len(self.gateways) == 1 else None
        self._only: Final = only if only is not None and not only.hosts else None

    def replaced(self, gateways: Mapping[str, Gateway]) -> "Policy":
        """Return this policy with other gateways in the place of those with the same id and the same hosts."""
        return Policy(
            (gateways.get(name, gateway) for name, gateway in self.gateways.items()),
            callers=self.callers,
            most_headers=self.most_headers,
            longest_header_bytes=self.longest_header_bytes,
        )

    def select(self, named: str | None, host: str) -> Gateway | None:
        """Return the gateway that a request belongs to, or None: then it belongs to none and is denied.

        Args:
            named: What the proxy's own configuration says; if it says anything, nothing else counts.
            host: The request's host: exact, then the longest wildcard, port and case ignored.
        """
        if named is not None:
            return self._by_id.get(named)
        if self._by_host or self._by_suffix:
            name = host_name(host)
            found = self._by_host.get(name)
            if found is not None:
                return found
            # A wildcard stands for one label or more; the dots are walked from the left, so the longest wins.
            dot = name.find(".", 1) if len(name) <= LONGEST_HOST_CHARACTERS else -1
            while dot != -1:
                found = self._by_suffix.get(name[dot:])
                if found is not None:
                    return found
                dot = name.find(".", dot + 1)
        return self._only
