"""What every check asks with: the names to forge, the clients, and the requests that others are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from extauthz.gateway.arrivals import PROBE_HEADER
from extauthz.gateway.headers import HeaderNames
from extauthz.probe.client import Budget, Client
from extauthz.probe.forgeries import KNOWN_IDENTITY, Forged, Headers, fresh_word
from extauthz.probe.limits import Limits
from extauthz.probe.seen import NOTHING, Seen, see

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from extauthz.probe.target import Target

_OURS: Final = HeaderNames()
DEFAULT_USER_HEADER: Final = "x-forwarded-user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Which headers say who somebody is, in lower case."""

    user: tuple[str, ...] = (DEFAULT_USER_HEADER,)
    """The gateway's `userHeader`."""
    stamped: tuple[str, ...] = (_OURS.user, _OURS.gateway, _OURS.decision, _OURS.stamp)
    """What extauthz stamps: its `headers`."""
    known: tuple[str, ...] = KNOWN_IDENTITY
    """What else might be read as an identity; those above are left out."""

    @property
    def protected(self) -> tuple[str, ...]:
        """What arrives only as extauthz says it."""
        return tuple(dict.fromkeys((*self.user, *self.stamped)))

    @property
    def others(self) -> tuple[str, ...]:
        """What else might be read as an identity."""
        return tuple(name for name in self.known if name not in self.protected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a probe is told."""

    target: Target
    names: Names = field(default_factory=Names)
    sign_in: Headers = ()
    """The headers of who is signed in; no other request has them, and nobody but the target gets them."""
    allowed_user: str | None = None
    """A user who would be let in, to be forged beside the marks: a list of users would refuse those in any case."""
    websocket_path: str | None = None
    """The path and query of the WebSocket, if it is another than the target's."""
    gateway: Target | None = None
    """The Gateway's own port."""
    http_port: int | None = None
    """The target's port for plain HTTP."""
    context: ssl.SSLContext | None = None
    """How TLS is spoken."""
    verified: bool = True
    """Whether the context verifies the certificate."""
    limits: Limits = field(default_factory=Limits)


class Asker:
    """Asks, and remembers what all checks compare with."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.names = setup.names
        self.budget = Budget(setup.limits)
        self.reports = False
        """Whether a Gateway has reported what arrived."""
        self.arriving: set[str] = set()
        """What was seen to arrive, in the words of `seen`."""
        self.failures: dict[str, list[str]] = {}
        """Answers of 500 and above to who was to be refused: the request by answer."""
        context = setup.context if setup.target.tls else None
        self.client = Client(setup.target, self.budget, context=context, sign_in=setup.sign_in)
        path = setup.websocket_path
        there = self.client if path is None else self._at(replace(setup.target, path=path), context)
        self._websocket = there
        self._direct = None if setup.gateway is None else self._at(setup.gateway, None, signs_in=False)

    def _at(self, target: Target, context: ssl.SSLContext | None, *, signs_in: bool = True) -> Client:
        return Client(target, self.budget, context=context, sign_in=self.setup.sign_in if signs_in else ())

    @property
    def signs_in(self) -> bool:
        """Whether there is a way to sign in."""
        return bool(self.setup.sign_in)

    def ask(self, forged: Forged = NOTHING, *, signed_in: bool = False, upgrade: bool = False, label: str = "") -> Seen:
        """Send one request with what is forged.

        Args:
            forged: What is forged in it.
            signed_in: Whether it is sent as who signs in.
            upgrade: Whether it asks for a WebSocket.
            label: What it tries, where a 5xx is no answer to it.
        """
        word = fresh_word()
        headers = ((PROBE_HEADER, word), *forged.headers)
        if upgrade:
            outcome = self._websocket.upgrade(headers, signed_in=signed_in)
        else:
            outcome = self.client.get(headers, signed_in=signed_in)
        seen = self._noted(see(outcome, word, forged))
        if label and seen.status >= 500:
            self.failures.setdefault(str(seen), []).append(label)
        return seen

    def ask_gateway(self, forged: Forged = NOTHING, *, upgrade: bool = False) -> Seen | None:
        """Ask the Gateway around everything, never signed in; None if nobody said where it is."""
        if self._direct is None:
            return None
        word = fresh_word()
        headers = ((PROBE_HEADER, word), *forged.headers)
        return see(self._direct.upgrade(headers) if upgrade else self._direct.get(headers), word, forged)

    def ask_plain_http(self) -> Seen | None:
        """Ask the target's port for plain HTTP, without anything that is a secret; None if there is none to ask."""
        target, port = self.setup.target, self.setup.http_port
        if port is None:
            return None
        bracketed = f"[{target.host}]" if ":" in target.host else target.host
        authority = bracketed if port == 80 else f"{bracketed}:{port}"  # the scheme's own port
        there = replace(target, scheme="http", port=port, authority=authority, path="/")
        return see(self._at(there, None, signs_in=False).get(), "")

    def _noted(self, seen: Seen) -> Seen:
        self.reports = self.reports or seen.arrived is not None
        return seen

    @cached_property
    def plain(self) -> Seen:
        """A request of nobody."""
        return self.ask(label="without identity")

    @cached_property
    def plain_upgrade(self) -> Seen:
        """A WebSocket upgrade of nobody."""
        return self.ask(upgrade=True, label="WebSocket without identity")

    @cached_property
    def signed(self) -> Seen:
        """A request of who is signed in."""
        return self.ask(signed_in=True)

    @cached_property
    def signed_upgrade(self) -> Seen:
        """A WebSocket upgrade of who is signed in."""
        return self.ask(signed_in=True, upgrade=True)

    def sign_in_names(self, names: Sequence[str]) -> list[str]:
        """Return which of these headers are themselves what signs in."""
        given = {name.lower() for name, _ in self.setup.sign_in}
        return [name for name in names if name in given]
