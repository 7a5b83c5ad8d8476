"""What a PromQL expression names: metrics, the labels it looks for, the labels it groups by. It is not evaluated."""

import re
from dataclasses import dataclass, field

FUNCTIONS = {
    *("absent", "changes", "clamp_min", "histogram_quantile", "increase", "rate", "time"),
    *("avg", "count", "max", "min", "sum", "topk"),
    *("and", "or", "unless", "bool"),
}
GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}

_TOKENS = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*")
      | (?P<duration>\[[^\]]*\])
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<number>[0-9.]+(?:e[+-]?[0-9]+)?)
      | (?P<sign>[<>=!~]=|=~|!~|[-+*/%^<>=(){},])
      | (?P<space>\s+)""",
    re.VERBOSE,
)


class UnreadableError(ValueError):
    """An expression with something in it that this reader does not know."""


@dataclass
class Expression:
    """What an expression names.

    Attributes:
        selectors: Each metric with the labels that are looked for.
        grouped: The labels of all groupings.
    """

    selectors: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def read(text: str) -> Expression:
    """Read an expression.

    Raises:
        UnreadableError: It has a sign, or a function, that is not known here.
    """
    tokens = _tokens(text)
    found = Expression()
    position = 0
    while position < len(tokens):
        kind, token = tokens[position]
        follows = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        position += 1
        if kind != "name" or token in FUNCTIONS:
            continue
        if token in GROUPINGS:
            names, position = _names(tokens, position, "(", ")")
            found.grouped |= set(names)
        elif follows == "(":
            raise UnreadableError(f"the function {token} in {text}")
        elif follows == "{":
            names, position = _names(tokens, position, "{", "}")
            found.selectors.append((token, set(names)))
        else:
            found.selectors.append((token, set()))
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None or match.lastgroup is None:
            raise UnreadableError(f"{text[position:]!r} in {text}")
        if match.lastgroup != "space":
            found.append((match.lastgroup, match[0]))
        position = match.end()
    return found


def _names(tokens: list[tuple[str, str]], position: int, opens: str, closes: str) -> tuple[list[str], int]:
    if tokens[position][1] != opens:
        raise UnreadableError(f"{tokens[position][1]} where {opens} should be")
    names = []
    while tokens[position][1] != closes:
        if tokens[position][0] == "name":
            names.append(tokens[position][1])
        position += 1
    return names, position + 1
