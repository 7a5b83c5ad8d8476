"""An `assertion` as it is written, filled with its preset: what is wanted of it, and the rules that come of it.

It is filled from the file's raw data, so that the checks and the policy see the same.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extauthz.assertion.presets import PRESETS, Preset
from extauthz.assertion.rules import (
    KID,
    MAX_KEYS_KEPT_SECONDS,
    MAX_LEEWAY_SECONDS,
    MAX_MAX_AGE_SECONDS,
    MIN_KEYS_KEPT_SECONDS,
    MIN_MAX_AGE_SECONDS,
    KeySource,
    Rules,
)
from extauthz.config.schema import AssertionModel
from extauthz.config.values import seconds
from extauthz.core.text import fold, trim

_CUSTOM: Final = Preset(title="", header="", algorithms=(), audience="whom the proxy signs its tokens for")
_ARN: Final = re.compile(
    r"arn:aws:elasticloadbalancing:(?P<region>[a-z]{2}(-[a-z]+)+-[0-9]):[0-9]{12}:loadbalancer/app/\S+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """An assertion with everything that its preset knows; "" and () are what nobody said.

    The attributes are the keys of the configuration.
    """

    preset: Preset
    header: str
    jwks: str
    issuer: str
    audience: tuple[str, ...]
    user_claim: str
    algorithms: tuple[str, ...]
    max_age: str
    signer: str


def fill(data: Mapping[str, Any]) -> Filled:
    """Fill what an assertion does not say with what its preset does; values of a wrong type count as not there."""
    preset = PRESETS.get(_text(data, "preset"), _CUSTOM)
    found = data.get("audience")
    audiences = found if isinstance(found, list) else [found]
    audience = tuple(one for one in audiences if isinstance(one, str) and trim(one))
    algorithms = data.get("algorithms")
    signer = _text(data, "signer")
    region = _ARN.fullmatch(signer)
    known = {"region": region["region"] if region is not None else "", "audience": audience[0] if audience else ""}
    issuer = _text(data, "issuer") or _completed(preset.issuer, known)
    return Filled(
        preset=preset,
        header=fold(trim(_text(data, "header"))) or preset.header,
        jwks=_text(data, "jwks") or _completed(preset.jwks, known | {"issuer": issuer.rstrip("/")}),
        issuer=issuer,
        audience=audience,
        user_claim=_text(data, "userClaim") or preset.user_claim,
        algorithms=tuple(one for one in algorithms if isinstance(one, str))
        if isinstance(algorithms, list)
        else preset.algorithms,
        max_age=_text(data, "maxAge") or preset.max_age,
        signer=signer,
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _completed(template: str, known: Mapping[str, str]) -> str:
    """Return a template with what is known in the place of its names; "" where one is not known."""
    for name, value in known.items():
        mark = f"{{{name}}}"
        if mark in template:
            if not value:
                return ""
            template = template.replace(mark, value)
    return template


def faults(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key of an assertion that is missing or does not go with the others, and what to write."""
    filled = fill(data)
    preset = filled.preset
    if not filled.audience and not data.get("audience"):
        yield (
            "audience",
            (
                "is missing: without it, a token that the proxy signed for another application would open this "
                f"gateway; write {preset.audience}"
            ),
        )
    if preset.signer and not filled.signer:
        yield "signer", f"is missing: anybody's {preset.title} signs with the same keys; write {preset.signer}"
    if not filled.header and not data.get("header"):
        yield "header", "is missing: write the header in which the proxy sends its token, or name a `preset`"
    if not filled.issuer and not data.get("issuer") and not preset.issuer:
        yield "issuer", f"is missing: write {preset.issuer_is}"
    if not data.get("jwks"):
        yield from _keys_taken(filled)
    if not filled.algorithms and not data.get("algorithms"):
        yield "algorithms", "is missing: write what the proxy signs with, such as [ES256], or name a `preset`"
    yield from _durations(data, filled)


def _keys_taken(filled: Filled) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the location of the keys as the preset has it."""
    from extauthz.assertion.location import check_location  # noqa: PLC0415 - of no interest without an assertion

    preset = filled.preset
    if filled.jwks:
        try:
            check_location(filled.jwks)
        except ValueError as error:
            yield "jwks", f"is taken from the other keys, and wrong: {error}"
    elif "{region}" in preset.jwks:
        if filled.signer:
            yield (
                "jwks",
                (
                    f"is missing: the signer {filled.signer!r} is no ARN of a load balancer in a public region of AWS; "
                    f"write where that region has its keys, with {KID} at the end"
                ),
            )
    elif not preset.jwks:
        yield "jwks", "is missing: write where the issuer publishes its keys (`jwks_uri` in its OpenID configuration)"
    # Else it is the issuer or the audience that is missing, and that is told.


_LIMITS: Final = {
    "maxAge": (MIN_MAX_AGE_SECONDS, MAX_MAX_AGE_SECONDS),
    "leeway": (0, MAX_LEEWAY_SECONDS),
    "keysKept": (MIN_KEYS_KEPT_SECONDS, MAX_KEYS_KEPT_SECONDS),
}


def _durations(data: Mapping[str, Any], filled: Filled) -> Iterator[tuple[str, str]]:
    for key, (least, most) in _LIMITS.items():
        text = filled.max_age if key == "maxAge" else _text(data, key)
        try:
            value = seconds(text)
        except ValueError:
            continue  # not given, or the schema says so
        if not least <= value <= most:
            yield key, f"must be {least}s to {most}s"


def filled_model(model: AssertionModel) -> Filled:
    """Return a checked assertion, filled."""
    return fill(model.model_dump(by_alias=True))


def rules_of(model: AssertionModel, path: Callable[[str], Path]) -> Rules:
    """Return the rules of a checked assertion.

    Args:
        model: The assertion.
        path: Tells where a path of the file is.
    """
    filled = filled_model(model)
    location = filled.jwks if "://" in filled.jwks else str(path(filled.jwks))
    return Rules(
        source=KeySource(
            location=location,
            ca=str(path(model.jwks_ca)) if model.jwks_ca is not None else None,
            keep_seconds=seconds(model.keys_kept),
        ),
        issuer=filled.issuer,
        audiences=filled.audience,
        user_claim=filled.user_claim,
        algorithms=frozenset(filled.algorithms),
        token_type=model.type,
        max_age=seconds(filled.max_age),
        leeway=seconds(model.leeway),
        signer=filled.signer,
        claims_in_header=filled.preset.claims_in_header,
        padded=filled.preset.padded,
    )
