"""From configurations to findings, as the tests of the audit want them."""

from collections.abc import Iterable, Mapping
from typing import Any

from cases.build import gateway, load_gateways
from extauthz.audit import Finding, audit

# 2026-11-22T00:00:00Z.
NOW = 1_795_305_600.0

# A gateway about which there is nothing to say but that it delegates authentication.
HARDENED: dict[str, Any] = gateway({"requiredHeaders": ["x-auth-request-user"]})


def hardened(trusted_proxy: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return the hardened gateway with other keys, and other keys in its `auth.trustedProxy`."""
    return gateway({"requiredHeaders": ["x-auth-request-user"], **(trusted_proxy or {})}, **keys)


def found(gateways: Mapping[str, Any], **sections: Any) -> list[Finding]:
    """Audit a file with these gateways and sections, whose keys are not there yet."""
    return audit(load_gateways(gateways, **{"stamp": {"keys": "keys-that-are-not-there"}, **sections}), NOW)


def ids(findings: Iterable[Finding]) -> list[str]:
    """Return the ids, in order."""
    return [finding.id for finding in findings]


def the(id_: str, findings: Iterable[Finding]) -> Finding:
    """Return the one finding with this id."""
    (finding,) = (finding for finding in findings if finding.id == id_)
    return finding
