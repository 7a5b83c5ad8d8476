"""Who is behind the proxy: forwarded evidence and the client's address (rules.md, "Step 3 and 11")."""

from functools import lru_cache
from typing import Final

from extauthz.core.address import LONGEST_ADDRESS_CHARACTERS, REMEMBERED_ADDRESSES, Address, AddressSet, parse_address
from extauthz.core.request import Headers
from extauthz.core.text import trim

_FORWARDED: Final = frozenset({"forwarded", "x-real-ip"})
_FORWARDED_PREFIX: Final = "\nx-forwarded-"
_TAILSCALE_PREFIX: Final = "\ntailscale-"
_TAILSCALE: Final = frozenset(
    {
        "tailscale-funnel-request",
        "tailscale-headers-info",
        "tailscale-user-login",
        "tailscale-user-name",
        "tailscale-user-profile-pic",
    }
)


def has_forwarded_evidence(headers: Headers) -> bool:
    """Tell whether a header that proxies add is there, whatever its value, even empty."""
    return _FORWARDED_PREFIX in headers.together or not _FORWARDED.isdisjoint(headers.names)


def has_tailscale_evidence(headers: Headers) -> bool:
    """Tell whether a header that Tailscale's proxy adds is there, whatever its value."""
    return _TAILSCALE_PREFIX in headers.together and not _TAILSCALE.isdisjoint(headers.names)


def client_address(
    peer: Address, trusted: AddressSet, *, forwarded_for: str | None, real_ip: str | None
) -> Address | None:
    """Return the client's address, or None if the trusted peer names none.

    Args:
        peer: An untrusted peer is the client itself.
        trusted: The gateway's trusted proxies; these and loopback are passed over in the chain.
        forwarded_for: The value of X-Forwarded-For; read from the right, which the nearest proxy wrote.
        real_ip: The value of X-Real-IP where the gateway falls back to it, else None. It is what it is: a
            trusted or loopback address in it is returned.
    """
    if peer not in trusted:
        return peer
    if forwarded_for:
        for entry in reversed(forwarded_for.split(",")):
            hop = _hop(entry)
            if hop is not None and not hop.loopback and hop not in trusted:
                return hop
    return _hop(real_ip) if real_ip else None


def _hop(entry: str) -> Address | None:
    """Read one address with an optional port: [v6]:port, v4:port. What is no address is None."""
    if len(entry) > LONGEST_ADDRESS_CHARACTERS:
        entry = trim(entry)
        if len(entry) > LONGEST_ADDRESS_CHARACTERS:
            return None
    return _parse_hop(entry)


@lru_cache(maxsize=REMEMBERED_ADDRESSES)
def _parse_hop(entry: str) -> Address | None:
    entry = trim(entry)
    if entry.startswith("[") and "]" in entry:
        return parse_address(entry[1 : entry.find("]")])
    host, colon, _ = entry.partition(":")
    if colon and "." in host and entry.count(":") == 1:
        return parse_address(host)
    return parse_address(entry)
