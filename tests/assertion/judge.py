"""Verifiers for tests that need no service: with keys of a file or a URL, at a time that the test says."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assertion.issuer import AUDIENCE, ISSUER, Issuer
from extauthz.assertion.assertions import Assertions
from extauthz.assertion.rules import KeySource, Rules
from extauthz.core.assertion import Flaw, Refused, Verdict, Verified
from gateway.forge import NOW, Clock

if TYPE_CHECKING:
    from extauthz.assertion.verifier import AssertionVerifier


def rules(location: str | Path, **changed: Any) -> Rules:
    """What a gateway of these tests accepts, but for these values."""
    usual: dict[str, Any] = {
        "source": KeySource(location=str(location)),
        "issuer": ISSUER,
        "audiences": (AUDIENCE,),
        "user_claim": "email",
        "algorithms": frozenset({"ES256"}),
    }
    return Rules(**usual | changed)


def jwks_file(folder: Path, *issuers: Issuer, entries: tuple[object, ...] = ()) -> Path:
    """Write a JWKS with the keys of these issuers."""
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": [*entries, *(issuer.jwk for issuer in issuers)]}), encoding="utf-8")
    return path


class Judge:
    """One verifier at a time of the test's own, and its memory."""

    def __init__(self, wanted: Rules, *, now: float = NOW) -> None:
        self.clock = Clock(now)
        self.assertions = Assertions(clock=self.clock, patient=True)
        self.verifier: AssertionVerifier = self.assertions.verifier(wanted)

    def verdict(self, token: str) -> Verdict:
        """What comes of a token; a refusal never shows it."""
        found = self.verifier.verify(token)
        if isinstance(found, Refused) and token:
            assert token not in found.detail
            assert not any(len(part) > 20 and part in found.detail for part in token.split("."))
        return found

    def verified(self, token: str) -> Verified:
        """What a good token says."""
        found = self.verdict(token)
        assert isinstance(found, Verified), found
        return found

    def refused(self, token: str) -> str:
        """Why a token is not believed."""
        found = self.verdict(token)
        assert isinstance(found, Refused), found
        return found.detail

    def flaw(self, token: str) -> Flaw:
        """The kind of refusal."""
        found = self.verdict(token)
        assert isinstance(found, Refused), found
        return found.flaw
