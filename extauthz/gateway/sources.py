"""Where a JWKS document comes from: https, http on this host, or a file. Fetches, and judges nothing.

Every failure is a `JwksError`, so that who asks needs to know of no sockets.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from extauthz.gateway.keyset import MAX_JWKS_BYTES, JwksError, JwksUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

FETCH_SECONDS: Final = 5.0
"""How long a fetch may take, from the first packet to the last byte of the body."""

_CHUNK_BYTES: Final = 16 * 1024


def open_source(
    source: str | Path, *, timeout: float = FETCH_SECONDS, tls: ssl.SSLContext | None = None
) -> Callable[[], bytes]:
    """Choose how a source is read; nothing is read yet.

    Args:
        source: An https URL, an http URL of this host (127.0.0.0/8, ::1, localhost), a file URL, or a path.
        timeout: Seconds that one fetch may take.
        tls: For https with a certificate authority of one's own; by default the host's.

    Raises:
        JwksError: for any other source. Over plain http, whoever is on the way chooses the keys.
    """
    if isinstance(source, Path) or "://" not in source:
        return _FromFile(Path(source))
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise JwksError("JWKS source: not a URL") from None
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and not parts.query and not parts.fragment:
        return _FromFile(Path(unquote(parts.path)))
    if parts.scheme not in {"https", "http"} or not host:
        raise JwksError(f"JWKS source {parts.scheme}: only https, loopback http, a file or the value itself")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise JwksError("JWKS source: a URL without user, password and fragment, please")
    if parts.scheme == "http" and not _is_loopback(host):
        raise JwksError(f"JWKS source http://{host}: plain http is for this host only; use https, or a file")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _FromHttp(parts.scheme == "https", host, port, target, timeout=timeout, tls=tls)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _FromFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> bytes:
        try:
            if not self._path.is_file():
                raise JwksError(f"{self._path}: no such file")
            with self._path.open("rb") as file:
                return _limited(file.read(MAX_JWKS_BYTES + 1))
        except (OSError, ValueError) as error:
            raise JwksError(f"{self._path}: cannot read it: {type(error).__name__}") from error


class _FromHttp:
    """One GET. No redirects are followed, no proxy of the environment is used, and no cookie is kept."""

    def __init__(  # noqa: PLR0913 (the parts of a URL)
        self, secure: bool, host: str, port: int | None, target: str, *, timeout: float, tls: ssl.SSLContext | None
    ) -> None:
        self._secure, self._host, self._port, self._target = secure, host, port, target
        self._timeout = timeout
        self._tls = tls
        self._where = f"{'https' if secure else 'http'}://{host}"

    def __call__(self) -> bytes:
        connection = self._connection()
        # A socket's timeout is for one packet; a source that drips would hold us for hours.
        late = threading.Event()
        # http.client forgets the socket of a body that ends with the connection before the body is read.
        opened: list[socket.socket] = []
        watch = threading.Timer(self._timeout, self._cut, (connection, opened, late))
        watch.daemon = True
        watch.start()
        try:
            body = self._get(connection, opened, time.monotonic() + self._timeout)
            if late.is_set():
                raise TimeoutError  # a body that has no length ends where it is cut
        except (OSError, http.client.HTTPException, ValueError) as error:
            slow = late.is_set() or isinstance(error, TimeoutError)
            why = f"took longer than {self._timeout} s" if slow else f"failed: {type(error).__name__}"
            raise JwksUnavailableError(f"{self._where}: the fetch {why}") from error
        else:
            return body
        finally:
            watch.cancel()
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        context = self._tls or ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)

    @staticmethod
    def _cut(connection: http.client.HTTPConnection, opened: list[socket.socket], late: threading.Event) -> None:
        late.set()
        found = opened[0] if opened else connection.sock
        if found is not None:
            with suppress(OSError):  # closed already
                # Whoever reads gets the end of file. Not by the TLS socket's own method: that drops its TLS state, and
                # whoever reads it then is given what stands on the wire, unverified.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    def _get(self, connection: http.client.HTTPConnection, opened: list[socket.socket], deadline: float) -> bytes:
        connection.connect()
        opened.append(connection.sock)
        if time.monotonic() > deadline:
            raise TimeoutError
        if not self._secure and not _is_loopback(connection.sock.getpeername()[0]):
            raise JwksError(f"{self._where}: this name leads away from this host")
        connection.request("GET", self._target, headers={"accept": "application/jwk-set+json, application/json"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            busy = (
                response.status == http.client.TOO_MANY_REQUESTS or response.status >= http.client.INTERNAL_SERVER_ERROR
            )
            kind = JwksUnavailableError if busy else JwksError
            raise kind(f"{self._where}: answered {response.status}, not 200; redirects are not followed")
        body = b""
        while chunk := response.read1(_CHUNK_BYTES):
            body = _limited(body + chunk)
            if time.monotonic() > deadline:
                raise TimeoutError
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return body


def _limited(body: bytes) -> bytes:
    if len(body) > MAX_JWKS_BYTES:
        raise JwksError(f"the JWKS is longer than {MAX_JWKS_BYTES} bytes")
    return body
