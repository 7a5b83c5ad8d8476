"""How explanations and hints put things: quoted, counted, cut to a length that a terminal bears.

Pure functions; nothing here knows a rule.
"""

from typing import Final

from extauthz.core.step import Evaluation

# Values longer than this are cut in explanations.
LONGEST_SHOWN_CHARACTERS: Final = 120
# No more than this many entries of a list are shown.
MOST_SHOWN: Final = 5


def quote(value: str) -> str:
    """Return a value in quotes, cut, and with everything escaped that could steer a terminal."""
    shown = value if len(value) <= LONGEST_SHOWN_CHARACTERS else value[:LONGEST_SHOWN_CHARACTERS] + "…"
    return ascii(shown) if not shown.isprintable() else f'"{shown}"'


def plain(name: str) -> str:
    """Return a name without quotes; one that cannot be printed as it is, escaped."""
    shown = name if len(name) <= LONGEST_SHOWN_CHARACTERS else name[:LONGEST_SHOWN_CHARACTERS] + "…"
    return shown if shown.isprintable() else ascii(shown)


def some(items: list[str]) -> str:
    """Return the first few of a list, and how many more there are."""
    more = f" and {len(items) - MOST_SHOWN} more" if len(items) > MOST_SHOWN else ""
    return ", ".join(items[:MOST_SHOWN]) + more


def count(number: int, what: str) -> str:
    """Return a number with its noun in the right form."""
    plural = {"entry": "entries", "address": "addresses"}.get(what, f"{what}s")
    return f"{number} {what if number == 1 else plural}"


def value_of(e: Evaluation, name: str) -> str:
    """Tell the value of a header that the ruleset reads."""
    return f"{name} is {quote(e.values[name])}" if name in e.values else f"{name} did not arrive"


def principal_of(e: Evaluation) -> str:
    """Tell the principal that the proxy took from the peer's certificate."""
    principal = e.request.principal
    return f"the principal is {quote(principal)}" if principal else "no principal is told of"


def peer_of(e: Evaluation) -> str:
    """Tell the peer, or why it is not known."""
    if e.peer is not None:
        return f"the peer is {plain(str(e.peer))}"
    return f"the peer cannot be read from {quote(e.request.source)}" if e.request.source else "the peer is not known"
