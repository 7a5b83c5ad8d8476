"""Who is behind the proxy: forwarded evidence and the client's address (rules.md, "Step 3 and 11")."""

import re
from functools import lru_cache
from typing import Final

from extauthz.core.address import LONGEST_ADDRESS_CHARACTERS, REMEMBERED_ADDRESSES, Address, AddressSet, parse_address
from extauthz.core.request import Headers
from extauthz.core.text import trim

_WITH_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<four>[0-9.]+)):[0-9]{1,5}", re.ASCII)
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


def client_behind(
    proxy: Address, trusted: AddressSet, *, forwarded_for: str | None, real_ip: str | None
) -> Address | None:
    """Return the address of the client that a trusted proxy names, or None if it names none.

    An untrusted peer is the client itself, and nobody is asked about it.

    Args:
        proxy: The trusted proxy. Its own address is passed over in the chain, also where it is trusted by its
            certificate alone: whoever asks may have added it there.
        trusted: The gateway's trusted addresses; these and loopback are passed over in the chain.
        forwarded_for: The value of X-Forwarded-For; read from the right, which the nearest proxy wrote.
        real_ip: The value of X-Real-IP where the gateway falls back to it, else None. It is what it is: a
            trusted or loopback address in it is returned.
    """
    if forwarded_for:
        for entry in reversed(forwarded_for.split(",")):
            hop = _hop(entry)
            if hop is not None and not hop.loopback and hop not in trusted and hop != proxy:
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
    # Only a number is a port: "192.0.2.1:80,eve" in X-Real-IP is two headers run together, and no address.
    with_port = _WITH_PORT.fullmatch(entry)
    return parse_address((with_port["bracketed"] or with_port["four"]) if with_port is not None else entry)
