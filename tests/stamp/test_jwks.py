"""The JWKS document: nothing private, and what caches need."""

import json

from extauthz.stamp import jwks
from extauthz.stamp.keyfile import new_key

KEYS = [new_key("ES256", created_at=0, activates_at=0), new_key("EdDSA", created_at=0, activates_at=0)]


def test_only_public_parts_are_published() -> None:
    document = json.loads(jwks.build(KEYS).body)
    es256, eddsa = document["keys"]
    assert set(es256) == {"kty", "crv", "x", "y", "alg", "use", "kid"}
    assert set(eddsa) == {"kty", "crv", "x", "alg", "use", "kid"}
    assert (es256["alg"], es256["use"], es256["kid"]) == ("ES256", "sig", KEYS[0].kid)
    assert (eddsa["alg"], eddsa["use"], eddsa["kid"]) == ("EdDSA", "sig", KEYS[1].kid)


def test_the_same_keys_have_the_same_etag_on_every_replica() -> None:
    assert jwks.build(KEYS) == jwks.build(list(KEYS))
    assert jwks.build(KEYS).etag != jwks.build(KEYS[:1]).etag


def test_a_cache_that_has_it_gets_no_second_copy() -> None:
    document = jwks.build(KEYS)
    for header in (document.etag, f"W/{document.etag}", f'"other", {document.etag}', "*"):
        assert document.not_modified(header)
    for other in (None, "", '"other"', document.etag.strip('"')):
        assert not document.not_modified(other)
    assert ("cache-control", "public, max-age=60") in document.headers()
    assert ("etag", document.etag) in document.headers()
