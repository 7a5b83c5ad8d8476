"""A reload under load: every request is answered, each under one policy, whichever it is."""

import gc
import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from cases.build import LOOPBACK, gateway, text_of
from cases.messages import Outcome, check_request, read, set_headers
from doors.door import call, channel, serving
from extauthz.config.load import load
from extauthz.service import Service
from extauthz.stamp.claims import decode_segment
from extauthz.stamp.signer import Stamper
from extauthz.wire.answer import AnswerBuilder
from support.engine import ENGINES, chosen
from support.files import replace_text
from support.process import wait_until

SIGNALS_OF_A_STORM = 1500
STORM_PAUSE_SECONDS = 0.001
USERS = {"a": "anna@example.com", "b": "bert@example.com"}


def configuration(name: str, **sections: Any) -> str:
    """Return a policy in which everything differs by name: whose header counts, who may enter, how answers look."""
    rules = {"userHeader": f"x-user-{name}", "allowUsers": [USERS[name]], "requiredHeaders": [f"x-proof-{name}"]}
    return text_of(
        {
            "headers": {key: f"x-{key}-{name}" for key in ("user", "gateway", "decision", "stamp")},
            "stamp": {"issuer": name, "reuse": "0s"},
            "denial": {"body": "json" if name == "a" else "empty"},
            **sections,
            "gateways": {"g": gateway(rules, trustedProxies=[f"10.0.0.{ord(name)}"])},
        }
    )


def message(name: str) -> bytes:
    """A request that the policy of this name allows, and the other one denies."""
    pairs = [(f"x-user-{name}", USERS[name]), (f"x-proof-{name}", "yes")]
    return check_request(pairs, peer=f"10.0.0.{ord(name)}")


def decided_by(asked: str, outcome: Outcome) -> str:
    """Return the name of the policy that gave an answer; it fails where an answer is not wholly of one."""
    headers = set_headers(outcome.response)
    if outcome.passes:
        assert outcome.user == USERS[asked]
        assert set(headers) == {f"x-user-{asked}", *(f"x-{key}-{asked}" for key in ("gateway", "decision", "stamp"))}
        claims = decode_segment(headers[f"x-stamp-{asked}"].split(".")[1])
        assert f'"iss":"{asked}"'.encode() in claims
        assert f'"sub":"{USERS[asked]}"'.encode() in claims
        return asked
    other = "b" if asked == "a" else "a"
    assert outcome.reason == "trusted_proxy_untrusted_source"
    assert bool(outcome.response.denied_response.body) == (other == "a")
    return other


class Askers:
    """Threads that ask for both policies' users in turn until they are told to stop, and tell who decided."""

    def __init__(self, asks: list[Callable[[bytes], bytes]]) -> None:
        self.decided: Counter[str] = Counter()
        self.faults: list[BaseException] = []
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(ask,), daemon=True) for ask in asks]

    def _ask(self, ask: Callable[[bytes], bytes]) -> None:
        messages = {name: message(name) for name in USERS}
        try:
            for name in itertools.cycle(USERS):
                if self._end.is_set():
                    return
                found = decided_by(name, read(ask(messages[name])))
                with self._lock:
                    self.decided[found] += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test fails with it
            self.faults.append(error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, number: int) -> None:
        """Wait until so many more requests are answered, or one failed."""
        wanted = self.decided.total() + number
        wait_until(lambda: self.decided.total() >= wanted or bool(self.faults), "requests that are answered")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    file = tmp_path / "extauthz.yaml"
    file.write_text(configuration("a"), encoding="utf-8")
    made = Service(file, load(file), lambda: load(file))
    yield made
    made.telemetry.close()


def test_no_request_fails_or_mixes_two_policies_while_they_change(service: Service, tmp_path: Path) -> None:
    asks = [lambda text: service.authorizer.check(text, LOOPBACK)] * 4
    with Askers(asks) as askers:
        for name in itertools.islice(itertools.cycle("ba"), 20):
            (tmp_path / "extauthz.yaml").write_text(configuration(name), encoding="utf-8")
            assert service.reloader.reload()
            askers.wait_for(200)
    assert askers.faults == []
    assert set(askers.decided) == {"a", "b"}
    counted = service.telemetry.tally.read().decisions
    assert sum(counted.values()) == askers.decided.total()
    assert {outcome.reason for outcome in counted} == {"", "trusted_proxy_untrusted_source"}


