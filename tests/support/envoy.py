"""Real Envoy in tests: a configuration text validated or run by the real program. No configuration is made here."""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.files import json_lines
from support.process import Program, require_program, running

_VALIDATE_SECONDS = 60.0
_ADMIN_SECONDS = 30.0


@dataclass(frozen=True)
class Envoy:
    """A running Envoy, and the port of its admin interface."""

    program: Program
    admin_port: int

    def counter(self, name: str) -> int:
        """The value of a counter or gauge, such as `cluster.extauthz.membership_healthy`; 0 where it does not exist."""
        status, body = _admin(self.admin_port, f"/stats?filter=^{name}$&format=json")
        if status != http.client.OK:
            raise RuntimeError(f"Envoy's admin answered {status} for {name}")
        stats: list[dict[str, object]] = json.loads(body)["stats"]
        return sum(int(str(entry["value"])) for entry in stats if entry.get("name") == name)

    def finds_well(self, processes: int) -> bool:
        """Whether so many of the processes that it asks pass its health checks."""
        return self.counter("cluster.extauthz.membership_healthy") == processes

    def access_log(self) -> list[dict[str, object]]:
        """The JSON lines that Envoy has written to its standard output so far."""
        return json_lines(self.program.log_text(), mixed=True)


def validate_envoy(config: str, directory: Path) -> str | None:
    """Have the real program read a configuration; return what it complains of, or None if it accepts it."""
    path = directory / "envoy-validate.yaml"
    path.write_text(config, encoding="utf-8")
    done = subprocess.run(
        [require_program("envoy"), "--mode", "validate", "-c", str(path), "--log-level", "warn"],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_VALIDATE_SECONDS,
        text=True,
    )
    return None if done.returncode == 0 else done.stdout


@contextlib.contextmanager
def running_envoy(config: str, *, admin_port: int, directory: Path) -> Iterator[Envoy]:
    """Run Envoy with a configuration text while the block runs, from the moment it takes requests.

    Args:
        config: the configuration, whose admin interface is at 127.0.0.1 and `admin_port`.
        admin_port: where it is asked whether it is ready.
        directory: where its configuration and its log are kept.

    Raises:
        ProgramError: Envoy refused the configuration or was not ready in time; the message has the end of its log.
    """
    path = directory / "envoy.yaml"
    path.write_text(config, encoding="utf-8")
    argv = [
        require_program("envoy"),
        *("-c", str(path)),
        # Several Envoys run on one machine: no shared memory between them, and one worker is enough for a test.
        *("--use-dynamic-base-id", "--disable-hot-restart", "--concurrency", "1"),
        *("--log-level", "warn", "--file-flush-interval-msec", "50"),
    ]
    with running(argv, log=directory / "envoy.log", ready=lambda: _is_ready(admin_port)) as program:
        yield Envoy(program, admin_port)


def _is_ready(admin_port: int) -> bool:
    return _admin(admin_port, "/ready")[0] == http.client.OK


def _admin(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ADMIN_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        # To the one who waits this is the same as a refused connection: not ready yet.
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
