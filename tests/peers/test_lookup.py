"""One question to a name server: what is taken for an answer, and what is not."""

import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from extauthz.core.address import parse_address
from extauthz.peers.answers import MOST_ADDRESSES, Answer, Kind, LookupFailedError, RefusedAnswerError
from extauthz.peers.lookup import DnsLookup
from support.name_server import NameServer, Query, name_server

NAME = "traefik.internal"
GOOD = "10.0.0.7"
EVIL = "10.6.6.6"
# Short enough to wait out where no answer is to come.
SECONDS = 0.6
# For an answer that is to come, however slow the machine; a server is asked again after a third of it.
PATIENT = 30.0


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server({NAME: [GOOD]}) as running:
        yield running


def ask(server: NameServer, name: str = NAME, kind: Kind = Kind.A, seconds: float = PATIENT) -> Answer:
    return DnsLookup([("127.0.0.1", server.port)], seconds)(name, kind)


def texts(answer: Answer) -> set[str]:
    return set(map(str, answer.addresses))


def test_addresses_of_both_kinds_and_their_ttl(server: NameServer) -> None:
    server.records[NAME] = [GOOD, "10.0.0.8", "fd00::7"]
    server.ttl = 17
    four, six = ask(server), ask(server, kind=Kind.AAAA)
    assert (texts(four), four.ttl) == ({GOOD, "10.0.0.8"}, 17)
    assert (texts(six), six.ttl) == ({"fd00::7"}, 17)


def test_absence_is_an_answer_and_says_which(server: NameServer) -> None:
    assert ask(server, kind=Kind.AAAA) == Answer(absence="the name has no address")
    assert ask(server, "gone.internal") == Answer(absence="there is no such name (NXDOMAIN)")


def test_aliases_are_followed_and_the_shortest_ttl_counts(server: NameServer) -> None:
    server.records["edge.internal"] = ["=lb.internal"]
    server.records["lb.internal"] = [f"={NAME}"]
    server.ttl, server.alias_ttl = 30, 7
    found = ask(server, "edge.internal")
    assert (texts(found), found.ttl) == ({GOOD}, 7)


def test_aliases_in_a_circle_are_no_answer(server: NameServer) -> None:
    server.records["a.internal"], server.records["b.internal"] = ["=b.internal"], ["=a.internal"]
    with pytest.raises(LookupFailedError):
        ask(server, "a.internal", seconds=SECONDS)


def test_answer_that_is_too_long_for_a_datagram_is_asked_for_over_tcp(server: NameServer) -> None:
    server.records[NAME] = [f"10.0.0.{number}" for number in range(1, MOST_ADDRESSES + 1)]
    assert len(ask(server).addresses) == MOST_ADDRESSES
    assert [over for over, _, _ in server.asked] == ["udp", "tcp"]


@pytest.mark.parametrize(
    ("addresses", "what"),
    [
        (["127.0.0.1"], "loopback"),
        (["127.7.7.7", GOOD], "loopback"),
        (["::1"], "loopback"),
        (["::ffff:127.0.0.1"], "loopback"),
        (["0.0.0.0"], "no address of any host"),
        (["::"], "no address of any host"),
        (["::7f00:1"], "no address of any host"),
        (["255.255.255.255"], "no address of any host"),
        (["224.0.0.1"], "multicast"),
        (["ff02::1"], "multicast"),
        (["169.254.169.254"], "link-local"),
        (["fe80::1"], "link-local"),
        ([f"10.0.{number}.1" for number in range(100)], "100 addresses"),
        ([f"fd00::{number:x}" for number in range(1, 101)], "100 addresses"),
    ],
)
def test_answer_that_would_trust_this_host_everybody_or_a_crowd_is_refused_whole(
    server: NameServer, addresses: list[str], what: str
) -> None:
    server.records[NAME] = addresses
    kind = Kind.AAAA if ":" in addresses[0] else Kind.A
    with pytest.raises(RefusedAnswerError, match=what):
        ask(server, kind=kind)


def _forged(query: Query, address: str = EVIL) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(query.question[0].name, 5, "IN", "A", address))
    return response


def _with_another_id(query: Query) -> bytes:
    wire = _forged(query).to_wire()
    return struct.pack("!H", (query.id + 1) % 65_536) + wire[2:]


def _for_another_name(query: Query) -> bytes:
    other = dns.message.make_query("evil.internal", "A", id=query.id)
    assert isinstance(other, Query)
    return _forged(other).to_wire()


def _no_response(query: Query) -> bytes:
    forged = _forged(query)
    forged.flags &= ~dns.flags.QR
    return forged.to_wire()


def _no_question(query: Query) -> bytes:
    forged = _forged(query)
    forged.question = []
    return forged.to_wire()


@pytest.mark.parametrize(
    "lie",
    [
        _with_another_id,
        _for_another_name,
        _no_response,
        _no_question,
        lambda _: b"",
        lambda _: b"\xff" * 40,
        lambda query: _forged(query).to_wire()[:-3],
    ],
    ids=["another-id", "another-question", "no-response", "no-question", "empty", "garbage", "cut-off"],
)
def test_datagram_that_does_not_answer_the_question_is_passed_over_for_the_one_that_does(
    server: NameServer, lie: object
) -> None:
    assert callable(lie)

    def say(query: Query) -> Iterable[bytes]:
        yield lie(query)
        yield from server.honest(query)

    server.say = say
    assert texts(ask(server)) == {GOOD}


