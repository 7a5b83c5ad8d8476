"""The policies that `explain` decides under: as the service's, and asked for now what a service looks up as it runs.

Issuers' keys are read when the first token comes; names in `trustedProxies` are asked about once, before all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from extauthz.config.load import Loaded
    from extauthz.core.policy import Policy


# For the answers about all names together, in seconds; a name without one in time trusts nobody.
NAMES_SECONDS: Final = 5.0


def verifying_policy(loaded: Loaded) -> Policy:
    """Compile a file's gateways with what verifies their assertions, and waits for keys as no service does."""
    from extauthz.assertion.assertions import Assertions  # noqa: PLC0415 - help must be quick
    from extauthz.config.compile import compile_policy  # noqa: PLC0415
    from extauthz.peers import resolve_once  # noqa: PLC0415

    peers = resolve_once(loaded, NAMES_SECONDS)
    return compile_policy(loaded, verifiers=Assertions(patient=True).verifier, peers=peers)


def resolved_policy(loaded: Loaded) -> Policy:
    """Compile a file's gateways with what its names stand for now, for logs: these tell what a token was worth."""
    from extauthz.config.compile import compile_policy  # noqa: PLC0415 - help must be quick
    from extauthz.explaining.asserted import AsLogged  # noqa: PLC0415
    from extauthz.peers import resolve_once  # noqa: PLC0415

    return compile_policy(loaded, verifiers=AsLogged, peers=resolve_once(loaded, NAMES_SECONDS))
