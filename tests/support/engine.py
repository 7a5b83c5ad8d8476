"""Which gRPC engine the services of a test are started with. The configuration of a test need not know."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest

ENGINES = ("grpcio", "native")

_DEFAULT = "grpcio"
_chosen: list[list[str]] = []


@contextlib.contextmanager
def chosen(engine: str) -> Iterator[str]:
    """Start services with this engine while the block runs."""
    mine = [engine]
    _chosen.append(mine)
    try:
        yield engine
    finally:
        # Its own, and not the last: fixtures of other directories may have begun meanwhile, and end later.
        _chosen[:] = [one for one in _chosen if one is not mine]


def with_engine(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the chosen engine, unless it says itself which one, or has TLS, which one lacks."""
    engine = _chosen[-1][0] if _chosen else _DEFAULT
    server = config.get("server", {})
    if engine == "grpcio" or "engine" in server or "tls" in config:
        return dict(config)
    return {**config, "server": {**server, "engine": engine}}


def parametrize(metafunc: pytest.Metafunc, scope: Literal["session", "module"] = "session") -> None:
    """Run a test once with each engine, or with one alone where it is marked `only_grpcio` or `only_native`.

    The fixture `engine` must be there, of this scope and for every test (autouse). One of a session stays chosen when
    its directory's tests are over, for as long as nobody chooses another.
    """
    only = [name for name in ENGINES if metafunc.definition.get_closest_marker(f"only_{name}")]
    engines = only or ENGINES
    metafunc.parametrize("engine", engines, indirect=True, scope=scope)
