"""Which of several texts was probably meant: by case, by white space, by a few wrong letters. For hints alone.

Nothing here decides: the rules compare exactly.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from extauthz.core.text import WHITE_SPACE

# Wrong letters beyond which two texts are not taken for one that was misspelt; in short ones, one in this many.
MOST_EDITS: Final = 2
CHARACTERS_PER_EDIT: Final = 4
# Longer texts, and more of them than this, are compared by case and white space alone: a hint is not worth a pause.
LONGEST_COMPARED_CHARACTERS: Final = 256
MOST_COMPARED: Final = 10_000

_NO_WHITE_SPACE: Final = str.maketrans("", "", WHITE_SPACE)


class Near(NamedTuple):
    """A text that was probably meant.

    Attributes:
        text: The text.
        differs: In what it differs, in words that follow "differs in".
    """

    text: str
    differs: str


def nearest_text(text: str, known: frozenset[str]) -> Near | None:
    """Return the one of `known` that `text` was probably meant to be; None if it resembles none, or is one."""
    if not text or text in known:
        return None
    folded, bare = text.casefold(), _bare(text)
    alike = [one for one in known if _bare(one) == bare]
    if alike:
        found = min(alike, key=lambda one: (one.casefold() != folded, one))
        if found.casefold() == folded:
            return Near(found, "case")
        white_space_alone = found.translate(_NO_WHITE_SPACE) == text.translate(_NO_WHITE_SPACE)
        return Near(found, "white space" if white_space_alone else "case and white space")
    return _by_edits(folded, known)


def _bare(text: str) -> str:
    return text.casefold().translate(_NO_WHITE_SPACE)


def _by_edits(folded: str, known: Collection[str]) -> Near | None:
    most = min(MOST_EDITS, max(1, len(folded) // CHARACTERS_PER_EDIT))
    if len(folded) > LONGEST_COMPARED_CHARACTERS or len(known) > MOST_COMPARED:
        return None
    best: tuple[int, str] | None = None
    for one in known:
        if abs(len(one) - len(folded)) <= most:
            edits = distance(folded, one.casefold(), most)
            if edits is not None and (best is None or (edits, one) < best):
                best = (edits, one)
    if best is None:
        return None
    return Near(best[1], "one character" if best[0] == 1 else f"{best[0]} characters")


def distance(left: str, right: str, most: int) -> int | None:
    """Return how many characters must be put in, taken out, replaced or swapped with their neighbour.

    The optimal string alignment distance; None if it is over `most`.
    """
    width = len(right)
    if abs(len(left) - width) > most:
        return None
    before: list[int] = []
    row = list(range(width + 1))
    for i, sign in enumerate(left, 1):
        two_before, before, row = before, row, [most + 1] * (width + 1)
        row[0] = i
        # Farther from the diagonal than `most` nothing is within it.
        for j in range(max(1, i - most), min(width, i + most) + 1):
            other = right[j - 1]
            edits = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (sign != other))
            if i > 1 and j > 1 and sign == right[j - 2] and left[i - 2] == other:
                edits = min(edits, two_before[j - 2] + 1)
            row[j] = edits
        # A swap looks two rows back: only when both are over the limit can nothing come below it again.
        if min(row) > most and min(before) > most:
            return None
    return row[width] if row[width] <= most else None
