"""What the tests of assertions have in common: an issuer, a verifier that knows its key, and a JWKS source."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assertion.issuer import Issuer
from assertion.judge import Judge, jwks_file, rules
from gateway.servers import JwksServer


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def judge(issuer: Issuer, tmp_path: Path) -> Iterator[Judge]:
    found = Judge(rules(jwks_file(tmp_path, issuer)))
    yield found
    found.assertions.close()


@pytest.fixture
def source() -> Iterator[JwksServer]:
    server = JwksServer()
    yield server
    server.close()
