"""What time may change is never recalled: an equal question with a signed assertion is decided anew each time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assertion.cases import HEADER, gateways
from assertion.issuer import USER, Issuer
from assertion.judge import jwks_file
from cases.build import LOOPBACK, PEER, load_gateways
from cases.messages import FORMS, Form, check_request, read
from extauthz.assembly import make_snapshot
from extauthz.assertion.assertions import Assertions
from extauthz.authorizer import Authorizer
from extauthz.wire.forward_auth import HttpMessage
from gateway.forge import NOW, Clock

# The token's own five minutes, and the leeway.
OVER = 300 + 31


class Timed:
    """An authorizer whose clock is the test's."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.issuer = Clock(NOW), Issuer()
        self.assertions = Assertions(clock=self.clock, patient=True)
        loaded = load_gateways(gateways(str(jwks_file(folder, self.issuer)), PEER), stamp={"enabled": False})
        self.authorizer = Authorizer(make_snapshot(loaded, verifiers=self.assertions.verifier))
        self.pairs = [("x-forwarded-user", USER), (HEADER, self.issuer.token(now=NOW))]


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[Timed]:
    made = Timed(tmp_path)
    yield made
    made.assertions.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["openclaw", "claims"])
def test_token_that_expired_between_two_equal_questions(name: str, form: Form, timed: Timed) -> None:
    message = check_request(timed.pairs, form=form, gateway=name)
    for _ in range(3):
        assert read(timed.authorizer.check(message, LOOPBACK)).told == f"allow:{USER}"
    timed.clock.now += OVER
    told = read(timed.authorizer.check(message, LOOPBACK)).told
    assert told == "deny:trusted_proxy_assertion_expired"


@pytest.mark.parametrize("name", ["openclaw", "claims"])
def test_token_that_expired_between_two_equal_questions_over_http(name: str, timed: Timed) -> None:
    said = [("x-forwarded-for", PEER), ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/")]
    headers = [(name.encode(), value.encode()) for name, value in (*said, *timed.pairs)]
    message = HttpMessage.of("GET", f"/forward-auth/traefik/{name}".encode(), headers)
    for _ in range(3):
        assert timed.authorizer.forward(message, LOOPBACK).status == 200
    timed.clock.now += OVER
    answer = timed.authorizer.forward(message, LOOPBACK)
    assert (answer.status, dict(answer.headers)[b"x-authz-reason"]) == (403, b"trusted_proxy_assertion_expired")
