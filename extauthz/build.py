"""Which build of extauthz this is: the sources as they are, or the hot modules compiled (docs/compiled.md)."""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final, Literal

# All are compiled or none is; this one is never left out.
_COMPILED_IF_ANY_IS: Final = "extauthz.core.decide"


def build() -> Literal["compiled", "pure"]:
    """Tell which build runs, without loading any of it."""
    found = find_spec(_COMPILED_IF_ANY_IS)
    extension = found is not None and found.origin is not None and found.origin.endswith(tuple(EXTENSION_SUFFIXES))
    return "compiled" if extension else "pure"
