"""The client of a probe: sends the very bytes it is told, to one address, within limits. It judges nothing.

No library's client would do: they fold repeated headers, refuse odd ones, and follow where they are led. Here nothing
is followed, no proxy of the environment is used, and the name is resolved once, so that every request goes to the same
address.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

from extauthz.probe import tls, websocket
from extauthz.probe.answers import SWITCHING, Answer, Failure, Fault, read_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extauthz.probe.forgeries import Headers
    from extauthz.probe.limits import Limits
    from extauthz.probe.target import Target

_SILENCES = frozenset({Fault.SILENCE, Fault.NO_CONNECTION})


class Budget:
    """What is left of the limits that all clients of a probe share."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        """How many were sent."""
        self._silences = 0
        self._ends = time.monotonic() + limits.total_seconds

    def spend(self) -> str | None:
        """Count one request; return which limit is used up, if one is."""
        if self.requests >= self.limits.requests:
            return f"{self.limits.requests} requests were sent"
        if time.monotonic() >= self._ends:
            return f"{self.limits.total_seconds:g} s are over"
        if self._silences >= self.limits.silences:
            return f"{self._silences} requests in a row had no answer"
        self.requests += 1
        return None

    def note(self, outcome: Answer | Failure) -> None:
        """Take notice of whether there was an answer."""
        silent = isinstance(outcome, Failure) and outcome.fault in _SILENCES
        self._silences = self._silences + 1 if silent else 0

    def deadline(self) -> float:
        """Return until when a request that begins now may take, by the monotonic clock."""
        return min(time.monotonic() + self.limits.request_seconds, self._ends)


class Client:
    """Sends requests to one target."""

    def __init__(
        self, target: Target, budget: Budget, *, context: ssl.SSLContext | None = None, sign_in: Headers = ()
    ) -> None:
        """Prepare a client.

        Args:
            target: Where it sends to.
            budget: The limits, and what is left of them.
            context: How TLS is spoken, where the target has it.
            sign_in: The headers that say who signs in; sent where a request is to be signed in, and nowhere else.
        """
        self.target = target
        self.session: tls.Session | None = None
        """What the last handshake agreed on."""
        self.address: tuple[str, int] | None = None
        """Where the first connection was made to; all others are made there."""
        self._budget = budget
        self._context = context
        self._sign_in = sign_in

    def get(self, headers: Iterable[tuple[str, str]] = (), *, signed_in: bool = False) -> Answer | Failure:
        """Send one GET with these headers, byte by byte, and return what comes of it."""
        return self._send([*(self._sign_in if signed_in else ()), *headers], key=None)

    def upgrade(self, headers: Iterable[tuple[str, str]] = (), *, signed_in: bool = False) -> Answer | Failure:
        """Ask for a WebSocket with these headers; what they name in Connection is named there beside `Upgrade`."""
        fields, named = [], []
        for name, value in (*(self._sign_in if signed_in else ()), *headers):
            if name.lower() == "connection":
                named += [one.strip() for one in value.split(",") if one.strip() != "keep-alive"]
            else:
                fields.append((name, value))
        key = websocket.fresh_key()
        return self._send([*websocket.upgrade_headers(key, named), *fields], key=key)

    def _send(self, headers: Sequence[tuple[str, str]], *, key: str | None) -> Answer | Failure:
        spent = self._budget.spend()
        if spent is not None:
            return Failure(Fault.SPENT, spent)
        deadline = self._budget.deadline()
        opened = self._connect(deadline)
        if isinstance(opened, Failure):
            self._budget.note(opened)
            return opened
        with opened:
            outcome = self._exchange(opened, headers, key, deadline)
        self._budget.note(outcome)
        return outcome

    def _exchange(
        self, connection: socket.socket, headers: Sequence[tuple[str, str]], key: str | None, deadline: float
    ) -> Answer | Failure:
        lines = [f"GET {self.target.path} HTTP/1.1", f"Host: {self.target.authority}"]
        lines += [f"{name}: {value}" for name, value in headers]
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        except TimeoutError:
            return Failure(Fault.SILENCE, f"not read in {self._budget.limits.request_seconds:g} s")
        except OSError:
            pass  # who refuses a request may close before the end of it; the answer says more
        asked = [("Connection", "Upgrade"), ("Upgrade", "websocket")] if key is not None else []
        answer = read_answer(connection, asked, self._budget.limits, deadline)
        if key is None or isinstance(answer, Failure) or answer.status != SWITCHING:
            return answer
        if not websocket.is_accepted(answer, key):
            return Failure(Fault.NO_HTTP, "a 101 that was not made for this upgrade")
        return websocket.read_message(connection, answer, self._budget.limits)

    def _connect(self, deadline: float) -> socket.socket | Failure:
        try:
            addresses = self._addresses()
        except (OSError, UnicodeError):
            return Failure(Fault.NO_NAME)
        failure = Failure(Fault.NO_CONNECTION)
        for address in addresses:
            left = max(deadline - time.monotonic(), 0.001)
            try:
                plain = socket.create_connection(address, left)
            except TimeoutError:
                failure = Failure(Fault.SILENCE, "no connection")
                continue
            except OSError:
                continue
            self.address = address
            return plain if self._context is None else self._shake_hands(plain, self._context, deadline)
        return failure

    def _addresses(self) -> list[tuple[str, int]]:
        if self.address is not None:
            return [self.address]
        found = socket.getaddrinfo(self.target.host, self.target.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys((str(entry[4][0]), int(entry[4][1])) for entry in found))

    def _shake_hands(self, plain: socket.socket, context: ssl.SSLContext, deadline: float) -> socket.socket | Failure:
        plain.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection = context.wrap_socket(plain, server_hostname=self.target.host)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            return Failure(Fault.NO_CERTIFICATE, error.verify_message)
        except TimeoutError:
            plain.close()
            return Failure(Fault.SILENCE, "in the TLS handshake")
        except OSError as error:
            plain.close()
            return Failure(Fault.NO_TLS, getattr(error, "reason", None) or "the connection was closed")
        self.session = tls.describe(connection)
        return connection