@pytest.mark.parametrize("engine", ENGINES)
def test_no_call_fails_while_the_service_is_told_to_read_again_and_again(tmp_path: Path, engine: str) -> None:
    file = tmp_path / "extauthz.yaml"
    with chosen(engine), serving(tmp_path, {"gateways": {"g": gateway()}}) as served:
        # In one step, as all that follow: the service reads at a signal, also at one that came before.
        replace_text(file, configuration("a"))
        served.program.signal(signal.SIGHUP)
        with channel(served.address) as opened:
            wait_until(lambda: b"x-user-a" in call(opened, message("a")), "the configuration to be in force")

            def ask(text: bytes) -> bytes:
                return call(opened, text)

            with Askers([ask] * 3) as askers:
                for name in itertools.islice(itertools.cycle("ba"), 6):
                    replace_text(file, configuration(name))
                    served.program.signal(signal.SIGHUP)
                    before = askers.decided[name]
                    wait_until(lambda: askers.decided[name] > before + 20 or bool(askers.faults), "the new one")  # noqa: B023 - waited for here
                    # What cannot be used changes nothing.
                    replace_text(file, "gateways: {g: {trustedProxies: ['*']}}")
                    served.program.signal(signal.SIGHUP)
                    askers.wait_for(50)
            assert askers.faults == []
        refused = [line for line in served.logged() if "the new configuration is refused" in line["event"]]
        assert refused
        assert all("trustedProxies[0]" in fault for line in refused for fault in line["faults"])


def test_file_is_read_again_without_being_asked_and_sighup_ends_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, {"gateways": {"g": gateway()}}) as served, channel(served.address) as opened:
        assert read(call(opened, message("b"))).told.startswith("deny:")
        (tmp_path / "extauthz.yaml").write_text(configuration("b"), encoding="utf-8")
        wait_until(lambda: read(call(opened, message("b"))).told == f"allow:{USERS['b']}", "the new configuration")
        served.program.signal(signal.SIGHUP)
        wait_until(lambda: served.program.log_text().count("was read again and is in force") >= 2, "the signal")
        assert read(call(opened, message("b"))).told == f"allow:{USERS['b']}"
        assert served.program.returncode is None


def test_no_storm_of_signals_keeps_the_service_from_reading_again_or_from_ending(tmp_path: Path) -> None:
    # A signal may come at any instruction of the thread that it wakes, while that holds whichever lock.
    with serving(tmp_path, {"gateways": {"g": gateway()}}) as served:
        for _ in range(SIGNALS_OF_A_STORM):
            served.program.signal(signal.SIGHUP)
            time.sleep(STORM_PAUSE_SECONDS)  # at once they would be few: one that waits stands for all that follow
        reads = served.program.log_text().count("was read again and is in force")
        served.program.signal(signal.SIGHUP)
        wait_until(lambda: served.program.log_text().count("was read again and is in force") > reads, "another reading")
        served.program.signal(signal.SIGTERM)
        assert served.program.wait_end() == 0


def _alive(*kinds: type) -> int:
    """Return how many objects of these kinds there are; of what is compiled there are no weak references."""
    return sum(isinstance(found, kinds) for found in gc.get_objects())


def test_what_a_reload_replaced_is_gone_without_a_collector(service: Service) -> None:
    # Its answers and stamps are some megabytes. The collector of circles comes by seldom, so that none may be in one.
    for number in range(200):
        service.authorizer.check(check_request([("x-user-a", USERS["a"]), (f"x-{number}", "")]), LOOPBACK)
        service.authorizer.check(message("a"), LOOPBACK)
    gc.collect()
    gc.disable()
    try:
        before = _alive(AnswerBuilder, Stamper)
        snapshot = service.authorizer.snapshot
        assert service.reloader.reload()
        assert _alive(AnswerBuilder, Stamper) == before + 2  # the old ones, that are held here, and the new
        del snapshot
        assert _alive(AnswerBuilder, Stamper) == before
    finally:
        gc.enable()


def test_stamping_is_switched_off_and_on_and_to_other_keys(service: Service, tmp_path: Path) -> None:
    def stamped() -> bool:
        return "x-stamp-a" in set_headers(read(service.authorizer.check(message("a"), LOOPBACK)).response)

    def load_with(**stamp: Any) -> bool:
        text = configuration("a", stamp={"issuer": "a", "reuse": "0s", **stamp})
        (tmp_path / "extauthz.yaml").write_text(text, encoding="utf-8")
        return service.reloader.reload()

    assert stamped()
    first = service.keys
    assert load_with(enabled=False)
    assert not stamped()
    assert service.keys is None
    # A directory without a key, where none is to be made: refused, and nothing is signed with nothing.
    assert not load_with(keys="empty", generateKeys=False)
    assert service.keys is None
    assert "no key to sign with" in service.reloader.status.faults[0]
    assert load_with(keys="others")
    assert stamped()
    assert service.keys is not None
    assert first is not None
    assert service.keys.keys.keys[0].kid != first.keys.keys[0].kid
