"""Which headers a Gateway must not believe as they arrive, and what is written in their place. No ASGI, no WSGI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extauthz.gateway.verifier import Identity

_NO_LETTER_OR_DIGIT: Final = re.compile(r"[^a-z0-9]")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """The headers of extauthz's configuration, under `headers` and in the gateway's `userHeader`."""

    user: str = "x-authz-user"
    gateway: str = "x-authz-gateway"
    decision: str = "x-authz-decision"
    stamp: str = "x-authz-stamp"
    user_header: str | None = None
    """The gateway's own `userHeader`, in which the application expects the user."""

    def __post_init__(self) -> None:
        """Fold the names to lower case, and check them.

        Raises:
            ValueError: for a name that no header can have, or two that are one to CGI, WSGI or PHP.
        """
        for field in ("user", "gateway", "decision", "stamp", "user_header"):
            name = getattr(self, field)
            if name is None and field == "user_header":
                continue
            if not _FIELD_NAME.fullmatch(name):
                raise ValueError(f"{field}: {name!r} is not a header's name")
            object.__setattr__(self, field, name.lower())
        own = (self.user, self.gateway, self.decision, self.stamp)
        forms = {canonical(name) for name in own}
        clash = self.user_header is not None and self.user_header != self.user and canonical(self.user_header) in forms
        if len(forms) != len(own) or clash:
            raise ValueError("two of the header names are the same header")


def canonical(name: str) -> str:
    """Return what a name becomes in servers that map names to variables: what is no letter or digit becomes "-"."""
    return _NO_LETTER_OR_DIGIT.sub("-", name.lower())


class IdentityHeaders:
    """The identity headers of one Gateway: which to delete, and which to write from the verified claims."""

    def __init__(self, names: HeaderNames, protect: Iterable[str] = ()) -> None:
        """Prepare the names.

        Args:
            names: The headers of extauthz's configuration.
            protect: More names that are deleted, with their aliases.
        """
        self.stamp = names.stamp
        self._names = names
        own = (names.user, names.gateway, names.decision, names.stamp, names.user_header)
        self._protected = frozenset(canonical(name) for name in (*own, *protect) if name is not None)

    def is_protected(self, name: str) -> bool:
        """Whether this is one of the names, or an alias: a name that becomes one in CGI, WSGI or PHP."""
        return canonical(name) in self._protected

    def written(self, identity: Identity, stamp: str) -> list[tuple[str, str]]:
        """Return the headers that the application gets, from the verified claims; the decision's id is not signed."""
        fields = [(self._names.user, identity.user), (self._names.gateway, identity.gateway), (self.stamp, stamp)]
        if self._names.user_header not in {None, self._names.user}:
            fields.append((str(self._names.user_header), identity.user))
        return fields
