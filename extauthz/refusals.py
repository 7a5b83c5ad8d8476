"""Too many refusals: when a denial is told as "too many" instead of with its reason. Never whether it is one.

The decision is made first, by the core, and an allow never comes here. So whatever is counted, and for whomever, nobody
who may enter is kept out by it.

Whose a denial is. A count belongs to whoever would be denied anyway, never to an address that others share with him:

- a user, where a trusted proxy named one: counted apart for each gateway and each proxy that names him, so that what
  one says of him changes nothing at another;
- else the address of a connection that is no trusted proxy's, at the gateway that it asked for: nothing that comes like
  that is let in;
- else a caller that may not ask, or an address that asked for no gateway that there is;
- else nobody. Behind a trusted proxy stand many, and without a name nothing tells them apart but headers that a client
  may have written. A 401 is nobody's either: it is how signing in begins, and "too many" in its place would be in the
  way of those who may enter.

An IPv6 address counts as its /64: whoever has one has all of it (RFC 4291, section 2.5.4).

Why not the `limits` library: its memory has no bound, it starts a thread for what expires, reads the wall clock, keeps
the names of users as they came, and takes 0.2 s to import. What is wanted is the count below.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Final

from extauthz.core import reasons
from extauthz.core.address import Address, parse_address
from extauthz.core.decision import Deny
from extauthz.core.request import Caller, Request

# Where there is no room, the one of so many that is owed the least makes some.
EYED: Final = 16
# What is kept of a name or an address: nobody's name, and no two that anybody could make alike.
_KEY_BYTES: Final = 16
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many in so long.

    Attributes:
        count: How many, at least one.
        seconds: In how many seconds.
    """

    count: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalLimits:
    """How many denials are told as what they are.

    Attributes:
        per_peer: Of one address; None: any number.
        per_user: Of one user; None: any number.
        tracked: How many addresses, and how many users, are remembered.
    """

    per_peer: RateLimit | None
    per_user: RateLimit | None
    tracked: int


class Owed:
    """How much each of many has asked for too often: the generic cell rate algorithm, in a bounded memory.

    Each denial is owed the time in which one is given: the period divided by the count. Who owes no more than a period
    is within the limit; so the count may come at once, and one more after each such time. What comes beyond is owed
    too, up to a second period: who goes on stays over the limit until he rests.

    When there is no room for a newcomer, one of EYED that are looked at by chance goes, the one who owes least: an
    attacker with many addresses makes those be forgotten which have hardly asked, and not the one over the limit.

    Not for several threads.

    Attributes:
        most: How many are remembered.
    """

    __slots__ = ("_chance", "_each", "_full", "_keys", "_until", "most")

    def __init__(self, rate: RateLimit, most: int, chance: Callable[[], float] | None = None) -> None:
        self.most: Final = most
        self._each: Final = rate.seconds * _SECOND_NS // rate.count
        self._full: Final = self._each * rate.count
        self._chance: Final = chance or Random().random  # noqa: S311 - nobody gains by knowing who is looked at
        self._until: Final[dict[bytes, int]] = {}  # when nothing is owed any more
        self._keys: Final[list[bytes]] = []

    def __len__(self) -> int:
        return len(self._until)

    def add(self, key: bytes, now: int) -> int:
        """Count one more; return 0 if that is within the limit, else for how long nothing would be.

        Args:
            key: Whose it is.
            now: Nanoseconds of a clock that never goes back.
        """
        before = self._until.get(key)
        if before is None:
            self._admit(key)
        start = now if before is None or before < now else before
        until = self._until[key] = min(start + self._each, now + 2 * self._full)
        over = until - now - self._full
        return over + self._each if over > 0 else 0

    def _admit(self, key: bytes) -> None:
        if len(self._keys) < self.most:
            self._keys.append(key)
            return
        places = [int(self._chance() * len(self._keys)) for _ in range(EYED)]
        place = min(places, key=lambda place: self._until[self._keys[place]])
        del self._until[self._keys[place]]
        self._keys[place] = key


class RefusalLimiter:
    """Looks at denials, from any thread, and says of each whether it is told as what it is.

    Attributes:
        limits: The limits. A reload that leaves them as they are keeps what is counted.
    """

    def __init__(self, limits: RefusalLimits, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Begin with nothing.

        Args:
            limits: The limits.
            clock: Nanoseconds of a clock that never goes back.
        """
        self.limits: Final = limits
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._secret: Final = os.urandom(_KEY_BYTES)
        self._peers: Final = _owed(limits.per_peer, limits.tracked)
        self._users: Final = _owed(limits.per_user, limits.tracked)

    @property
    def tracked(self) -> tuple[int, int]:
        """How many addresses and how many users are remembered."""
        with self._lock:
            return len(self._peers or ()), len(self._users or ())

    def weigh(self, request: Request, denial: Deny) -> Deny:
        """Count a denial, and return it: as it came, or with the time after which the client may ask again."""
        whose = whose_is(request, denial)
        if whose is None:
            return denial
        owed = self._users if denial.user else self._peers
        if owed is None:
            return denial
        key = blake2b(whose.encode(errors="surrogatepass"), digest_size=_KEY_BYTES, key=self._secret).digest()
        with self._lock:
            # The clock is read under the lock: one that went back would forgive.
            left = owed.add(key, self._clock())
        return denial._replace(retry_after=-(-left // _SECOND_NS)) if left else denial


def whose_is(request: Request, denial: Deny) -> str | None:
    """Return whose a denial is, in a form that no other has; None if it is nobody's and never counted."""
    reason, gateway = denial.reason, denial.gateway
    if reason is reasons.INTERNAL_ERROR or reason.status == 401:
        return None
    if denial.user and gateway is not None:
        return f"user\n{gateway.id}\n{_group(denial.peer)}\n{denial.user}"
    if reason is reasons.CALLER_NOT_ALLOWED:
        return f"caller\n{gateway.id if gateway is not None else ''}\n{_caller(request.caller)}"
    if gateway is None:
        source = parse_address(request.source)
        return f"lost\n{_group(source)}" if source is not None else f"lost caller\n{_caller(request.caller)}"
    if denial.peer is None:
        return f"nowhere\n{gateway.id}\n{_caller(request.caller)}"
    trusted = gateway.trusts(denial.peer, request.principal)
    return None if trusted else f"peer\n{gateway.id}\n{_group(denial.peer)}"


def _caller(caller: Caller) -> str:
    return _group(caller.address) if caller.address is not None else str(caller)


def _group(address: Address | None) -> str:
    """Return an IPv4 address, or the /64 of an IPv6 address, in whatever zone."""
    if address is None:
        return ""
    return f"4 {address.number}" if address.version == 4 else f"6 {address.number >> 64}"


def _owed(rate: RateLimit | None, most: int) -> Owed | None:
    return Owed(rate, most) if rate is not None else None