def test_datagram_from_another_address_is_passed_over(server: NameServer) -> None:
    # Whoever guesses the port of a question still has to have the server's address.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))

        def say(query: Query) -> Iterable[bytes]:
            elsewhere.sendto(_forged(query).to_wire(), server.questioners[-1])
            yield from server.honest(query)

        server.say = say
        assert texts(ask(server)) == {GOOD}


def test_address_beside_the_answer_is_not_taken(server: NameServer) -> None:
    # What a server adds about other names, or in other sections, says nothing about the name that was asked about.
    def say(query: Query) -> Iterable[bytes]:
        response = server.reply(query)
        response.answer.append(dns.rrset.from_text("other.internal.", 5, "IN", "A", EVIL))
        response.additional.append(dns.rrset.from_text(f"{NAME}.", 5, "IN", "A", EVIL))
        yield response.to_wire()

    server.say = say
    assert texts(ask(server)) == {GOOD}


def test_server_that_says_nothing_is_waited_for_no_longer_than_said(server: NameServer) -> None:
    server.say = server.silent
    with pytest.raises(LookupFailedError, match=f"127.0.0.1 port {server.port}: none in time"):
        ask(server, seconds=SECONDS)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR])
def test_server_that_cannot_answer_is_told(server: NameServer, rcode: dns.rcode.Rcode) -> None:
    server.say = server.failing(rcode)
    with pytest.raises(LookupFailedError, match=dns.rcode.to_text(rcode)):
        ask(server)


def test_next_server_is_asked_where_the_first_says_nothing(server: NameServer) -> None:
    with name_server({NAME: [EVIL]}) as first:
        first.say = first.silent
        # Of these seconds it waits for the first a third.
        lookup = DnsLookup([("127.0.0.1", first.port), ("127.0.0.1", server.port)], 9.0)
        assert texts(lookup(NAME, Kind.A)) == {GOOD}


def test_no_server_there_at_all(server: NameServer) -> None:
    port = server.port
    with name_server() as gone:
        port = gone.port
    with pytest.raises(LookupFailedError):
        DnsLookup([("127.0.0.1", port)], SECONDS)(NAME, Kind.A)


def test_server_over_ipv6() -> None:
    with name_server({NAME: [GOOD]}, host="::1") as six:
        assert DnsLookup([("::1", six.port)], PATIENT)(NAME, Kind.A).addresses == {parse_address(GOOD)}


def test_names_are_asked_for_as_written_where_servers_are_given(server: NameServer) -> None:
    server.records["traefik"] = [GOOD]
    assert texts(ask(server, "traefik")) == {GOOD}
    assert texts(ask(server, f"{NAME}.")) == {GOOD}
    assert [name for _, name, _ in server.asked] == ["traefik", NAME]


@pytest.fixture
def resolv_conf(server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This host's resolver configuration, as a cluster or a container engine writes it, for the server of the test."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch ingress.svc.cluster.local svc.cluster.local\noptions ndots:5\n")
    configured = dns.resolver.Resolver.__init__

    def from_file(self: dns.resolver.Resolver, filename: object = None, configure: bool = True) -> None:  # noqa: ARG001
        configured(self, str(file), configure)
        self.port = server.port

    monkeypatch.setattr(dns.resolver.Resolver, "__init__", from_file)
    return file


def test_search_list_of_this_host_completes_names_without_a_dot_at_the_end(
    server: NameServer, resolv_conf: Path
) -> None:
    server.records["traefik.svc.cluster.local"] = ["10.9.0.1"]
    server.records["traefik"] = [EVIL]
    lookup = DnsLookup([], PATIENT)
    assert texts(lookup("traefik", Kind.A)) == {"10.9.0.1"}
    assert [name for _, name, _ in server.asked] == ["traefik.ingress.svc.cluster.local", "traefik.svc.cluster.local"]
    assert lookup("gone.", Kind.A).absence
    assert server.asked[-1][1] == "gone"
    assert resolv_conf.exists()


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "nameserver localhost\n"])
def test_resolver_configuration_that_names_no_server_is_told(
    server: NameServer, resolv_conf: Path, text: str | None
) -> None:
    if text is None:
        resolv_conf.unlink()
    else:
        resolv_conf.write_text(text)
    with pytest.raises(LookupFailedError):
        DnsLookup([], SECONDS)(NAME, Kind.A)
    assert server.asked == []


def test_resolver_configuration_is_read_anew_for_each_question(server: NameServer, resolv_conf: Path) -> None:
    text = resolv_conf.read_text()
    resolv_conf.write_text("")
    with pytest.raises(LookupFailedError, match="names no server"):
        DnsLookup([], SECONDS)(f"{NAME}.", Kind.A)
    resolv_conf.write_text(text)
    assert texts(DnsLookup([], PATIENT)(f"{NAME}.", Kind.A)) == {GOOD}
    assert server.asked
