"""What systemd is told: ready, reloading, stopping, a line of status, and that the service is alive (sd_notify(3)).

Only the protocol lives here; when to say what is the service's to know. Without systemd nothing is sent, and nothing
that goes wrong here ever stops a service that works.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final, Self

from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# systemd reads at once; where it does not, nobody waits for it.
SEND_SECONDS: Final = 1.0
# systemd shows one line.
LONGEST_STATUS_CHARACTERS: Final = 200


class Notifier:
    """The way to systemd; without one every method does nothing. None of them raises, and any thread may call them.

    notifier = Notifier.from_environment()
    notifier.ready("serving 3 gateways")     # once every door is open
    notifier.feed_watchdog(alive)
    notifier.reloading()                     # and ready() again, whatever came of it
    notifier.stopping("draining")            # on SIGTERM, before the drain
    """

    def __init__(self, address: str | None, *, watchdog_seconds: float | None = None) -> None:
        """Make the way to one socket.

        Args:
            address: A path, or `@` and the name of an abstract socket, as NOTIFY_SOCKET has it. Anything else, such
                as `vsock:`, is no address of ours: nothing is sent.
            watchdog_seconds: After this time without a sign of life systemd ends the service; None: it does not look.
        """
        self._address = _socket_address(address or "")
        self.watchdog_seconds = watchdog_seconds
        self._ended = threading.Event()
        self._feeder: threading.Thread | None = None
        self._told_of_failure = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Make it from NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which systemd sets."""
        return cls(environ.get("NOTIFY_SOCKET"), watchdog_seconds=_watchdog_seconds(environ))

    def ready(self, status: str = "") -> None:
        """Say that the service serves: after the start, and after each reload."""
        self._send("READY=1", *_status(status))

    def reloading(self, status: str = "") -> None:
        """Say that the configuration is being read again; `ready` ends it, whatever came of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", *_status(status))

    def stopping(self, status: str = "") -> None:
        """Say that the service ends. From here on systemd's TimeoutStopSec counts, and no longer the watchdog."""
        self.close()
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows. It must hold no secret."""
        self._send(*_status(text))

    def feed_watchdog(self, alive: Callable[[], bool]) -> None:
        """Tell systemd that the service lives, twice in the time that it allows, as long as `alive` says so.

        A false answer, one that raises and one that never comes feed nothing: systemd then ends the service and starts
        it again. So `alive` should do what the service is for, and not only return. It is called from a thread of its
        own, once at once. Without a watchdog it is never called.
        """
        if self._address is None or self.watchdog_seconds is None or self._feeder is not None or self._ended.is_set():
            return
        arguments = (alive, self.watchdog_seconds / 2)
        self._feeder = threading.Thread(target=self._feed, args=arguments, name="extauthz-watchdog", daemon=True)
        self._feeder.start()

    def close(self) -> None:
        """Feed the watchdog no longer."""
        self._ended.set()

    def _feed(self, alive: Callable[[], bool], interval: float) -> None:
        fed = True
        while True:
            was, fed = fed, _answers(alive)
            if self._ended.is_set():
                return
            if fed:
                self._send("WATCHDOG=1")
            elif was:
                _log.error("the service does not answer itself; systemd will start it again", seconds=interval * 2)
            if self._ended.wait(interval):
                return

    def _send(self, *lines: str) -> None:
        if self._address is None or not lines:
            return
        try:
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as way:
                way.settimeout(SEND_SECONDS)
                way.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._told_of_failure:
                self._told_of_failure = True
                _log.warning("systemd cannot be told how the service is", error=str(error))


def _socket_address(text: str) -> str | None:
    if text.startswith("@") and len(text) > 1:
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    # A process that was started by the service, and not by systemd, inherits the variables: they are not meant for it.
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isascii() or not text.isdigit() or not int(text):
        return None
    return int(text) / 1_000_000


def _status(text: str) -> tuple[str, ...]:
    # A line's end in it would begin another variable.
    line = "".join(character if character.isprintable() else " " for character in text)
    return (f"STATUS={line[:LONGEST_STATUS_CHARACTERS]}",) if line else ()


def _answers(alive: Callable[[], bool]) -> bool:
    try:
        return bool(alive())
    except Exception:  # noqa: BLE001 - whatever it is, the service is not known to be alive
        _log.exception("the service cannot be asked whether it is alive")
        return False
