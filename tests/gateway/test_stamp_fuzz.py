"""The invariant: whatever is changed in a good stamp, it is refused, and nothing but a refusal comes out."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.gateway import Identity, StampRefused, StampVerifier
from extauthz.stamp.claims import encode_segment
from gateway.forge import HOST, NOW, Clock, Forge

FORGES = {"ES256": Forge("ES256"), "EdDSA": Forge("EdDSA")}
STAMPS = {name: forge.stamp() for name, forge in FORGES.items()}
VERIFIERS = {name: forge.verifier() for name, forge in FORGES.items()}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def verdict(verifier: StampVerifier, stamp: str) -> Identity | str:
    try:
        return verifier.verify(stamp, method="GET", host=HOST, path="/")
    except StampRefused as refusal:
        return refusal.reason


def refused(name: str, stamp: str) -> None:
    reason = verdict(VERIFIERS[name], stamp)
    assert isinstance(reason, str)
    assert reason != "stamp_internal_error"


@bounded
@given(st.sampled_from(["ES256", "EdDSA"]), st.data())
def test_any_changed_character_is_refused(name: str, data: st.DataObject) -> None:
    stamp = STAMPS[name]
    place = data.draw(st.integers(0, len(stamp) - 1))
    character = data.draw(st.characters(codec="utf-8") | st.sampled_from("ABCabc012-_.=+/,"))
    changed = stamp[:place] + character + stamp[place + 1 :]
    if changed != stamp:
        refused(name, changed)


@bounded
@given(st.sampled_from(["ES256", "EdDSA"]), st.data())
def test_any_cut_or_repeated_part_is_refused(name: str, data: st.DataObject) -> None:
    stamp = STAMPS[name]
    start = data.draw(st.integers(0, len(stamp)))
    end = data.draw(st.integers(start, len(stamp)))
    middle = data.draw(st.sampled_from(["", stamp[start:end] * 2]) | st.text(max_size=10))
    changed = stamp[:start] + middle + stamp[end:]
    if changed != stamp:
        refused(name, changed)


@bounded
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused(text: str) -> None:
    refused("ES256", text)


@bounded
@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_any_three_parts_are_refused(parts: list[bytes]) -> None:
    refused("ES256", ".".join(map(encode_segment, parts)))


@bounded
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "crit", "x"]), JSON, min_size=1))
def test_any_changed_header_is_refused_even_if_signed(changes: dict[str, Any]) -> None:
    forge = FORGES["EdDSA"]
    if {**forge.header, **changes} != forge.header:
        refused(
            "EdDSA", forge.sign(json.dumps({**forge.header, **changes}).encode(), json.dumps(forge.claims()).encode())
        )


@bounded
@given(st.dictionaries(st.sampled_from([*Forge.claims(), "pth", "nbf", "x"]), JSON))
def test_any_signed_claims_give_an_identity_that_can_be_a_header_or_a_refusal(changes: dict[str, Any]) -> None:
    forge = FORGES["EdDSA"]
    payload = json.dumps({**forge.claims(), **changes}).encode()
    found = verdict(VERIFIERS["EdDSA"], forge.sign(json.dumps(forge.header).encode(), payload))
    assert found != "stamp_internal_error"
    if isinstance(found, Identity):
        assert found.gateway == "openclaw"
        assert found.user.encode().decode() == found.user
        assert not set(found.user) & set(map(chr, [*range(32), *range(127, 160)]))


@bounded
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12))
def test_at_any_time_a_stamp_is_taken_only_while_it_lives(now: float) -> None:
    forge = FORGES["EdDSA"]
    found = verdict(forge.verifier(clock=Clock(now)), STAMPS["EdDSA"])
    if NOW - 10 <= now < NOW + 70:
        assert isinstance(found, Identity)
    else:
        assert found in {"stamp_expired", "stamp_not_yet_valid"}


@bounded
@given(JSON | st.binary(max_size=400))
def test_explain_never_fails(value: Any) -> None:
    forge = FORGES["EdDSA"]
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    for stamp in (forge.sign(json.dumps(forge.header).encode(), payload), forge.sign(payload, b"{}"), repr(value)):
        checks = VERIFIERS["EdDSA"].explain(stamp, method="GET", host=HOST, path="/")
        assert any(check.passed is False for check in checks)
