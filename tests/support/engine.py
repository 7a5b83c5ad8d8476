"""Which gRPC engine the services of a test are started with. The configuration of a test need not know."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

ENGINES = ("grpcio", "native")

_chosen = ["grpcio"]


@contextlib.contextmanager
def chosen(engine: str) -> Iterator[str]:
    """Start services with this engine while the block runs."""
    _chosen.append(engine)
    try:
        yield engine
    finally:
        _chosen.pop()


def with_engine(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the chosen engine, unless it says itself which one, or has TLS, which one lacks."""
    engine = _chosen[-1]
    server = config.get("server", {})
    if engine == "grpcio" or "engine" in server or "tls" in config:
        return dict(config)
    return {**config, "server": {**server, "engine": engine}}


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test once with each engine, or with one alone where it is marked `only_grpcio` or `only_native`.

    The fixture `engine` must be there, for the whole session and for every test (autouse).
    """
    only = [name for name in ENGINES if metafunc.definition.get_closest_marker(f"only_{name}")]
    engines = only or ENGINES
    metafunc.parametrize("engine", engines, indirect=True, scope="session")
