"""What a name stands for as time goes by: changes, limits of the TTL, what is kept, and when nobody is trusted."""

import logging
from collections.abc import Iterable, Iterator

import dns.rcode
import dns.rdatatype
import pytest

from extauthz.peers.known import ABSENT_TIMES
from peers.naming import EVIL, KEEP, MAX_TTL, MIN_TTL, NAME, NEW, OLD, Followed, loaded_with
from support.name_server import NameServer, Query, name_server


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server({NAME: [OLD]}) as running:
        yield running


@pytest.fixture
def followed(server: NameServer) -> Iterator[Followed]:
    made = Followed(loaded_with(server, {"g": [f"dns:{NAME}"]}))
    made.after()
    assert made.addresses() == [OLD]
    yield made
    made.peers.close()


def test_name_that_was_never_asked_about_trusts_nobody(server: NameServer) -> None:
    made = Followed(loaded_with(server, {"g": [f"dns:{NAME}"]}))
    assert made.addresses() == []
    assert made.status().fault == "not asked yet"


def test_changed_address_takes_the_place_of_the_old_one(followed: Followed, server: NameServer) -> None:
    server.records[NAME] = [NEW]
    followed.after(MIN_TTL)
    assert followed.addresses() == [NEW]


def test_both_kinds_are_trusted(followed: Followed, server: NameServer) -> None:
    server.records[NAME] = [OLD, "fd00::7"]
    followed.after(MIN_TTL)
    assert followed.addresses() == [OLD, "fd00::7"]


@pytest.mark.parametrize(
    ("ttl", "seconds"), [(0, MIN_TTL), (1, MIN_TTL), (17, 17), (600, MAX_TTL), (2**31 - 1, MAX_TTL)]
)
def test_ttl_holds_within_its_limits(server: NameServer, ttl: int, seconds: int) -> None:
    # A server that says 0 is not asked all the time; one that says a year does not make an address last that long.
    server.ttl = ttl
    made = Followed(loaded_with(server, {"g": [f"dns:{NAME}"]}))
    made.after()
    asked = len(server.asked)
    made.after(seconds - 0.1)
    assert len(server.asked) == asked
    made.after(0.1)
    assert len(server.asked) == asked + 2


def test_kind_that_has_no_addresses_is_not_asked_about_more_often_than_the_other(
    followed: Followed, server: NameServer
) -> None:
    server.ttl = 20
    followed.after(MIN_TTL)
    asked = len(server.asked)
    followed.after(19)
    assert len(server.asked) == asked


