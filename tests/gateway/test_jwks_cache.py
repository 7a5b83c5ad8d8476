"""The keys that a verifier keeps: a source that goes, rotations, floods of unknown kids, forks."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest

from extauthz.gateway import JwksError, StampRefused, StampVerifier, Times
from extauthz.gateway.keycache import MAX_WAITERS, KeyCache
from extauthz.stamp.claims import encode_segment
from gateway.forge import HOST, USER, Forge
from gateway.servers import JwksServer, until

QUICK = Times(refresh=0.05, retry=0.05, unknown_kid=0.0, wait=10)


def reason(verifier: StampVerifier, stamp: str) -> str:
    with pytest.raises(StampRefused) as raised:
        verifier.verify(stamp, method="GET", host=HOST)
    return raised.value.reason


def user(verifier: StampVerifier, stamp: str) -> str:
    return verifier.verify(stamp, method="GET", host=HOST).user


def key_cache(verifier: StampVerifier) -> KeyCache:
    assert isinstance(verifier._keys, KeyCache)
    return verifier._keys


def test_a_source_that_is_gone_leaves_the_last_good_keys(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    with forge.verifier(jwks=source.url, times=QUICK, cache_size=0) as verifier:
        assert user(verifier, forge.stamp()) == USER
        source.close()
        cache = key_cache(verifier)
        until(lambda: cache.fault)
        reads = cache.reads
        until(lambda: cache.reads > reads + 1)
        assert user(verifier, forge.stamp()) == USER


def test_a_source_that_turns_wrong_leaves_the_last_good_keys(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    with forge.verifier(jwks=source.url, times=QUICK, cache_size=0) as verifier:
        assert user(verifier, forge.stamp()) == USER
        source.serve({"keys": []})
        until(lambda: key_cache(verifier).fault)
        assert user(verifier, forge.stamp()) == USER
        source.serve(forge.jwks)
        until(lambda: key_cache(verifier).fault is None)


def test_keys_of_a_source_that_is_gone_for_a_day_are_used_no_more(forge: Forge) -> None:
    now = [0.0]
    documents: list[bytes | None] = [json.dumps(forge.jwks).encode()]

    def fetch() -> bytes:
        if documents[0] is None:
            raise JwksError("gone")
        return documents[0]

    cache = KeyCache(fetch, Times(max_stale=86400), monotonic=lambda: now[0])
    cache.close()  # no thread, which would read at a time of its own: this test is the reader
    cache.read_now()
    assert cache.current()
    documents[0] = None
    now[0] = 86400.0
    cache.read_now()
    assert cache.current()
    now[0] = 86400.1
    assert cache.current() is None


def test_a_rotated_key_is_fetched_when_its_first_stamp_comes(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    times = Times(refresh=3600, unknown_kid=0.0, wait=10)
    other = Forge()
    with forge.verifier(jwks=source.url, times=times) as verifier:
        assert user(verifier, forge.stamp()) == USER
        source.serve({"keys": forge.jwks["keys"] + other.jwks["keys"]})
        assert user(verifier, other.stamp()) == USER
        assert user(verifier, forge.stamp()) == USER
        assert source.requests == 2


def test_a_rotated_key_is_fetched_without_blocking_the_event_loop(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    other = Forge()

    async def scenario(verifier: StampVerifier) -> list[str]:
        await verifier.verify_async(forge.stamp(), method="GET", host=HOST)
        source.serve(other.jwks)
        source.hold.clear()
        waiting = [asyncio.create_task(verifier.verify_async(other.stamp(), method="GET", host=HOST)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)  # and the loop runs on
        source.hold.set()
        return [found.user for found in await asyncio.gather(*waiting)]

    times = Times(refresh=3600, unknown_kid=0.0, wait=60)
    with forge.verifier(jwks=source.url, times=times, timeout=60) as verifier:
        assert asyncio.run(scenario(verifier)) == [USER] * 3
    assert source.requests == 2


def test_background_refresh_sees_a_rotation_before_any_stamp(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    other = Forge()
    with forge.verifier(jwks=source.url, times=QUICK) as verifier:
        verifier.load()
        source.serve(other.jwks)
        until(lambda: other.key.kid in (key_cache(verifier).current() or {}))


def test_a_flood_of_unknown_kids_does_not_hammer_the_source(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    # However long the flood lasts here: in the time that an unknown kid has to wait there is no second fetch.
    with forge.verifier(jwks=source.url, times=Times(refresh=3600, unknown_kid=3600)) as verifier:
        assert user(verifier, forge.stamp()) == USER
        for number in range(200):
            kid = encode_segment(number.to_bytes(32, "big"))
            assert reason(verifier, forge.stamp(header={"kid": kid})) == "stamp_key_unknown"
        assert source.requests == 1


def test_a_kid_that_cannot_be_ours_is_never_looked_for(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    with forge.verifier(jwks=source.url, times=Times(refresh=3600, unknown_kid=0.0)) as verifier:
        assert user(verifier, forge.stamp()) == USER
        assert reason(verifier, forge.stamp(header={"kid": "../../etc/passwd"})) == "stamp_header"
        assert reason(verifier, forge.stamp(header={"alg": "none"})) == "stamp_algorithm"
        assert source.requests == 1


def test_a_read_that_ends_between_two_looks_is_not_missed(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = forge.verifier(jwks="absent.json")
    cache = key_cache(verifier)
    monkeypatch.setattr(cache, "_fetch", lambda: json.dumps(forge.jwks).encode())
    look = cache.current
    looks: list[int] = []

    def late() -> object:
        if not looks:
            looks.append(1)
            cache.close()  # no thread: this test is the reader
            cache.read_now()
            return None
        return look()

    monkeypatch.setattr(cache, "current", late)
    assert user(verifier, forge.stamp()) == USER


def test_one_fetch_answers_all_who_wait(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    source.hold.clear()
    found: list[str] = []
    with forge.verifier(jwks=source.url, times=Times(refresh=3600, wait=60), timeout=60) as verifier:
        threads = [threading.Thread(target=lambda: found.append(user(verifier, forge.stamp()))) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: source.requests)
        source.hold.set()
        for thread in threads:
            thread.join()
    assert found == [USER] * 8
    assert source.requests == 1


def test_a_slow_source_keeps_a_request_only_for_a_while(source: JwksServer, forge: Forge) -> None:
    source.hold.clear()
    with forge.verifier(jwks=source.url, times=Times(wait=0.05)) as verifier:
        assert reason(verifier, forge.stamp()) == "stamp_keys_unavailable"


def test_a_flood_of_unknown_kids_before_a_slow_source_holds_only_so_many(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    unknown = Forge().stamp()

    async def scenario(verifier: StampVerifier) -> tuple[int, int]:
        await verifier.verify_async(forge.stamp(), method="GET", host=HOST)
        source.hold.clear()
        flood = [verifier.verify_async(unknown, method="GET", host=HOST) for _ in range(3 * MAX_WAITERS)]
        tasks = [asyncio.create_task(one) for one in flood]
        await asyncio.sleep(0.2)
        held = sum(not task.done() for task in tasks)
        reads = key_cache(verifier).reads
        await asyncio.to_thread(reason, verifier, unknown)  # a thread is not held either
        assert key_cache(verifier).reads == reads  # what it would have been held for has not come yet
        source.hold.set()
        reasons = [getattr(found, "reason", None) for found in await asyncio.gather(*tasks, return_exceptions=True)]
        return held, reasons.count("stamp_key_unknown")

    times = Times(refresh=3600, unknown_kid=0.0, wait=60)
    with forge.verifier(jwks=source.url, times=times, timeout=60) as verifier:
        assert asyncio.run(scenario(verifier)) == (MAX_WAITERS, 3 * MAX_WAITERS)
        assert key_cache(verifier)._waiting == 0


def test_a_thread_that_could_not_be_started_is_started_later(
    source: JwksServer, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.serve(forge.jwks)

    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with forge.verifier(jwks=source.url) as verifier:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            assert reason(verifier, forge.stamp()) == "stamp_internal_error"
        assert user(verifier, forge.stamp()) == USER


def test_a_fetch_that_fails_in_an_unforeseen_way_does_not_end_the_thread() -> None:
    calls: list[int] = []

    def fetch() -> bytes:
        calls.append(1)
        raise MemoryError

    cache = KeyCache(fetch, QUICK)
    assert cache.current() is None
    until(lambda: len(calls) > 2)
    assert cache.fault is not None
    assert "MemoryError" in cache.fault
    cache.close()


def test_a_worker_forked_after_the_first_stamp_serves_on(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    code = """
import os, sys
from extauthz.gateway import StampVerifier
verifier = StampVerifier(sys.argv[1], audience="openclaw")
verifier.load()
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
reads = verifier._keys.reads
verifier._keys.current()
verifier._keys.wait(reads)
os._exit(0 if verifier._keys.reads == reads + 1 else 1)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, source.url], check=True, timeout=60)
    assert source.requests == 2


def test_a_closed_verifier_waits_for_nothing(source: JwksServer, forge: Forge) -> None:
    verifier = forge.verifier(jwks=source.url)
    verifier.close()
    assert reason(verifier, forge.stamp()) == "stamp_keys_unavailable"
    assert source.requests == 0


def test_a_verifier_that_nobody_holds_ends_its_thread(source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    verifier = forge.verifier(jwks=source.url, times=QUICK)
    verifier.load()
    thread = key_cache(verifier)._thread
    assert thread is not None
    del verifier
    until(lambda: not thread.is_alive())
