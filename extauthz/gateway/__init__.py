"""What a Gateway imports to trust only what extauthz stamped: a verifier, and middleware for ASGI and WSGI.

Nothing of extauthz but this package and the stamp's format is imported here, and neither gRPC nor pydantic: a test
holds it.
"""

from extauthz.gateway.asgi import StampMiddleware as StampASGIMiddleware
from extauthz.gateway.checks import Check
from extauthz.gateway.headers import HeaderNames
from extauthz.gateway.keycache import Times
from extauthz.gateway.keyset import JwksError
from extauthz.gateway.refusal import REASONS, StampRefused
from extauthz.gateway.verifier import Identity, StampVerifier
from extauthz.gateway.wsgi import StampMiddleware as StampWSGIMiddleware

__all__ = [
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
