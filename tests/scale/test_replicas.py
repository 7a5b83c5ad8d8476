"""Three replicas behind real Envoy, killed and started again in turn under load while their keys turn over.

What is counted: nothing wrongly allowed, nothing lost, no stamp that the Gateway does not accept.
"""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from extauthz.gateway import StampVerifier, Times
from extauthz.gateway.reference import application
from gateway.servers import uvicorn_running
from proxies.stamp_chain import CONFIG, routes_to
from proxies.test_envoy_key_rotation import PUBLISHED_SECONDS, activate, keys, knows, published
from support.front import WATCHFUL, Front, running_front
from support.load import Load, ask
from support.process import wait_until
from support.service import Service, running_service
from support.world import IDENTITY, STRANGER, identity

HOST = "openclaw.example.com"
FORGED = (("x-authz-user", "admin@example.com"), ("x-authz-stamp", "e30.e30.e30"), ("x-authz-gateway", "openclaw"))
ASKS = (
    ask("good", host=HOST),
    # A forged identity beside the true one: it passes as the true one, or not at all.
    ask("good, with forged headers", (*IDENTITY, *FORGED), host=HOST),
    ask("from a stranger", IDENTITY, source=STRANGER, host=HOST),
    ask("nobody named", identity(x_forwarded_user=None), host=HOST),
    ask("not on the list", identity(x_forwarded_user="eve@example.com"), host=HOST),
)
EXPECTED = {
    ("good", 200),
    ("good, with forged headers", 200),
    ("from a stranger", 403),
    ("nobody named", 401),
    ("not on the list", 403),
}
UNANSWERED = 503
RETRIED = "cluster.extauthz.upstream_rq_retry"
REPLICAS = 3
# A question that is cut off is asked again of another. So is not one whose answer has begun: native sends the status
# of an answer apart, and a crash between the two loses it. It is refused, as is everything without an answer.
LOST_IN_A_CRASH = {"grpcio": 0, "native": len(ASKS)}


def answered(load: Load) -> set[tuple[str, int]]:
    """Return what there was of answers, but for those that Envoy gave for want of one."""
    return {(name, status) for name, status in load.answers if status != UNANSWERED}


@contextlib.contextmanager
def replicated(directory: Path) -> Iterator[tuple[Front, list[Service], StampVerifier]]:
    """Envoy with three replicas that share their keys, and a Gateway that verifies what arrives."""
    shared = directory / "keys"
    keys("generate", shared)
    # Each request is signed anew, so that a key that only one of them knows would show at once.
    stamp = {"keys": str(shared), "generateKeys": False, "reuse": "0s", "bind": ["method", "host", "path"]}
    config = {**CONFIG, "stamp": stamp, "server": {"drainSeconds": 8}}
    with contextlib.ExitStack() as stack:
        replicas = [stack.enter_context(running_service(directory / f"replica-{n}", config)) for n in range(REPLICAS)]
        # Asked of one that is not the first to be killed, and later read from what is remembered.
        times = Times(refresh=1.0)
        verifier = stack.enter_context(StampVerifier(replicas[-1].jwks_url, audience="openclaw", times=times))
        gateway = stack.enter_context(uvicorn_running(application(verifier)))
        addresses = [replica.address for replica in replicas]
        routes = routes_to({"openclaw": gateway})
        front = stack.enter_context(running_front(directory / "front", routes=routes, extauthz=addresses, **WATCHFUL))
        yield front, replicas, verifier


def test_replicas_are_killed_in_turn_while_keys_turn_over_and_nothing_is_lost_or_slips_through(
    tmp_path: Path, engine: str
) -> None:
    with replicated(tmp_path) as (front, replicas, verifier):
        with Load(front.port, ASKS) as load:
            lost = 0

            def more(*, crashed: bool = False, number: int = 20) -> None:
                """Wait for so many more answers of every kind; none is another, but for what a crash may lose."""
                nonlocal lost
                before = load.answers
                wait_until(
                    lambda: (
                        not answered(load) <= EXPECTED
                        or all(load.answers[kind] >= before[kind] + number for kind in EXPECTED)
                    ),
                    "answers of every kind",
                )
                assert answered(load) == EXPECTED
                lost_now = load.count(UNANSWERED) - lost
                lost += lost_now
                assert lost_now <= (LOST_IN_A_CRASH[engine] if crashed else 0)

            more()
            new = keys("rotate", tmp_path / "keys", "--activate-after", str(PUBLISHED_SECONDS))["kid"]
            wait_until(lambda: all(new in published(one) for one in replicas), "all publishing the next key")
            wait_until(lambda: knows(verifier, new), "the Gateway knowing the next key")
            activate(tmp_path / "keys", new)  # they see it in their own time, while they are killed
            for number, replica in enumerate(replicas):
                wait_until(lambda: front.envoy.finds_well(REPLICAS), "Envoy knowing all of them")
                if crash := number % 2 == 0:
                    replica.program.kill()
                else:
                    replica.program.stop()  # drained, as by an orderly roll-out
                more(crashed=crash)
                replica.restart()
                more()
            wait_until(lambda: all(new in one.program.log_text() for one in replicas), "all signing with the new key")
            more()
        assert answered(load) == EXPECTED
        assert load.count(UNANSWERED) == lost
        assert front.envoy.counter(RETRIED) > 0  # a crash cuts questions off, and these are asked again


def test_replica_that_is_asked_to_end_answers_all_who_still_ask(tmp_path: Path) -> None:
    # Envoy asks again where a question was cut off. In an orderly end none is: it hears of it, and goes elsewhere.
    with replicated(tmp_path) as (front, replicas, _), Load(front.port, ASKS) as load:
        wait_until(lambda: set(load.answers) >= EXPECTED, "answers of every kind")
        for replica in replicas[:2]:
            before = load.count(200)
            replica.program.signal(signal.SIGTERM)
            assert replica.program.wait_end() == 0
            wait_until(lambda: load.count(200) >= before + 20, "requests that another one allows")  # noqa: B023
        assert set(load.answers) == EXPECTED
        assert front.envoy.counter(RETRIED) == 0
