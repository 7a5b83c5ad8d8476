"""A running service under everything that goes on in operation, for as long as one likes; what it takes of memory.

Ever new users, hosts, paths and peers through both doors, allowed and denied, reloads, key rotations, scrapes and the
console's questions: whatever is remembered of a request without a bound shows here. Nothing is judged here.
"""

import contextlib
import http.client
import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import yaml

from cases.messages import check_request, read
from doors.door import CHECK, channel
from support.service import Service, running_service

CONFIG: dict[str, Any] = {
    "decisionLog": {"output": "decisions.jsonl", "rotateBytes": 4_000_000, "keep": 1},
    "stamp": {"keys": "keys", "bind": ["method", "host", "path"]},
    "gateways": {
        name: {
            "trustedProxies": ["10.0.0.0/24", "127.0.0.1"],
            "mode": mode,
            "auth": {
                "mode": "trusted-proxy",
                "trustedProxy": {"userHeader": "x-forwarded-user", "requiredHeaders": ["x-forwarded-proto"]},
            },
        }
        for name, mode in (("openclaw", "enforce"), ("shadow", "shadow"))
    },
}
ASKING_SECONDS = 30.0


def _message(number: int) -> bytes:
    """The request of this number: a user, a host, a path and a client that come once, and every tenth denied."""
    pairs = [
        ("x-forwarded-user", f"user-{number}@example.com"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"),
        (f"x-own-{number}", "c" * 100),
        ("cookie", f"session={number}" * 8),
    ]
    stranger = number % 10 == 0
    peer = f"172.16.{number >> 8 & 255}.{number & 255}" if stranger else f"10.0.0.{number % 200 + 1}"
    return check_request(
        pairs,
        gateway="shadow" if number % 7 == 0 else "openclaw",
        peer=peer,
        host=f"h{number}.example.com",
        path=f"/{number}?q={number}",
    )


@dataclass
class Soak:
    """A service under load.

    Attributes:
        service: The service.
        answers: How often each outcome came; what failed is under its name.
        samples: Seconds since the start, requests answered, and the resident memory in MB, each time it was looked at.
    """

    service: Service
    directory: Path
    answers: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, int, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _began: float = field(default_factory=time.monotonic)

    def resident_mb(self) -> float:
        """The memory that the service holds now, in MB."""
        return float(psutil.Process(self.service.program.pid).memory_info().rss) / 1e6

    def sample(self) -> None:
        """Look at the memory."""
        self.samples.append((time.monotonic() - self._began, self.answers.total(), self.resident_mb()))

    def ask_grpc(self, opened: grpc.Channel) -> None:
        """Ask the next question over gRPC."""
        method: Any = opened.unary_unary(CHECK)
        try:
            told = read(method(_message(next(self._numbers)), timeout=ASKING_SECONDS)).told.partition("@")[0]
        except grpc.RpcError as error:
            told = f"failed: {error.code()}"
        self._count(told.partition("-")[0] if told.startswith("allow") else told)

    def ask_http(self, connection: http.client.HTTPConnection) -> None:
        """Ask the next question at a forward-auth door."""
        number = next(self._numbers)
        headers = {
            "x-forwarded-method": "GET",
            "x-forwarded-uri": f"/{number}?q={number}",
            "x-forwarded-host": f"h{number}.example.com",
            "x-forwarded-for": f"203.0.113.{number % 200}, 10.0.0.{number % 200 + 1}",
            "x-forwarded-proto": "https",
            "x-forwarded-user": f"user-{number}@example.com",
        }
        try:
            connection.request("GET", "/forward-auth/traefik/openclaw", headers=headers)
            answer = connection.getresponse()
            answer.read()
            told = f"http {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            told = f"failed: {type(error).__name__}"
        self._count(told)

    def get(self, path: str) -> None:
        """Ask the admin address for one page."""
        connection = http.client.HTTPConnection(self.service.admin, timeout=ASKING_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            self._count(f"admin {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            self._count(f"failed: {type(error).__name__}")
        finally:
            connection.close()

    def reload(self, number: int) -> None:
        """Change the configuration file."""
        config = {**CONFIG, "denial": {"reason": bool(number % 2)}}
        path = self.directory / "extauthz.yaml"
        new = path.with_suffix(".new")
        new.write_text(yaml.safe_dump(config), encoding="utf-8")
        new.replace(path)

    def rotate(self) -> None:
        """Let the next key of the stamps sign, soon, and take away those that retired."""
        keys = str(self.directory / "keys")
        argv = [sys.executable, "-m", "extauthz.cli", "keys", "rotate", "--keys", keys]
        subprocess.run([*argv, "--activate-after", "10", "--prune"], check=False, capture_output=True)

    def _count(self, told: str) -> None:
        with self._lock:
            self.answers[told] += 1


@contextlib.contextmanager
def soaking(directory: Path, *, clients: int = 2, pause: float = 0.0) -> Iterator[Soak]:
    """Run the service under load while the block runs; each client rests `pause` seconds between two questions."""
    with running_service(directory, CONFIG) as service, contextlib.ExitStack() as stack:
        soak = Soak(service, directory)
        ended = threading.Event()

        def work(client: Callable[[], contextlib.AbstractContextManager[Callable[[], None]]]) -> None:
            with client() as ask:
                while not ended.is_set():
                    ask()
                    if pause:
                        time.sleep(pause)

        @contextlib.contextmanager
        def over_grpc() -> Iterator[Callable[[], None]]:
            with channel(service.address) as opened:
                yield lambda: soak.ask_grpc(opened)

        @contextlib.contextmanager
        def over_http() -> Iterator[Callable[[], None]]:
            connection = http.client.HTTPConnection(service.http, timeout=ASKING_SECONDS)
            with contextlib.closing(connection):
                yield lambda: soak.ask_http(connection)

        threads = [threading.Thread(target=work, args=(kind,), daemon=True) for kind in (over_grpc, over_http)]
        threads += [threading.Thread(target=work, args=(over_grpc,), daemon=True) for _ in range(clients - 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            stack.callback(thread.join)
        stack.callback(ended.set)
        yield soak
