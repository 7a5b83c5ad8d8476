"""A probe from the first request to the last: the checks in their order. What each asks is in the modules beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extauthz.probe import deployment, forging
from extauthz.probe.answers import Failure, Fault
from extauthz.probe.asking import Asker, Setup
from extauthz.probe.checks import CHECKS, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STEPS: Final[Mapping[str, Callable[[Asker], Result]]] = {
    "tls": deployment.tls,
    "tls_version": deployment.tls_version,
    "tls_expiry": deployment.tls_expiry,
    "hsts": deployment.hsts,
    "http_redirect": deployment.http_redirect,
    "no_identity": deployment.no_identity,
    "no_identity_websocket": deployment.no_identity_websocket,
    "forged_sign_in": forging.forged_sign_in,
    "identity_arrives": deployment.identity_arrives,
    "websocket_identity": deployment.websocket_identity,
    "forged_user": forging.forged_user,
    "forged_stamp": forging.forged_stamp,
    "forged_alias": forging.forged_alias,
    "forged_hop_by_hop": forging.forged_hop_by_hop,
    "forged_forwarded": forging.forged_forwarded,
    "forged_known": forging.forged_known,
    "forged_websocket": forging.forged_websocket,
    "refusal_status": deployment.refusal_status,
    "gateway_port": deployment.gateway_port,
    "gateway_forged": deployment.gateway_forged,
}
"""What makes each check, by its id, in the order of `CHECKS`."""


class UnreachableError(Exception):
    """The address does not answer at all, so that nothing can be said of it; the text says how."""


class Probe:
    """One probe of one deployment."""

    def __init__(self, setup: Setup) -> None:
        """Prepare it; nothing is sent yet."""
        self._asker = Asker(setup)

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self._asker.budget.requests

    @property
    def reports(self) -> bool:
        """Whether the Gateway has told what arrived, so that passage is proved and not guessed."""
        return self._asker.reports

    def run(self, begins: Callable[[str], None] = lambda _: None) -> Iterator[Result]:
        """Make every check and yield its result; `begins` is called with its title before it is made.

        Raises:
            UnreachableError: there was no answer to the first request.
        """
        first = self._asker.plain.outcome
        untrusted = isinstance(first, Failure) and first.fault is Fault.NO_CERTIFICATE
        if isinstance(first, Failure) and not untrusted:
            raise UnreachableError(str(self._asker.plain))
        for name, step in STEPS.items():
            begins(CHECKS[name].title)
            if untrusted and name != "tls":
                yield Result(CHECKS[name], Outcome.NOT_TESTED, "nothing is sent to whom the certificate does not name")
            else:
                yield step(self._asker)
