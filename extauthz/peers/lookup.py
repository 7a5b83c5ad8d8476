"""One question to the name servers, by dnspython, which is loaded when there is a name to ask about.

It takes care of what is easily got wrong: answers to another question, with another id or from elsewhere are passed
over, truncated ones asked for again over TCP, chains of aliases followed to an end. Nothing of DNSSEC is checked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from extauthz.core.address import Address, parse_address
from extauthz.peers.answers import Answer, Kind, LookupFailedError, refuse

if TYPE_CHECKING:
    import dns.exception
    import dns.resolver

# One server is waited for a third of the time there is: then it is asked again, or the next one.
TRIES: Final = 3


class DnsLookup:
    """Asks name servers."""

    def __init__(self, servers: Sequence[tuple[str, int]], timeout: float) -> None:
        """Remember whom to ask.

        Args:
            servers: Addresses and ports. Empty: those of this host's resolver configuration, read at each question,
                with its search list for names without a dot at the end.
            timeout: For one question with all its tries, in seconds.
        """
        self._servers: Final = tuple(servers)
        self._timeout: Final = timeout

    def __call__(self, name: str, kind: Kind) -> Answer:
        """Ask for the addresses of one kind.

        Raises:
            LookupFailedError: No server gave an answer that can be used.
        """
        import dns.exception  # noqa: PLC0415 - wanted where a name is configured
        import dns.resolver  # noqa: PLC0415

        try:
            answer = self._resolver().resolve(
                name, kind.value, lifetime=self._timeout, search=not self._servers, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return Answer(absence="there is no such name (NXDOMAIN)")
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise LookupFailedError(_why(error)) from error
        if answer.rrset is None:
            return Answer(absence="the name has no address")
        addresses = frozenset(_address(record.address) for record in answer.rrset)
        refuse(addresses)
        return Answer(addresses=addresses, ttl=answer.chaining_result.minimum_ttl)

    def _resolver(self) -> "dns.resolver.Resolver":
        import dns.nameserver  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        resolver = dns.resolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers]
        resolver.timeout = self._timeout / TRIES
        return resolver


def _address(text: str) -> Address:
    address = parse_address(text)
    if address is None:
        raise LookupFailedError("the answer holds what is no address")
    return address


def _why(error: Exception) -> str:
    """Say why there is no answer, in words that stay the same while the cause does."""
    import dns.resolver  # noqa: PLC0415

    if isinstance(error, dns.resolver.NoResolverConfiguration):
        return "this host's resolver configuration names no server: set dns.servers"
    if isinstance(error, dns.resolver.LifetimeTimeout | dns.resolver.NoNameservers):
        seen = sorted({f"{_server(one[0])}: {_cause(one[3])}" for one in error.kwargs.get("errors", ())})
        return f"no usable answer from {'; '.join(seen)}" if seen else "no answer in time"
    return f"cannot be asked: {type(error).__name__}"


def _server(text: str) -> str:
    """Return a server as the file has it; dnspython writes Do53:10.0.0.2@53."""
    return text.partition(":")[2].replace("@", " port ")


def _cause(found: object) -> str:
    """Name what one server did: a response code, or the class of an error, never bytes that it sent."""
    import dns.exception  # noqa: PLC0415

    if isinstance(found, dns.exception.Timeout):
        return "none in time"
    if isinstance(found, OSError):
        return found.strerror or type(found).__name__
    return found if isinstance(found, str) else type(found).__name__
