"""What a Gateway pays for: importing the verifier must not bring in the service."""

import subprocess
import sys

import extauthz.gateway
from extauthz.gateway import __all__ as names

ALLOWED = {"extauthz", "extauthz.stamp", "extauthz.stamp.claims"}
FOREIGN = {
    "grpc",
    "google",
    "pydantic",
    "pydantic_core",
    "uvicorn",
    "rich",
    "click",
    "yaml",
    "prometheus_client",
}


def imported(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return set(result.stdout.split())


def test_importing_the_gateways_side_brings_in_nothing_of_the_service() -> None:
    modules = imported("import extauthz.gateway")
    ours = {name for name in modules if name.partition(".")[0] == "extauthz"}
    assert {name for name in ours if not name.startswith("extauthz.gateway")} <= ALLOWED
    assert not {name.partition(".")[0] for name in modules} & FOREIGN


def test_importing_the_signer_brings_in_no_grpc() -> None:
    modules = imported("import extauthz.stamp.signer, extauthz.stamp.keys, extauthz.stamp.jwks")
    assert not {name.partition(".")[0] for name in modules} & FOREIGN
    assert not any(name.startswith("extauthz.gateway") for name in modules)


def test_the_public_names_are_these() -> None:
    assert names == [
        "REASONS",
        "Check",
        "HeaderNames",
        "Identity",
        "JwksError",
        "StampASGIMiddleware",
        "StampRefused",
        "StampVerifier",
        "StampWSGIMiddleware",
        "Times",
    ]
    assert all(hasattr(extauthz.gateway, name) for name in names)
