"""Clients that ask a front again and again while something happens behind it. Answers are counted, not judged."""

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from support.clients import Headers, Session
from support.world import IDENTITY, TRUSTED

PAUSE_SECONDS = 0.005
"""Between two requests of one client: this is company for a test, and no benchmark."""


@dataclass(frozen=True)
class Ask:
    """One request that is sent again and again: its name, its bytes, and the address it comes from."""

    name: str
    request: bytes
    source: str


def ask(
    name: str,
    headers: Headers = IDENTITY,
    *,
    source: str = TRUSTED,
    host: str = "gateway.example.com",
    target: str = "/",
) -> Ask:
    """Return a request; without more arguments, one of the trusted proxy's that every gateway allows."""
    fields = "".join(f"{key!s}: {value!s}\r\n" for key, value in headers)
    return Ask(name, f"GET {target} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n".encode(), source)


class Load:
    """Clients that send one request after the other, each kind in turn, until they are told to stop."""

    def __init__(self, port: int, asks: Sequence[Ask] = (), clients: int = 2) -> None:
        self._port = port
        self._asks = tuple(asks) or (ask("good"),)
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        kinds = itertools.cycle(self._asks)
        count = max(clients, len(self._asks))
        self._threads = [threading.Thread(target=self._send, args=(next(kinds),), daemon=True) for _ in range(count)]

    @property
    def answers(self) -> Counter[tuple[str, int]]:
        """How often each kind of request was answered with each status; 0 is no answer."""
        with self._lock:
            return self._answers.copy()

    def count(self, status: int) -> int:
        """How many answers have had this status so far."""
        return sum(number for (_, found), number in self.answers.items() if found == status)

    @property
    def statuses(self) -> set[int]:
        """Every status there has been."""
        return {status for _, status in self.answers}

    def _send(self, sent: Ask) -> None:
        with Session(self._port, sent.source) as session:
            while not self._end.wait(PAUSE_SECONDS):
                answer = session.send(sent.request)
                with self._lock:
                    self._answers[sent.name, answer.status] += 1
                if answer.status == 0:
                    return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
