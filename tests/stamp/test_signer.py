"""What is signed, when a stamp is handed out again, and that nothing of it depends on which replica did it."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import KeySet as JoseKeys
from pydantic import ValidationError

from cases.generated import bounded
from extauthz.config.schema import Stamp
from extauthz.stamp import keys
from extauthz.stamp.claims import MAX_STAMP_BYTES, Algorithm, Binding, decode_segment
from extauthz.stamp.keyfile import KeyDirectoryError, new_key
from extauthz.stamp.keys import KeyDirectory
from extauthz.stamp.keyset import KeySet, Schedule
from extauthz.stamp.signature import jose_signature
from extauthz.stamp.signer import Signatures, Stamper, StampTooLargeError
from stamp.clock import NOW, Clock

REQUEST = {
    "gateway": "openclaw",
    "user": "nick@example.com",
    "peer": "10.0.0.7",
    "method": "GET",
    "host": "Gateway.Example.com:8443",
    "path": "/chat?session=1",
}
# Of any length in bytes: most numbers have 32, and the short ones are what goes wrong.
COORDINATES = st.integers(1, 32).flatmap(lambda size: st.integers(1, 256**size - 1))


class Source:
    """Keys of the test's choosing."""

    def __init__(self, *activations: int, algorithm: Algorithm = "ES256") -> None:
        made = tuple(new_key(algorithm, created_at=at, activates_at=at) for at in activations)
        self.keys = KeySet(made, Schedule(lifetime=60))


