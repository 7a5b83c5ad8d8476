"""A DNS server of the test's own, on loopback, over UDP and TCP. It says what it is told to, honest or not.

Nothing here judges what is made of its answers.
"""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from support.ports import free_port

Query = dns.message.QueryMessage
Say = Callable[[Query], Iterable[bytes]]
"""What is sent over UDP for a question: any number of datagrams."""

TTL = 5


@dataclass
class NameServer:
    """A running name server.

    Attributes:
        address: `host:port`, as `dns.servers` has it.
        records: By name without the dot at its end: addresses of both kinds, or after "=" the name it is an alias of.
        say: What is sent over UDP; by default what `reply` makes of `records`.
        ttl: Of every record.
        alias_ttl: Of every alias; None is the same.
        asked: Every question that came: over what, for which name, for which kind.
        questioners: Where the questions over UDP came from.
    """

    address: str
    records: dict[str, list[str]]
    say: Say
    ttl: int = TTL
    alias_ttl: int | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    questioners: list[tuple[str, int]] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.address.rpartition(":")[2])

    def reply(self, query: Query) -> dns.message.Message:
        """Make the honest answer: NXDOMAIN for a name that has no records at all."""
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        if name not in self.records:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return response
        seen: set[str] = set()
        while name not in seen and any(entry.startswith("=") for entry in self.records.get(name, [])):
            seen.add(name)
            alias = next(entry for entry in self.records[name] if entry.startswith("="))[1:]
            ttl = self.ttl if self.alias_ttl is None else self.alias_ttl
            response.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", "CNAME", f"{alias}."))
            name = alias
        version = 4 if question.rdtype == dns.rdatatype.A else 6
        found = [entry for entry in self.records.get(name, []) if (":" in entry) == (version == 6)]
        if found and name not in seen:
            kind = dns.rdatatype.to_text(question.rdtype)
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *found))
        return response

    def honest(self, query: Query) -> Iterable[bytes]:
        """Send the honest answer, cut short with the flag for it where it is too long for a datagram."""
        response = self.reply(query)
        wire = response.to_wire(max_size=65_535)
        if len(wire) > 512:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.TC
            wire = cut.to_wire()
        yield wire

    def failing(self, rcode: dns.rcode.Rcode) -> Say:
        """Return what says that something is wrong."""

        def say(query: Query) -> Iterable[bytes]:
            response = dns.message.make_response(query)
            response.set_rcode(rcode)
            yield response.to_wire()

        return say

    @staticmethod
    def silent(_: Query) -> Iterable[bytes]:
        """Say nothing, as a server that is down."""
        return ()


@contextlib.contextmanager
def name_server(records: dict[str, list[str]] | None = None, *, host: str = "127.0.0.1") -> Iterator[NameServer]:
    """Run a name server with these records while the block runs."""
    port = free_port(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        udp = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        udp.bind((host, port))
        tcp = stack.enter_context(socket.create_server((host, port), family=family))
        ended, end = socket.socketpair()
        stack.enter_context(ended)
        stack.enter_context(end)
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        server = NameServer(shown, records if records is not None else {}, NameServer.silent)
        server.say = server.honest
        thread = threading.Thread(target=_serve, args=(server, udp, tcp, ended), name="name-server")
        thread.start()
        try:
            yield server
        finally:
            end.send(b"x")
            thread.join()


def _serve(server: NameServer, udp: socket.socket, tcp: socket.socket, ended: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        for one in (udp, tcp, ended):
            selector.register(one, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if ended in ready:
                return
            if udp in ready:
                message, sender = udp.recvfrom(65_535)
                server.questioners.append(sender)
                for wire in server.say(_read(server, message, "udp")):
                    udp.sendto(wire, sender)
            if tcp in ready:
                _serve_stream(server, tcp)


def _serve_stream(server: NameServer, tcp: socket.socket) -> None:
    connection, _ = tcp.accept()
    with connection, contextlib.suppress(OSError, struct.error), connection.makefile("rb") as stream:
        connection.settimeout(30)
        (length,) = struct.unpack("!H", stream.read(2))
        wire = server.reply(_read(server, stream.read(length), "tcp")).to_wire(max_size=65_535)
        connection.sendall(struct.pack("!H", len(wire)) + wire)


def _read(server: NameServer, message: bytes, over: str) -> Query:
    query = dns.message.from_wire(message)
    assert isinstance(query, Query)
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    server.asked.append((over, name, dns.rdatatype.to_text(question.rdtype)))
    return query
