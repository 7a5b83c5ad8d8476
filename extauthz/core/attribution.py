"""Who is behind the proxy: forwarded evidence and the client's address (rules.md, "Step 3 and 11")."""

import re
from typing import Final

from extauthz.core.address import LONGEST_ADDRESS_CHARACTERS, REMEMBERED_ADDRESSES, Address, AddressSet, parse_address
from extauthz.core.names import names_of
from extauthz.core.request import Headers
from extauthz.core.text import trim

_WITH_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<four>[0-9.]+)):[0-9]{1,5}", re.ASCII)


def has_forwarded_evidence(headers: Headers) -> bool:
    """Tell whether a header that proxies add is there, whatever its value, even empty."""
    return names_of(headers).forwarded


def has_tailscale_evidence(headers: Headers) -> bool:
    """Tell whether a header that Tailscale's proxy adds is there, whatever its value."""
    return names_of(headers).tailscale


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
        # From comma to comma, and not all at once: most chains name the client in their last entry.
        end = len(forwarded_for)
        while end >= 0:
            comma = forwarded_for.rfind(",", 0, end)
            hop = _hop(forwarded_for[comma + 1 : end])
            if hop is not None and not hop.loopback and hop not in trusted and hop != proxy:
                return hop
            end = comma
    return _hop(real_ip) if real_ip else None


def _hop(entry: str) -> Address | None:
    """Read one address with an optional port: [v6]:port, v4:port. What is no address is None."""
    if len(entry) > LONGEST_ADDRESS_CHARACTERS:
        entry = trim(entry)
        if len(entry) > LONGEST_ADDRESS_CHARACTERS:
            return None
    try:
        return _known[entry]
    except KeyError:
        if len(_known) >= REMEMBERED_ADDRESSES:
            _known.clear()
        hop = _known[entry] = _parse_hop(entry)
        return hop


_known: Final[dict[str, Address | None]] = {}


def _parse_hop(entry: str) -> Address | None:
    entry = trim(entry)
    # Only a number is a port: "192.0.2.1:80,eve" in X-Real-IP is two headers run together, and no address.
    with_port = _WITH_PORT.fullmatch(entry)
    return parse_address((with_port["bracketed"] or with_port["four"]) if with_port is not None else entry)
