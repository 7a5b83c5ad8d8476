"""Where doors listen: sockets opened so that nobody else's is taken, and faults told with their cure."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from extauthz.config.values import Endpoint

# Readable and writable for the owner and the group: the proxy's user joins the group.
UNIX_SOCKET_MODE: Final = 0o660

# Connections that wait to be accepted; the kernel's own limit (net.core.somaxconn) may be lower.
BACKLOG: Final = 1024


class DoorError(Exception):
    """The door cannot be opened; the text says where and what to do."""


def remove_stale(path: Path) -> None:
    """Remove the socket that a server left behind at this path when it died.

    Raises:
        DoorError: Something else is there: a server that listens, or a file that is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise DoorError(f"cannot listen on {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise DoorError(f"cannot listen on {path}: a file that is no socket is there; remove it or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise DoorError(f"cannot listen on {path}: another server is listening there")


def listen(endpoint: Endpoint) -> list[socket.socket]:
    """Listen on every address that an endpoint stands for; a name may have several.

    Raises:
        DoorError: One of them cannot be listened on; then none is.
    """
    if endpoint.path:
        return [_listen_unix(endpoint)]
    try:
        # As bytes: for text, Python loads the tables of international names (0.4 MB), which an endpoint has none of.
        host = endpoint.host.encode()
        found = socket.getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise DoorError(f"cannot listen on {endpoint}: the name is not known here ({error.strerror})") from error
    sockets: list[socket.socket] = []
    port = endpoint.port
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # Where the system chooses the port, all addresses of a name get the one that it chose first.
            sockets.append(_listen_tcp(family, kind, protocol, (address[0], port, *address[2:])))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise DoorError(f"cannot listen on {endpoint}: {_cure(error)}") from error
    return sockets


def _listen_tcp(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        # After a restart the port is free at once; without SO_REUSEPORT a second server does not get it.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


@contextmanager
def private_sockets() -> Iterator[None]:
    """Give unix sockets that are made in the block, by whatever library, UNIX_SOCKET_MODE from the start."""
    mask = os.umask(0o777 & ~UNIX_SOCKET_MODE)
    try:
        yield
    finally:
        os.umask(mask)


def unlistenable(endpoint: Endpoint) -> DoorError:
    """Return the error for an address that a library could not listen on, and did not say why."""
    if endpoint.path:
        return DoorError(
            f"cannot listen on {endpoint}: does {Path(endpoint.path).parent} exist, and may it be written?"
        )
    return DoorError(f"cannot listen on {endpoint}: is another server on that port, or is the address not this host's?")


def _listen_unix(endpoint: Endpoint) -> socket.socket:
    remove_stale(Path(endpoint.path))
    opened = socket.socket(socket.AF_UNIX)
    try:
        with private_sockets():
            opened.bind(endpoint.path)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise unlistenable(endpoint) from error
    return opened


def _cure(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another server is on that port; stop it (`ss -ltnp` shows it), or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "the address is none of this host's"
    if error.errno == errno.EACCES:
        return "ports below 1024 need the right to them (CAP_NET_BIND_SERVICE); choose a higher one"
    return error.strerror or str(error)