def claims(stamp: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(decode_segment(stamp.split(".")[1]))
    return value


def kid(stamp: str) -> str:
    value: str = json.loads(decode_segment(stamp.split(".", maxsplit=1)[0]))["kid"]
    return value


def test_a_stamp_says_what_the_format_says() -> None:
    source = Source(NOW)
    stamp = Stamper(source, clock=Clock(NOW + 0.9), bind={"method", "host", "path"}).stamp(**REQUEST)
    header = json.loads(decode_segment(stamp.split(".", maxsplit=1)[0]))
    assert header == {"alg": "ES256", "kid": source.keys.keys[0].kid, "typ": "authz-stamp+jwt"}
    said = claims(stamp)
    assert len(said.pop("jti")) == 22
    assert said == {
        "iss": "extauthz",
        "aud": "openclaw",
        "sub": "nick@example.com",
        "iat": NOW,
        "exp": NOW + 60,
        "prx": "10.0.0.7",
        "htm": "GET",
        "hth": "gateway.example.com",
        "pth": "JNmZk61TxRsCWDSNXhgmXz8Q4IF_XK3WRBU7BcyElWY",
    }


@pytest.mark.parametrize(("bind", "bound"), [(set(), set()), ({"path"}, {"pth"}), ({"method", "host"}, {"htm", "hth"})])
def test_only_what_is_configured_is_bound(bind: set[Binding], bound: set[str]) -> None:
    stamp = Stamper(Source(NOW), clock=Clock(), bind=bind).stamp(**REQUEST)
    assert claims(stamp).keys() & {"htm", "hth", "pth"} == bound


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_joserfc_accepts_what_is_signed_by_hand(algorithm: Algorithm) -> None:
    source = Source(NOW, algorithm=algorithm)
    stamper = Stamper(source, clock=Clock())
    published = JoseKeys.import_key_set({"keys": [dict(key.public_jwk) for key in source.keys.keys]})
    for _ in range(50):  # an R or S that begins with zeros comes once in 128
        read = jws.deserialize_compact(stamper.stamp(**REQUEST), published, algorithms=[algorithm])
        assert json.loads(read.payload)["sub"] == "nick@example.com"


@bounded
@given(st.text(min_size=1, max_size=40))
def test_every_user_comes_through_unchanged(user: str) -> None:
    stamp = STAMPER.stamp(**{**REQUEST, "user": user})
    assert claims(stamp)["sub"] == user
    assert stamp.isascii()


STAMPER = Stamper(Source(NOW, algorithm="EdDSA"), clock=Clock())


def test_without_reuse_every_request_has_its_own_stamp() -> None:
    stamper = Stamper(Source(NOW), clock=Clock())
    first, second = claims(stamper.stamp(**REQUEST)), claims(stamper.stamp(**REQUEST))
    assert first["jti"] != second["jti"]


def test_with_reuse_the_same_values_have_the_same_stamp() -> None:
    stamper = Stamper(Source(NOW), clock=Clock(), reuse=5)
    assert stamper.stamp(**REQUEST) == stamper.stamp(**{**REQUEST, "path": "/elsewhere"})


@pytest.mark.parametrize(
    "change",
    [{"gateway": "other"}, {"user": "eve"}, {"peer": "10.0.0.8"}, {"method": "POST"}, {"host": "b"}, {"path": "/b"}],
)
def test_a_stamp_is_never_reused_for_other_values(change: dict[str, str]) -> None:
    stamper = Stamper(Source(NOW), clock=Clock(), reuse=5, bind={"method", "host", "path"})
    first = stamper.stamp(**REQUEST)
    other = stamper.stamp(**{**REQUEST, **change})
    assert first != other
    assert stamper.stamp(**REQUEST) == first


@bounded
@given(st.floats(0, 0.999), st.lists(st.floats(0, 3), max_size=20), st.sampled_from([0.5, 1, 5, 59]))
def test_a_reused_stamp_has_more_than_lifetime_less_reuse_left(start: float, steps: list[float], reuse: float) -> None:
    clock = Clock(NOW + start)
    stamper = Stamper(SOURCE, clock=clock, lifetime=60, reuse=reuse)
    for step in steps:
        clock.now += step
        first = claims(stamper.stamp(**REQUEST))
        assert first["iat"] <= clock.now
        # What was just signed lost no more than the fraction of a second that `iat` drops.
        assert first["exp"] - clock.now > 60 - max(reuse, 1)


SOURCE = Source(NOW, algorithm="EdDSA")


def test_a_stamp_is_not_reused_when_the_clock_was_set_back() -> None:
    clock = Clock()
    stamper = Stamper(Source(NOW - 1000), clock=clock, reuse=5)
    first = stamper.stamp(**REQUEST)
    clock.now -= 100
    assert claims(stamper.stamp(**REQUEST))["iat"] == NOW - 100
    assert stamper.stamp(**REQUEST) != first


def test_a_stamp_of_the_old_key_is_not_reused_after_a_rotation() -> None:
    source = Source(NOW - 1000, NOW + 2)
    clock = Clock()
    stamper = Stamper(source, clock=clock, reuse=30)
    old, new = (key.kid for key in source.keys.keys)
    assert kid(stamper.stamp(**REQUEST)) == stamper.active_kid == old
    clock.now = NOW + 1.999
    assert kid(stamper.stamp(**REQUEST)) == old
    clock.now = NOW + 2
    assert kid(stamper.stamp(**REQUEST)) == stamper.active_kid == new


def test_a_key_removed_from_the_directory_signs_no_more() -> None:
    source = Source(NOW)
    stamper = Stamper(source, clock=Clock(), reuse=30)
    first = stamper.stamp(**REQUEST)
    source.keys = Source(NOW).keys
    assert kid(stamper.stamp(**REQUEST)) == source.keys.keys[0].kid != kid(first)


def test_the_memory_of_stamps_is_bounded() -> None:
    stamper = Stamper(Source(NOW, algorithm="EdDSA"), clock=Clock(), reuse=5, cache_size=10)
    for number in range(100):
        stamper.stamp(**{**REQUEST, "user": f"user-{number}"})
    epoch = stamper._epoch
    assert len(epoch.fresh) + len(epoch.older) <= 10
    last = stamper.stamp(**{**REQUEST, "user": "user-99"})
    assert stamper.stamp(**{**REQUEST, "user": "user-99"}) == last


@pytest.mark.parametrize("reuse", [0, 5])
@pytest.mark.parametrize("name", ["method", "host", "user"])
def test_a_stamp_that_no_verifier_reads_is_neither_signed_nor_kept(name: str, reuse: int) -> None:
    stamper = Stamper(Source(NOW), clock=Clock(), reuse=reuse)
    with pytest.raises(StampTooLargeError, match=f"the {name}"):
        stamper.stamp(**{**REQUEST, name: "x" * 8192})
    assert not stamper._epoch.fresh


def test_the_longest_stamp_is_as_long_as_a_verifier_reads() -> None:
    stamper = Stamper(Source(NOW), clock=Clock())
    longest = 0
    for extra in range(5000, 6100):
        try:
            longest = len(stamper.stamp(**{**REQUEST, "host": "x" * extra}))
        except StampTooLargeError:
            break
    assert MAX_STAMP_BYTES - 3 < longest <= MAX_STAMP_BYTES


def test_long_paths_and_hosts_spelled_otherwise_take_no_room_in_the_memory() -> None:
    stamper = Stamper(Source(NOW), clock=Clock(), reuse=5, bind={"method", "host", "path"})
    first = stamper.stamp(**{**REQUEST, "path": "/" + "x" * 60_000})
    assert stamper.stamp(**{**REQUEST, "path": "/" + "x" * 60_000, "host": "GATEWAY.example.com:1"}) == first
    [kept] = stamper._epoch.fresh
    assert sum(map(len, kept)) < 200


def test_a_user_with_other_letters_makes_no_longer_a_stamp_than_utf_8_does() -> None:
    stamp = Stamper(Source(NOW), clock=Clock()).stamp(**{**REQUEST, "user": "ニック"})
    assert "ニック".encode() in decode_segment(stamp.split(".")[1])


def test_a_lone_surrogate_in_a_host_does_not_make_signing_fail() -> None:
    stamp = Stamper(Source(NOW), clock=Clock()).stamp(**{**REQUEST, "host": "\ud800"})
    assert not claims(stamp)["hth"].isascii()


def test_two_replicas_take_each_others_stamps_through_a_rotation(tmp_path: Path) -> None:
    keys.generate(tmp_path / "keys", "ES256", now=NOW)
    keys.rotate(tmp_path / "keys", now=NOW)
    clocks = [Clock(), Clock()]
    replicas = [KeyDirectory(tmp_path / "keys", clock=clock) for clock in clocks]
    stampers = [Stamper(replica, clock=clock) for replica, clock in zip(replicas, clocks, strict=True)]
    turn = NOW + Schedule().publication
    signed: list[tuple[float, str]] = []
    for moment in range(turn - 100, turn + 300):
        clocks[0].now, clocks[1].now = moment - 5, moment + 5
        signed += [(moment, kid(stamper.stamp(**REQUEST))) for stamper in stampers]
        for replica in replicas:
            published = replica.jwks().body.decode()
            # Whoever still takes a stamp of the last 80 s finds its key on whichever replica it asks.
            assert all(used in published for when, used in signed if when > moment - 80)
    assert len({used for _, used in signed}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"lifetime": 0},
        {"lifetime": 61},
        {"reuse": 60},
        {"reuse": -1},
        {"cache_size": 1},
        {"bind": {"cookie"}},
        {"issuer": ""},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Stamper(Source(NOW), clock=Clock(), **wrong)


def test_an_empty_list_of_bindings_is_refused_by_the_configuration() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Stamp.model_validate({"bind": []})


def test_a_directory_without_a_key_of_the_configured_algorithm_is_refused() -> None:
    with pytest.raises(KeyDirectoryError, match="rotate --algorithm EdDSA"):
        Stamper(Source(NOW), algorithm="EdDSA", clock=Clock())
    Stamper(Source(NOW), algorithm="ES256", clock=Clock())


def test_no_key_is_an_error_and_no_unsigned_stamp() -> None:
    source = Source(NOW)
    stamper = Stamper(source, clock=Clock())
    source.keys = KeySet((), Schedule())
    with pytest.raises(KeyDirectoryError, match="keys generate"):
        stamper.stamp(**REQUEST)


@bounded
@given(r=COORDINATES, s=COORDINATES)
def test_signature_has_its_two_numbers_at_full_length_however_small_they_are(r: int, s: int) -> None:
    assert jose_signature(encode_dss_signature(r, s)) == r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_signatures_are_counted_exactly_from_many_threads_and_reading_counts_none() -> None:
    signatures = Signatures()

    def sign() -> None:
        for _ in range(5_000):
            signatures.add()

    threads = [threading.Thread(target=sign) for _ in range(8)]
    for thread in threads:
        thread.start()
    seen = [signatures.total for _ in range(100)]
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    assert [signatures.total for _ in range(3)] == [40_000] * 3
