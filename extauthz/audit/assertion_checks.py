"""How findings about proxies' signed assertions are found: where one would help, and where one proves little."""

from collections.abc import Iterator
from typing import Final

from extauthz.assertion.presets import PRESETS
from extauthz.audit.finding import quoted
from extauthz.audit.service_checks import ServiceView
from extauthz.audit.view import GatewayView
from extauthz.config.assertions import filled_model
from extauthz.config.values import seconds
from extauthz.core.text import fold, trim

LONGEST_MAX_AGE: Final = "24h"
LONGEST_KEYS_KEPT: Final = "24h"

# Claims that many identity providers let people choose (OpenID Connect Core, section 5.7).
CHOSEN_CLAIMS: Final = frozenset({"name", "given_name", "nickname", "preferred_username", "username", "website"})


def unverified(gateway: GatewayView) -> Iterator[str]:
    """A proxy is known by its headers, and what it signs is not verified."""
    if gateway.assertion is not None or gateway.openclaw is not None or not gateway.delegated:
        return
    places = [(f"{gateway.rules}.userHeader", gateway.user_header)]
    places += [(f"{gateway.rules}.requiredHeaders[{at}]", name) for at, name in enumerate(gateway.required_headers)]
    for place, name in places:
        for key, preset in PRESETS.items():
            if preset.sends and fold(trim(name)).startswith(preset.sends):
                yield f"{place} is {quoted(trim(name))} of {preset.title}, which signs {preset.header} (preset: {key})"


def long_lived(gateway: GatewayView) -> Iterator[str]:
    """A token, or the key that it was signed with, counts for days."""
    model = gateway.assertion
    if model is None:
        return
    limits = (
        ("maxAge", filled_model(model).max_age, LONGEST_MAX_AGE),
        ("keysKept", model.keys_kept, LONGEST_KEYS_KEPT),
    )
    for key, value, longest in limits:
        if seconds(value) > seconds(longest):
            yield f"{gateway.rules}.assertion.{key} is {value}"


def chosen_by_users(gateway: GatewayView) -> Iterator[str]:
    """The claim is one that its user may write."""
    claim = filled_model(gateway.assertion).user_claim if gateway.assertion is not None else ""
    if claim in CHOSEN_CLAIMS:
        yield f"{gateway.rules}.assertion.userClaim is {quoted(claim)}"


def opens_several(service: ServiceView) -> Iterator[str]:
    """A token of one gateway is as good at another."""
    known: dict[tuple[str, str], str] = {}
    for name, gateway in service.settings.gateways.items():
        rules = gateway.auth.trusted_proxy if gateway.auth is not None else None
        if rules is None or rules.assertion is None:
            continue
        filled = filled_model(rules.assertion)
        for audience in filled.audience:
            first = known.setdefault((filled.issuer, audience), name)
            if first != name:
                yield f"gateways.{name} takes the tokens of gateways.{first}: both are audience {quoted(audience)}"
