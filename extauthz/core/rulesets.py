"""The rulesets: ordered tuples of steps and nothing else. The first step that fails gives the reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from extauthz.core import admission, steps
from extauthz.core.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """One ruleset of rules.md.

    Attributes:
        name: As a gateway names it.
        allow_loopback: What `allowLoopback` is where the file does not say.
        steps: In the order in which they are asked.
    """

    name: str
    allow_loopback: bool
    steps: tuple[Step, ...]

    @property
    def whole(self) -> tuple[Step, ...]:
        """All that is asked about a request once its gateway is known."""
        return (*GATEWAY_ADMISSION, *self.steps, *COMPLETION)


STANDARD: Final[Ruleset] = Ruleset(
    name="standard",
    allow_loopback=True,
    steps=(
        steps.CONFIGURED,
        steps.PROXIES,
        steps.TRUSTED,
        steps.TRUSTED_PRINCIPAL,
        steps.LOOPBACK,
        steps.REQUIRED,
        steps.USER,
        steps.UNAMBIGUOUS,
        steps.ASSERTED,
        steps.ALLOWED_USER,
        steps.ORIGIN_WHERE_LISTED,
    ),
)
OPENCLAW_2026_2: Final[Ruleset] = Ruleset(
    name="openclaw-2026.2",
    allow_loopback=True,
    steps=(
        steps.CONFIGURED,
        steps.PROXIES,
        steps.TRUSTED,
        steps.TRUSTED_PRINCIPAL,
        steps.LOOPBACK,
        steps.REQUIRED,
        steps.USER,
        steps.UNAMBIGUOUS,
        steps.ASSERTED,
        steps.ALLOWED_USER,
    ),
)
OPENCLAW_2026_9: Final[Ruleset] = Ruleset(
    name="openclaw-2026.9",
    allow_loopback=False,
    steps=(
        steps.CONFIGURED,
        steps.PROXIES,
        steps.ATTRIBUTED,
        steps.TRUSTED,
        steps.TRUSTED_PRINCIPAL,
        steps.LOOPBACK,
        steps.LOCAL_INTERFACE,
        steps.REQUIRED,
        steps.USER,
        steps.UNAMBIGUOUS,
        steps.ASSERTED,
        steps.ALLOWED_USER,
        steps.REAL_PROXY,
        steps.ORIGIN,
    ),
)

RULESETS: Final[Mapping[str, Ruleset]] = {
    ruleset.name: ruleset for ruleset in (STANDARD, OPENCLAW_2026_2, OPENCLAW_2026_9)
}

# What comes before any ruleset, in this order: first until the gateway is known, then under that gateway.
ADMISSION: Final = (admission.CALLER, admission.GATEWAY)
GATEWAY_ADMISSION: Final = (admission.GATEWAY_CALLER, admission.ALIAS, admission.READABLE)
# What comes after any ruleset.
COMPLETION: Final = (steps.STATABLE,)
