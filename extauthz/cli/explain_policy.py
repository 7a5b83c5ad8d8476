"""The policy that `explain` decides under: as the service's, and with issuers' keys read when the first token comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extauthz.config.load import Loaded
    from extauthz.core.policy import Policy


def verifying_policy(loaded: Loaded) -> Policy:
    """Compile a file's gateways with what verifies their assertions, and waits for keys as no service does."""
    from extauthz.assertion.assertions import Assertions  # noqa: PLC0415 - help must be quick
    from extauthz.config.compile import compile_policy  # noqa: PLC0415

    return compile_policy(loaded, verifiers=Assertions(patient=True).verifier)
