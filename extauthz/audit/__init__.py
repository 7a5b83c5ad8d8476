"""The audit: what of a configuration could let the wrong people in. It reads a file, ours or OpenClaw's, and key files.

`table.py` has every finding there can be; docs/audit.md is tested against it.
"""

from extauthz.audit.finding import Acceptance, Finding, Severity
from extauthz.audit.run import audit, audit_openclaw

__all__ = ["Acceptance", "Finding", "Severity", "audit", "audit_openclaw"]
