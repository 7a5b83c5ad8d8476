"""All verifiers of a process: shared where gateways want the same, kept over a reload, started and ended together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from extauthz.assertion.memory import VerifiedTokens
from extauthz.stamp.signer import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extauthz.assertion.rules import KeySource, Rules
    from extauthz.assertion.sources import IssuerKeys, SourceStatus
    from extauthz.assertion.verifier import AssertionVerifier
    from extauthz.core.policy import Policy
    from extauthz.gateway.keycache import Times

FIRST_READ_SECONDS: Final = 2.0
"""How long a start, or a reload, waits for keys that it has not read yet, so that the first requests find them."""


class Assertions:
    """The verifiers. Changed by one thread; `statuses` may be asked by any.

    Attributes:
        signatures: How many signatures were verified.
    """

    def __init__(
        self, *, times: Times | None = None, clock: Callable[[], float] = time.time, patient: bool = False
    ) -> None:
        """Begin without any.

        Args:
            times: Other limits of reading keys than the usual ones.
            clock: Unix seconds.
            patient: Verifiers wait for keys that they do not have; for a command, never for a service.
        """
        self.signatures: Final = Signatures()
        self._times: Final = times
        self._clock: Final = clock
        self._patient: Final = patient
        self._memory: Final = VerifiedTokens()
        self._sources: dict[KeySource, IssuerKeys] = {}
        self._verifiers: dict[Rules, AssertionVerifier] = {}

    def verifier(self, rules: Rules) -> AssertionVerifier:
        """Return what verifies by these rules: the same for the same rules, with the keys that are known already."""
        # Of no interest to a service without assertions.
        from extauthz.assertion.sources import open_keys, usual_times  # noqa: PLC0415
        from extauthz.assertion.verifier import AssertionVerifier  # noqa: PLC0415

        found = self._verifiers.get(rules)
        if found is None:
            keys = self._sources.get(rules.source)
            if keys is None:
                keys = open_keys(rules.source, self._times or usual_times(rules.source, eager=self._patient))
                self._sources = {**self._sources, rules.source: keys}
            found = self._verifiers[rules] = AssertionVerifier(
                rules,
                keys,
                memory=self._memory,
                signatures=self.signatures,
                clock=self._clock,
                patient=self._patient,
            )
        return found

    def start(self, seconds: float = FIRST_READ_SECONDS) -> None:
        """Begin to read what is not read yet, and wait for the first reads, for so long in all."""
        deadline = time.monotonic() + seconds
        for keys in self._sources.values():
            keys.current()
        for keys in self._sources.values():
            keys.wait(0, max(0.0, deadline - time.monotonic()))

    def keep(self, policy: Policy) -> None:
        """Keep what this policy verifies with, and end the rest."""
        used = {id(gateway.assertion.verifier) for gateway in policy.gateways.values() if gateway.assertion is not None}
        self._verifiers = {rules: found for rules, found in self._verifiers.items() if id(found) in used}
        sources = {rules.source for rules in self._verifiers}
        unwanted = [keys for source, keys in self._sources.items() if source not in sources]
        self._sources = {source: keys for source, keys in self._sources.items() if source in sources}
        _close(unwanted)

    def statuses(self) -> list[SourceStatus]:
        """Return how each source is, in the order of the file."""
        return [keys.status() for keys in self._sources.values()]

    def close(self) -> None:
        """End all reading."""
        _close(self._sources.values())


def _close(sources: Iterable[IssuerKeys]) -> None:
    for keys in sources:
        keys.close()
