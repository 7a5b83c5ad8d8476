"""Which key signs and which are published: a pure function, held against its invariants at every second."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from cases.generated import bounded
from extauthz.stamp.claims import Algorithm
from extauthz.stamp.keyfile import new_key
from extauthz.stamp.keyset import KeySet, Schedule, SigningKey

SCHEDULE = Schedule(lifetime=60)
POOL = [new_key("EdDSA", created_at=0, activates_at=0).private_key for _ in range(4)]


def keys_at(*activations: int) -> KeySet:
    keys = [
        SigningKey(private, activates_at=at, created_at=max(0, at - 300))
        for private, at in zip(POOL, activations, strict=False)
    ]
    return KeySet(tuple(keys), SCHEDULE)


def states(keys: KeySet, now: float) -> list[str]:
    return [state for _, state in keys.states(now)]


def test_a_rotation_goes_through_every_state() -> None:
    keys = keys_at(1000, 2000)
    assert states(keys, 1999.9) == ["active", "next"]
    assert states(keys, 2000) == ["previous", "active"]
    assert states(keys, 2000 + SCHEDULE.withdrawal - 0.1) == ["previous", "active"]
    assert states(keys, 2000 + SCHEDULE.withdrawal) == ["retired", "active"]


def test_the_first_key_signs_on_a_replica_whose_clock_is_late() -> None:
    keys = keys_at(1000)
    assert states(keys, 990) == ["active"]
    assert keys.next_change(990) == math.inf


def test_the_previous_key_outlives_its_last_stamp_for_every_clock() -> None:
    # The last stamp is signed by a replica 10 s late, taken by a verifier 10 s late with its leeway, from a JWKS of a
    # replica that is ahead.
    last_end = SCHEDULE.skew + SCHEDULE.lifetime + SCHEDULE.leeway + SCHEDULE.skew
    assert SCHEDULE.withdrawal >= last_end


@bounded
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=4, unique=True),
    st.floats(0, 4000, allow_nan=False),
)
def test_exactly_one_key_signs_and_it_is_published(activations: list[int], now: float) -> None:
    keys = keys_at(*activations)
    active = [key for key, state in keys.states(now) if state == "active"]
    assert active == [keys.active(now)]
    assert active[0] in keys.published(now)
    assert keys.active(now) is keys.active(math.nextafter(keys.next_change(now), -math.inf))


@bounded
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=4, unique=True), st.integers(0, 4000), st.integers(-10, 10))
def test_what_one_replica_signs_another_publishes_until_the_stamp_ends(
    activations: list[int], now: int, skew: int
) -> None:
    keys = keys_at(*activations)
    signer = keys.active(now)
    for later in range(0, SCHEDULE.lifetime + SCHEDULE.leeway + 1, 5):
        assert signer in keys.published(now + later + skew)


def test_no_keys_sign_nothing() -> None:
    keys = KeySet((), SCHEDULE)
    assert keys.active(1000) is None
    assert keys.published(1000) == []


@pytest.mark.parametrize("lifetime", [0, -1, 3601])
def test_a_lifetime_that_no_verifier_takes_is_refused(lifetime: int) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        Schedule(lifetime=lifetime)


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Schedule(skew=-1)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_kid_is_the_thumbprint_that_joserfc_computes(algorithm: Algorithm) -> None:
    key = new_key(algorithm, created_at=0, activates_at=0)
    public = {name: value for name, value in key.public_jwk.items() if name in {"kty", "crv", "x", "y"}}
    kind = ECKey if algorithm == "ES256" else OKPKey
    assert key.kid == kind.import_key(dict(public)).thumbprint()
    assert "d" not in key.public_jwk


def test_a_key_is_shown_without_its_private_part() -> None:
    key = new_key("ES256", created_at=0, activates_at=0)
    assert "private" not in repr(key).lower()
    assert "EllipticCurve" not in repr(KeySet((key,), SCHEDULE))
