"""Peers by name as the file has them: `dns:` entries of `trustedProxies`, and the servers that are asked about them."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from extauthz.core.address import parse_address, parse_entry
from extauthz.core.text import fold, trim

DNS_PREFIX: Final = "dns:"
DNS_PORT: Final = 53

# RFC 1035, section 2.3.4: of a name as it is written, without the dot at its end, and of one of its labels.
LONGEST_NAME_CHARACTERS: Final = 253
LONGEST_LABEL_CHARACTERS: Final = 63
# RFC 1123, section 2.1, and "_", which names of containers have and RFC 2181, section 11, allows.
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
# What a URL's host would be read as an address for (WHATWG URL, "ends in a number"): no such top-level domain exists.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT: Final = 65_535


class Server(NamedTuple):
    """A name server.

    Attributes:
        host: Its IP address.
        port: Its port, over UDP and TCP.
    """

    host: str
    port: int


def is_name(entry: str) -> bool:
    """Tell whether an entry of `trustedProxies` is a name; whether a good one is not asked."""
    return trim(entry).startswith(DNS_PREFIX)


def name_of(entry: str) -> str:
    """Return the name of a `dns:` entry in the form in which names compare: lower case. A dot at the end stays.

    Raises:
        ValueError: It is no name; the text says what is wanted.
    """
    written = trim(entry).removeprefix(DNS_PREFIX)
    name = fold(written)
    bare = name.removesuffix(".")
    example = f"write {DNS_PREFIX}NAME, such as {DNS_PREFIX}traefik.internal"
    if not bare:
        raise ValueError(f"{entry!r} has no name: {example}")
    if parse_address(bare) is not None:
        raise ValueError(f"{entry!r}: an address needs no name server: write {written} without {DNS_PREFIX}")
    if not bare.isascii():
        raise ValueError(f"{entry!r}: a name is written in ASCII, an internationalized one by its xn-- labels")
    if len(bare) > LONGEST_NAME_CHARACTERS:
        raise ValueError(f"{entry[:40]!r}... is longer than {LONGEST_NAME_CHARACTERS} characters, and no name is")
    labels = bare.split(".")
    long = next((label for label in labels if len(label) > LONGEST_LABEL_CHARACTERS), None)
    if long is not None:
        raise ValueError(
            f"{entry!r}: between two dots of a name are {LONGEST_LABEL_CHARACTERS} characters at most, not {len(long)}"
        )
    if not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{entry!r} is no host name: {example}, without wildcard, scheme, port or path")
    if labels[-1] == "localhost":
        raise ValueError(f"{entry!r} is loopback by definition (RFC 6761): write 127.0.0.1 or ::1 if that is meant")
    return name


def check_proxy_entry(entry: str) -> str:
    """Check an entry of `trustedProxies`: an address, a range, or `dns:` and a name.

    Raises:
        ValueError: Saying what is wanted.
    """
    if is_name(entry):
        name_of(entry)
        return entry
    try:
        parse_entry(entry)
    except ValueError as error:
        if _could_be_a_name(entry):
            raise ValueError(f"{error}; {DNS_PREFIX}{trim(entry)} would be a name that is resolved") from error
        raise
    return entry


def refuse_name(entry: str) -> None:
    """Refuse a name where addresses alone are taken.

    Raises:
        ValueError: It is one; the text says where names are taken.
    """
    if is_name(entry):
        raise ValueError(
            f"{entry!r} is a name, and names are taken under a gateway's trustedProxies alone: write the address or "
            "a range"
        )


def _could_be_a_name(entry: str) -> bool:
    try:
        name_of(entry)
    except ValueError:
        return False
    return True


def static_entries(entries: Iterable[str]) -> list[str]:
    """Return the entries of `trustedProxies` that are addresses and ranges."""
    return [entry for entry in entries if not is_name(entry)]


def names_in(entries: Iterable[str]) -> list[str]:
    """Return the names of a checked `trustedProxies`, each once, in its order."""
    return list(dict.fromkeys(name_of(entry) for entry in entries if is_name(entry)))


def parse_server(text: str) -> Server:
    """Read the address of a name server, with its port where it is not 53: 10.0.0.2, 10.0.0.2:5353, [::1]:5353.

    Raises:
        ValueError: Saying what is wanted.
    """
    found = _SERVER.fullmatch(text)
    host, port = (found["host"], int(found["port"])) if found is not None else (text, DNS_PORT)
    address = parse_address(host)
    if address is None or trim(host) != host or not 0 < port <= _HIGHEST_PORT:
        raise ValueError(
            f"{text!r} is no name server: write its IP address, and its port where that is not {DNS_PORT}, such as "
            "10.0.0.2, 10.0.0.2:5353 or [fd00::2]:5353"
        )
    return Server(str(address), port)


def check_server(text: str) -> str:
    """Check the address of a name server; see `parse_server`.

    Raises:
        ValueError: Saying what is wanted.
    """
    parse_server(text)
    return text
