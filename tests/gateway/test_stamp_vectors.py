"""docs/stamp-vectors.json, held against our verifier, against joserfc, and against the script that makes it."""

import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from extauthz.gateway import REASONS, StampRefused, StampVerifier
from gateway import stamp_vectors

FILE: dict[str, Any] = json.loads(stamp_vectors.FILE.read_text())
VECTORS: list[dict[str, Any]] = FILE["vectors"]
UNTESTED = {"stamp_keys_unavailable", "stamp_binding_missing", "stamp_internal_error"}
"""Refusals that no stamp brings about by itself."""


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_verifier_says_what_the_vector_says(vector: dict[str, Any]) -> None:
    known = FILE["verifier"]
    verifier = StampVerifier(
        FILE["jwks"],
        audience=known["audience"],
        issuer=known["issuer"],
        algorithms=known["algorithms"],
        leeway=known["leewaySeconds"],
        clock=lambda: FILE["now"],
    )
    checks = verifier.explain(vector["stamp"], **vector["request"])
    assert next((check.reason for check in checks if not check.passed), None) == vector["reason"]
    if vector["accepted"]:
        verifier.verify(vector["stamp"], **vector["request"])
        return
    with pytest.raises(StampRefused) as raised:
        verifier.verify(vector["stamp"], **vector["request"])
    assert raised.value.reason == vector["reason"]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_joserfc_agrees_on_the_signature(vector: dict[str, Any]) -> None:
    keys = KeySet.import_key_set(FILE["jwks"])
    try:
        jws.deserialize_compact(vector["stamp"], keys, algorithms=["ES256", "EdDSA"])
        signed = True
    except (JoseError, ValueError):
        signed = False
    if vector["accepted"]:
        assert signed
    if vector["reason"] in {"stamp_signature", "stamp_key_unknown"}:
        assert not signed


def test_every_reason_that_a_stamp_can_bring_about_has_a_vector() -> None:
    assert {vector["reason"] for vector in VECTORS if vector["reason"]} == REASONS.keys() - UNTESTED


def test_the_file_is_what_the_script_makes() -> None:
    assert stamp_vectors.FILE.read_text() == stamp_vectors.text()