def test_server_that_is_down_leaves_the_last_answer_for_its_time_and_then_nobody(
    followed: Followed, server: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say = server.failing(dns.rcode.SERVFAIL)
    with caplog.at_level(logging.INFO, "extauthz"):
        followed.after(MIN_TTL)
        assert followed.addresses() == [OLD]
        followed.clock.seconds += KEEP - 0.1
        assert followed.addresses() == [OLD]
        followed.clock.seconds += 0.1
        assert followed.addresses() == []
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said[0] == ("WARNING", "a trusted name cannot be resolved, its last answer is kept")
    assert ("ERROR", "a trusted name trusts nobody any more") in said
    assert followed.status().changes == {"somebody": 1, "nobody": 1}
    assert followed.status().results["failed"] == 2


def test_name_lapses_also_when_nobody_asks_any_more(followed: Followed) -> None:
    # Whatever became of the threads that ask: time alone ends the trust.
    followed.clock.seconds += MIN_TTL + KEEP
    assert followed.addresses() == []


def test_server_that_comes_back_is_believed_again(followed: Followed, server: NameServer) -> None:
    server.say = server.failing(dns.rcode.SERVFAIL)
    followed.after(MIN_TTL + KEEP)
    assert followed.addresses() == []
    server.say, server.records[NAME] = server.honest, [NEW]
    followed.after(MIN_TTL)
    assert followed.addresses() == [NEW]
    assert followed.status().fault == ""


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        [OLD, "127.0.0.1"],
        ["0.0.0.0"],
        [f"10.{number}.0.1" for number in range(100)],
    ],
    ids=["loopback", "loopback-beside-a-good-one", "everything", "a-hundred"],
)
def test_refused_answer_changes_nothing_is_reported_and_the_last_good_one_lapses_in_its_time(
    followed: Followed, server: NameServer, caplog: pytest.LogCaptureFixture, answer: list[str]
) -> None:
    server.records[NAME] = answer
    with caplog.at_level(logging.INFO, "extauthz"):
        followed.after(MIN_TTL)
    assert followed.addresses() == [OLD]
    assert followed.status().refused
    assert followed.status().results["refused"] == 1
    (said,) = caplog.records
    assert (said.levelname, said.getMessage()) == (
        "ERROR",
        "a trusted name cannot be resolved, its last answer is kept",
    )
    for _ in range(KEEP // MIN_TTL):
        followed.after(MIN_TTL)
    assert followed.addresses() == []


def test_refused_answer_at_the_start_trusts_nobody(server: NameServer) -> None:
    server.records[NAME] = ["127.0.0.1"]
    made = Followed(loaded_with(server, {"g": [f"dns:{NAME}"]}))
    made.after()
    assert made.addresses() == []


def test_container_that_is_gone_is_given_up_when_the_server_has_said_so_twice(
    followed: Followed, server: NameServer
) -> None:
    # Its address may be another container's by now: that the name server answers "no such name" is an answer.
    del server.records[NAME]
    for times in range(1, ABSENT_TIMES):
        followed.after(MIN_TTL)
        assert followed.addresses() == [OLD], times
    followed.after(MIN_TTL)
    assert followed.addresses() == []
    assert followed.status().fault == "there is no such name (NXDOMAIN)"


def test_name_server_that_forgot_for_a_moment_takes_nothing_away(followed: Followed, server: NameServer) -> None:
    records = server.records.pop(NAME)
    followed.after(MIN_TTL)
    server.records[NAME] = records
    followed.after(MIN_TTL)
    del server.records[NAME]
    followed.after(MIN_TTL)
    assert followed.addresses() == [OLD]


def test_name_without_addresses_is_asked_about_soon(followed: Followed, server: NameServer) -> None:
    server.records[NAME] = []
    followed.after(MIN_TTL)
    followed.after(MIN_TTL)
    assert followed.addresses() == []
    server.records[NAME] = [NEW]
    followed.after(MIN_TTL)
    assert followed.addresses() == [NEW]


def test_family_that_cannot_be_asked_about_takes_nothing_from_the_other(followed: Followed, server: NameServer) -> None:
    # Some servers do not know of AAAA.
    def say(query: Query) -> Iterable[bytes]:
        known = query.question[0].rdtype == dns.rdatatype.A
        return server.honest(query) if known else server.failing(dns.rcode.NOTIMP)(query)

    server.say = say
    for _ in range(3):
        followed.after(KEEP - 1)
    assert followed.addresses() == [OLD]
    assert followed.status().fault.startswith("AAAA: ")


def test_only_changes_are_told_counted_and_put_into_force(
    followed: Followed, server: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    first = followed.peers.look()
    with caplog.at_level(logging.INFO, "extauthz"):
        for _ in range(5):
            followed.after(MIN_TTL)
    assert caplog.records == []
    assert followed.peers.look() is first  # by which the service knows that there is nothing to do
    assert followed.news == 1
    server.records[NAME] = [NEW, OLD]
    with caplog.at_level(logging.INFO, "extauthz"):
        followed.after(MIN_TTL)
    assert followed.peers.look() is not first
    (said,) = caplog.records
    assert vars(said)["about"] == {"name": NAME, "addresses": [OLD, NEW], "added": [NEW], "removed": []}
    assert followed.status().changes == {"somebody": 2, "nobody": 0}


def test_fault_is_told_once_and_its_end_too(
    followed: Followed, server: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say = server.failing(dns.rcode.SERVFAIL)
    with caplog.at_level(logging.INFO, "extauthz"):
        for _ in range(4):
            followed.after(MIN_TTL)
        server.say = server.honest
        followed.after(MIN_TTL)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_reload_keeps_what_is_known_of_unchanged_names(followed: Followed, server: NameServer) -> None:
    server.records["envoy.internal"] = [NEW]
    server.say = server.failing(dns.rcode.SERVFAIL)
    followed.want(loaded_with(server, {"g": [f"dns:{NAME}"], "other": ["dns:envoy.internal", f"dns:{NAME}"]}))
    assert followed.addresses() == [OLD]
    assert followed.addresses("envoy.internal") == []
    server.say = server.honest
    followed.after()
    assert followed.addresses("envoy.internal") == [NEW]


def test_name_that_is_no_longer_wanted_is_forgotten_and_asked_about_no_more(
    followed: Followed, server: NameServer
) -> None:
    followed.want(loaded_with(server, {"g": ["10.0.0.1"]}))
    asked = len(server.asked)
    assert followed.after(MAX_TTL) == {}
    assert len(server.asked) == asked
    followed.want(loaded_with(server, {"g": [f"dns:{NAME}"]}))
    assert followed.addresses() == []


def test_other_servers_are_asked_at_once(followed: Followed) -> None:
    with name_server({NAME: [NEW]}) as other:
        followed.want(loaded_with(other, {"g": [f"dns:{NAME}"]}))
        assert followed.addresses() == [OLD]
        followed.after()
        assert followed.addresses() == [NEW]


def test_answer_of_a_server_that_was_taken_out_meanwhile_is_not_believed(
    followed: Followed, server: NameServer
) -> None:
    # An operator removes a server that lies, while a question to it is under way.
    with name_server({NAME: [NEW]}) as honest:

        def say(query: Query) -> Iterable[bytes]:
            followed.want(loaded_with(honest, {"g": [f"dns:{NAME}"]}))
            return server.honest(query)

        server.records[NAME], server.say = [EVIL], say
        followed.clock.seconds += MIN_TTL
        assert followed.peers.ask()
        assert followed.addresses() == [OLD]
        followed.after()
        assert followed.addresses() == [NEW]
