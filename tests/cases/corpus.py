"""The corpus: one set of decisions that every part of the way must agree on.

`decisions.jsonl`, `addresses.json` and `refused-entries.json` are facts, seen on the programs whose rules these are.
`more-decisions.jsonl` is ours, in the same format, with copies of a header as a list. Where the map form of Envoy's
headers hides how often a header came, and that changes the decision, a line has `joined` beside `expect`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from extauthz.core.reasons import REASONS

RULESETS = ("standard", "openclaw-2026.2", "openclaw-2026.9")

_HERE = Path(__file__).parent


class Expected(NamedTuple):
    """What a decision must be: allowed as `user`, or denied for `reason`."""

    allowed: bool
    reason: str | None
    user: str | None


@dataclass(frozen=True)
class Case:
    """One request to one gateway under one ruleset, with the decision."""

    name: str
    gateway_id: str
    gateway: dict[str, Any]
    request: dict[str, Any]
    exact: Expected
    joined: Expected

    @property
    def peer(self) -> str | None:
        """The address of the connection that the proxy received."""
        peer: str | None = self.request["peer"]
        return peer

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The headers, one pair for each copy."""
        return pairs(self.request["headers"])


def pairs(headers: dict[str, str | list[str]]) -> list[tuple[str, str]]:
    """Return one pair for each copy of each header."""
    return [(name, copy) for name, value in headers.items() for copy in (value if isinstance(value, list) else [value])]


def cases() -> list[Case]:
    """Every line of the corpus under each ruleset."""
    return [case for file in ("decisions.jsonl", "more-decisions.jsonl") for case in _read(file)]


def addresses() -> list[dict[str, Any]]:
    """Whether an address is in a list: {"id", "ip", "trustedProxies", "trusted"}."""
    found: list[dict[str, Any]] = json.loads((_HERE / "addresses.json").read_text(encoding="utf-8"))
    return found


def refused_entries() -> list[str]:
    """Texts that are no entry of an address list."""
    found: list[str] = json.loads((_HERE / "refused-entries.json").read_text(encoding="utf-8"))
    return found


def _read(file: str) -> list[Case]:
    found = []
    for number, text in enumerate((_HERE / file).read_text(encoding="utf-8").splitlines()):
        line = json.loads(text)
        for ruleset, expect in line["expect"].items():
            exact = _expected(expect)
            joined = line.get("joined", {}).get(ruleset)
            found.append(
                Case(
                    name=f"{line['id']}/{ruleset}",
                    gateway_id=f"{file[0]}{number}-{ruleset.replace('.', '-')}",
                    gateway={**line["gateway"], "ruleset": ruleset},
                    request=line["request"],
                    exact=exact,
                    joined=_expected(joined) if joined is not None else exact,
                )
            )
    return found


def _expected(found: dict[str, Any]) -> Expected:
    return Expected(found["allowed"], found.get("reason"), found.get("user"))


# Reasons of proofs that no gateway of these tests wants: tests/assertion and tests/principals bring each about, through
# real Envoy too.
OF_PROOFS = {code for code in REASONS if "_assertion_" in code} | {"trusted_proxy_untrusted_principal"}
