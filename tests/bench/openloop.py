"""Load at a fixed rate: requests are sent when they are due, whether or not those before them are answered.

They come evenly, as the load generators do that are usual for a fixed rate; or at random moments, as those of many
independent clients (a Poisson process), where several at once queue before any server: the same moments for every
candidate. What a request took is counted from the moment it was due, so that a server that stalls is not spared the
requests that it kept from being sent (coordinated omission). Run as a program of its own, which rests while nothing is
due: it may share a core with what it asks, and takes little of it. HTTP/1.1 over kept connections.

    python -m bench.openloop HOST:PORT PATH RATE SECONDS even|random 'name: value' ... < nothing > milliseconds, JSON
"""

import collections
import gc
import json
import math
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Literal

from bench.loading import Loaded, LoadError
from bench.machine import on
from bench.programs import ENV

Pace = Literal["even", "random"]

CONNECTIONS = 64
"""Kept open; a request that is due while all are busy waits for one, and its time runs."""
DRAIN_SECONDS = 30.0
"""How late a server may be at the end. One that does not keep up is told by what its requests took, not by an error."""
ANSWER_BYTES = 65_536
SEED = 1
LEAD_SECONDS = 0.05
EARLY_SECONDS = 0.0001
"""How long before a request is due it is waited for busily: a timer of the system may be late by half of it."""


class _Client:
    """Connections to one server, and the requests on them."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self._request = request
        self._poll = select.epoll()
        self._idle: collections.deque[socket.socket] = collections.deque()
        self._busy: dict[int, tuple[socket.socket, float]] = {}
        self.latencies: list[float] = []
        for _ in range(CONNECTIONS):
            connection = socket.create_connection((host, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self._poll.register(connection, select.EPOLLIN)
            self._idle.append(connection)

    def send(self, due: float) -> bool:
        """Send the request that was due then; False while every connection is busy."""
        if not self._idle:
            return False
        connection = self._idle.pop()
        if connection.send(self._request) != len(self._request):
            raise LoadError("a request did not fit into an empty socket")
        self._busy[connection.fileno()] = (connection, due)
        return True

    def receive(self) -> None:
        """Take the answers that have come. They have no body, so that one read has one answer."""
        for number, _ in self._poll.poll(0):
            if number not in self._busy:
                raise LoadError("the server closed a connection that it was to keep")
            connection, due = self._busy[number]
            answer = connection.recv(ANSWER_BYTES)
            now = time.perf_counter()
            if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n"):
                raise LoadError(f"this is no good answer: {answer[:300]!r}")
            self.latencies.append((now - due) * 1e3)
            del self._busy[number]
            self._idle.append(connection)

    def rest(self, seconds: float) -> None:
        """Rest for so long at most, and no longer than until an answer comes."""
        # Not epoll's own wait, which counts in milliseconds.
        select.select([self._poll], [], [], max(0.0, seconds))

    @property
    def is_busy(self) -> bool:
        """Whether nothing can be sent before an answer comes."""
        return not self._idle

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._busy)


def moments(rate: float, seconds: float, pace: Pace) -> list[float]:
    """Return when requests are due, in seconds from the start: the same for the same rate, time and pace."""
    if pace == "even":
        return [number / rate for number in range(math.ceil(rate * seconds))]
    draw = random.Random(SEED)  # noqa: S311 - load, no secret
    found, moment = [], draw.expovariate(rate)
    while moment < seconds:
        found.append(moment)
        moment += draw.expovariate(rate)
    return found


def send(host: str, port: int, request: bytes, due: Sequence[float]) -> list[float]:
    """Send requests when they are due; returns what each took, in milliseconds.

    Raises:
        LoadError: an answer was no 200, or did not come.
    """
    client = _Client(host, port, request)
    gc.disable()
    begin = time.perf_counter() + LEAD_SECONDS
    end = begin + due[-1] + DRAIN_SECONDS if due else begin
    for offset in due:
        moment = begin + offset
        while True:
            client.receive()
            now = time.perf_counter()
            if now > end:
                raise LoadError(f"the server is more than {DRAIN_SECONDS:g} s late: it does not keep up with this rate")
            if now >= moment and client.send(moment):
                break
            client.rest((end if client.is_busy else moment - EARLY_SECONDS) - now)
    while client.waits:
        client.rest(end - time.perf_counter())
        client.receive()
        if client.waits and time.perf_counter() > end:
            raise LoadError(f"answers did not come in {DRAIN_SECONDS:g} s")
    return client.latencies


def fixed_rate(
    address: str, path: str, headers: Sequence[str], *, rate: int, seconds: float, pace: Pace, core: frozenset[int]
) -> Loaded:
    """Run this as a program on these cores.

    Raises:
        LoadError: an answer was no 200, or did not come.
    """
    argv = [sys.executable, "-m", "bench.openloop", address, path, str(rate), str(seconds), pace, *headers]
    with on(core):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **ENV})
    if done.returncode:
        raise LoadError(done.stderr)
    taken = sorted(json.loads(done.stdout))
    return Loaded(len(taken) / seconds, tuple(taken))


def main() -> None:
    """Send, and print what each request took."""
    address, path, rate, seconds, pace, *headers = sys.argv[1:]
    host, _, port = address.rpartition(":")
    lines = "".join(f"{header}\r\n" for header in headers)
    request = f"GET {path} HTTP/1.1\r\nhost: gateway.example.com\r\n{lines}\r\n".encode()
    due = moments(float(rate), float(seconds), "random" if pace == "random" else "even")
    json.dump(send(host, int(port), request, due), sys.stdout)


if __name__ == "__main__":
    main()
