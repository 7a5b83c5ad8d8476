"""The audit itself: every check of the table over every Gateway of a file, and what was accepted beside it.

It changes nothing and decides nothing: how bad is too bad is for who calls it.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from extauthz.audit.finding import Acceptance, Check, Finding, View
from extauthz.audit.keys import look_at_keys
from extauthz.audit.openclaw_view import view_of_openclaw
from extauthz.audit.service_checks import ServiceView
from extauthz.audit.table import GATEWAY_CHECKS, RECORD_CHECKS, SERVICE_CHECKS
from extauthz.audit.view import view_of
from extauthz.config.load import Loaded
from extauthz.config.schema import Accepted
from extauthz.openclaw import OpenClawFile

OPENCLAW_GATEWAY: Final = "openclaw"
"""What the one Gateway of an openclaw.json is called: that file gives it no id."""


def audit(loaded: Loaded, now: float | None = None) -> list[Finding]:
    """Audit a checked configuration of ours, the worst first. Of files it reads only the private keys it names.

    Args:
        loaded: The configuration.
        now: Unix seconds, by default this host's clock.
    """
    settings = loaded.settings
    time_now = time.time() if now is None else now
    service = ServiceView(settings=settings, keys=look_at_keys(loaded, time_now), now=time_now)
    findings = [
        *(
            finding
            for name, gateway in settings.gateways.items()
            for finding in _found(GATEWAY_CHECKS, view_of(name, gateway, searched=not settings.dns.servers), name)
        ),
        *_found(SERVICE_CHECKS, service, None),
    ]
    there = {(finding.id, finding.gateway) for finding in findings}
    unmatched = [
        (position, entry) for position, entry in enumerate(settings.accepted) if (entry.id, entry.gateway) not in there
    ]
    findings += _found(RECORD_CHECKS, unmatched, None)
    return _worst_first(_accept(findings, settings.accepted))


def audit_openclaw(file: OpenClawFile) -> list[Finding]:
    """Audit the Gateway of an openclaw.json, the worst first."""
    return _worst_first(_found(GATEWAY_CHECKS, view_of_openclaw(file.gateway), OPENCLAW_GATEWAY))


def _found(checks: Iterable[Check[View]], view: View, gateway: str | None) -> list[Finding]:
    found = (check.find(view, gateway) for check in checks)
    return [finding for finding in found if finding is not None]


def _accept(findings: Iterable[Finding], accepted: Iterable[Accepted]) -> Iterable[Finding]:
    by = {(entry.id, entry.gateway): Acceptance(entry.by, entry.because) for entry in accepted}
    return [replace(finding, accepted=by.get((finding.id, finding.gateway))) for finding in findings]


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Order by severity; what is equally bad stays as it stands in the file and in the table."""
    return sorted(findings, key=lambda finding: -finding.severity.rank)
