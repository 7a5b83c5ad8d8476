"""What values of OpenClaw's configuration mean: references to the environment, secret references, the mode."""

import re
from typing import Any, Final, Literal, get_args

AuthMode = Literal["none", "token", "password", "trusted-proxy"]
AUTH_MODES: Final = get_args(AuthMode)

_REFERENCE: Final = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")
_SECRET_REF_KEYS: Final = frozenset({"source", "provider", "id"})
_SECRET_SOURCES: Final = frozenset({"env", "file", "exec", "store"})


def references(value: Any) -> tuple[str, ...]:
    """Return the names of the environment variables that a text refers to as `${NAME}`."""
    return tuple(_REFERENCE.findall(value)) if isinstance(value, str) else ()


def is_reference(value: Any) -> bool:
    """Tell whether a value is nothing but a reference: `${NAME}`, or an object that says where a secret is kept."""
    if isinstance(value, dict):
        texts = all(isinstance(part, str) for part in value.values())
        return texts and {"source", "id"} <= value.keys() <= _SECRET_REF_KEYS and value["source"] in _SECRET_SOURCES
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def variables(value: Any) -> tuple[str, ...]:
    """Return the environment variables in which a secret is kept, by its `${NAME}` or its secret reference."""
    if isinstance(value, dict):
        name = value.get("id")
        known = value.get("source") == "env" and isinstance(name, str) and references(f"${{{name}}}")
        return known or ()
    return references(value)


def auth_mode(gateway: dict[str, Any]) -> str | None:
    """Return the mode in which a Gateway with this block asks who someone is; None if what is there is no mode.

    Without `auth.mode` it is `password` if there is one, else `token`, as in OpenClaw; what its environment holds is
    not known here.
    """
    auth = gateway.get("auth")
    auth = auth if isinstance(auth, dict) else {}
    mode = auth.get("mode")
    if mode is None:
        return "password" if auth.get("password") else "token"
    return mode if mode in AUTH_MODES else None
