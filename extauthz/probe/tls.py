"""How a probe speaks TLS, and what it notes of it: version, certificate, lifetime. Judges nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from extauthz.probe.limits import CRUDE_TLS_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

OLD: Final = "TLSv1.1"
"""The newest version that nobody should speak any more (RFC 8996)."""


@dataclass(frozen=True, slots=True)
class Session:
    """What was agreed on in one handshake."""

    version: str
    """Such as `TLSv1.3`."""
    begins: float | None
    """From when the certificate holds, in seconds since the epoch; None if it was not verified."""
    ends: float | None
    """Until when."""


def client_context(ca: Path | None, *, verify: bool = True) -> ssl.SSLContext:
    """Return a context that verifies the certificate and the name in it; `ca` takes the place of the system's store.

    Raises:
        OSError: the file cannot be read, or has no certificates in it.
    """
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    # Old versions are tried on a connection of their own; what is agreed on here should be what a browser gets.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def describe(connection: ssl.SSLSocket) -> Session:
    """Return what was agreed on."""
    certificate: dict[str, Any] = connection.getpeercert() or {}
    begins, ends = (certificate.get(key) for key in ("notBefore", "notAfter"))
    return Session(
        connection.version() or "",
        None if begins is None else ssl.cert_time_to_seconds(begins),
        None if ends is None else ssl.cert_time_to_seconds(ends),
    )


def speaks_old(address: tuple[str, int]) -> str | None:
    """Return the old version that a server agrees on, or None if it does not.

    Nothing but the handshake is sent, and its certificate is of no interest.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        # That these versions are deprecated is why they are tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        contextlib.suppress(OSError),
        socket.create_connection(address, CRUDE_TLS_SECONDS) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return connection.version()
    return None
