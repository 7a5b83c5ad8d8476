"""Real programs in tests: started, awaited, stopped by their own id, their output kept in a file.

Nothing here knows what the program is. Programs are awaited by asking whether they are ready, never by sleeping for
long enough; the limits are there so that a broken test ends.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

READY_SECONDS = 30.0
"""How long a program may take until it is ready. Generous: a loaded machine is no failure."""

STOP_SECONDS = 30.0
"""How long a program may take to end after SIGTERM before it gets SIGKILL; a service drains for ten of these."""

_POLL_SECONDS = 0.02
_LOG_TAIL = 6_000


class ProgramError(Exception):
    """A program that could not be started, ended too early, or was not ready in time. Carries the end of its log."""


def require_program(name: str) -> str:
    """Return the path of the program `name`, from beside the interpreter or from PATH.

    Where it is missing the test is skipped, saying its name; with `CI=true` in the environment the test fails, so that
    nothing goes untested unseen there.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{name} is not installed, and in CI no test is skipped", pytrace=False)
        pytest.skip(f"{name} is not installed")
    return found


class Program:
    """One started program. Make it with `running`, which also stops it."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None, cwd: Path | None) -> None:
        self.argv = tuple(argv)
        self.log = log
        self._env = env
        self._cwd = cwd
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        """The process id, which is also that of the program's own process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How the program ended (negative: by that signal), or None while it runs."""
        if self._process.returncode is not None:
            return self._process.returncode
        # Looked at without reaping: as long as it is not reaped its id belongs to nobody else, so that signals sent
        # to its group cannot reach a stranger's.
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def log_text(self) -> str:
        """Everything that the program wrote to its standard output and error so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, ready: Callable[[], bool], seconds: float = READY_SECONDS) -> Self:
        """Return once `ready()` is true. `ready` may raise OSError while the program does not listen yet.

        Raises:
            ProgramError: the program ended first, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.returncode is not None:
                raise ProgramError(f"{self._named()} ended with {self.returncode} before it was ready{self._tail()}")
            with contextlib.suppress(OSError):
                if ready():
                    return self
            time.sleep(_POLL_SECONDS)
        raise ProgramError(f"{self._named()} was not ready in {seconds:g} s{self._tail()}")

    def wait_end(self, seconds: float = READY_SECONDS) -> int:
        """Return the exit status once the program has ended by itself.

        Raises:
            ProgramError: it did not end in time.
        """
        deadline = time.monotonic() + seconds
        while (status := self.returncode) is None:
            if time.monotonic() > deadline:
                raise ProgramError(f"{self._named()} did not end in {seconds:g} s{self._tail()}")
            time.sleep(_POLL_SECONDS)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, by its id; one that has ended gets none."""
        if self.returncode is None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Have the program stand still until it gets SIGCONT, and return when every thread of it does.

        A signal is only sent: on a busy machine threads run on for some milliseconds, in which one can still answer.
        """
        self.signal(signal.SIGSTOP)
        wait_until(self._stands_still, f"{self._named()} to stand still")

    def _stands_still(self) -> bool:
        states = []
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended before, or after, it was opened
                states.append((thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0])
        return set(states) <= {"T", "t"}

    def kill(self) -> None:
        """End the program and its children at once with SIGKILL, as a crash would, and wait until they are gone."""
        self._end_group()

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask the program to end with SIGTERM, insist with SIGKILL, and return how it ended."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(ProgramError):
            self.wait_end(seconds)
        # Also after an orderly end: what it started may have outlived it.
        return self._end_group()

    def restart(self) -> Self:
        """Start the same program again after it has ended; its output goes on in the same file.

        Raises:
            ProgramError: it still runs.
        """
        if self.returncode is None:
            raise ProgramError(f"{self._named()} still runs")
        self._end_group()
        self._process = self._spawn()
        return self

    def _spawn(self) -> subprocess.Popen[bytes]:
        # A group of its own, so that what the program starts is stopped with it.
        with self.log.open("ab") as out:
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=None if self._env is None else {**os.environ, **self._env},
                cwd=self._cwd,
                start_new_session=True,
            )

    def _end_group(self) -> int:
        if self._process.returncode is None:  # not reaped, so the group's id is still ours
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def _named(self) -> str:
        return Path(self.argv[0]).name

    def _tail(self) -> str:
        return f"; its log ends:\n{self.log_text()[-_LOG_TAIL:]}"


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], bool] | None = None,
    seconds: float = READY_SECONDS,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Program]:
    """Run a program while the block runs, from the moment `ready()` is true.

    Args:
        argv: the program and its arguments.
        log: the file for its output.
        ready: asked again and again until it is true; None waits for nothing.
        seconds: how long it may take to become ready.
        env: variables set beside those of this process.
        cwd: its working directory.

    Raises:
        ProgramError: it ended first, or was not ready in time; the message has the end of its log.
    """
    program = Program(argv, log, env, cwd)
    try:
        if ready is not None:
            program.wait_ready(ready, seconds)
        yield program
    finally:
        program.stop()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    """Return once `condition()` is true; for what another process does in its own time.

    Raises:
        TimeoutError: it was not true in time; the message says `what` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(_POLL_SECONDS)
