"""Start-up and memory, in an environment as users have it: `pip install .` and nothing else.

The environment of the tests has more packages, and some libraries import what they find.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import yaml

from bench.loading import framed, grpc_rate
from bench.machine import cores, on
from bench.measuring import figure
from bench.messages import configuration, message
from bench.plan import Plan
from bench.programs import MEASURED, engines, is_compiled, require
from bench.results import Line, Section, Target
from support.ports import free_port
from support.process import running
from support.service import Service

ROOT = Path(__file__).parents[2]
READY, MEMORY = Target(at_most=0.7), Target(at_most=70)
INSTALL_SECONDS = 600.0


def measure(plan: Plan, environments: Path) -> Iterator[Section]:
    """Measure, and yield this part of the report. What is installed for it is kept below `environments`.

    Raises:
        UnavailableError: h2load is missing.
    """
    require("h2load", "nghttp2-client")
    lines: list[Line] = []
    notes: list[str] = []
    for engine in engines():
        extra = "" if engine == "grpcio" else f"[{engine}]"
        python, note = _installed(environments / f"venv-{engine}", extra)
        notes += [note] if note else []
        lines += _lines(engine, python, plan)
    yield Section(
        "startup",
        "Start-up and memory",
        "A fresh environment with `pip install .` alone (for the native engine `.[native]`), with the modules of the "
        "build that is measured, and the bytecode of all files. The "
        "start is from that of the program to the first health answer that says SERVING, asked for every few "
        "milliseconds. Memory is that of the one process, everything on: what is resident (RSS), and the same with "
        "what it shares with others divided among them (PSS); MB are 1,000,000 bytes.",
        tuple(lines),
        tuple(dict.fromkeys(notes)),
    )


def _installed(folder: Path, extra: str) -> tuple[Path, str]:
    """Return the Python of an environment with extauthz alone, and a note if it is another one."""
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        # pip does not know what was laid over the last time.
        for module in _packages(folder).rglob("extauthz*/**/*.so"):
            module.unlink()
        argv = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{ROOT}{extra}"]
        # Always: what is measured is the code as it is now.
        subprocess.run(
            [*argv, "--force-reinstall", "--no-deps"], check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
        subprocess.run(argv, check=True, capture_output=True, timeout=INSTALL_SECONDS)
        if is_compiled():
            _lay_over(folder)
        # All files, whatever their dates say: one that is stale would be compiled at each start.
        compiled = [str(python), "-m", "compileall", "-q", "-f", str(_packages(folder))]
        subprocess.run(compiled, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        return Path(sys.executable), f"measured in the environment of the tests, because pip failed: {last or error}"
    return python, ""


def _packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def _lay_over(folder: Path) -> None:
    """Put the compiled modules over what is installed, as the wheel of a compiled build has them."""
    packages = _packages(folder)
    for module in MEASURED.rglob("*.so"):
        shutil.copyfile(module, packages / module.relative_to(MEASURED))


def _lines(engine: str, python: Path, plan: Plan) -> Iterator[Line]:
    starts: list[float] = []
    memory: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sent = framed(message(raw=True), folder / "check.bin")
        (folder / "extauthz.yaml").write_text(yaml.safe_dump(configuration(engine=engine)), encoding="utf-8")
        # Once before, so that every file is compiled and the first key is made.
        with _running(folder, python):
            pass
        for _ in range(plan.starts):
            began = time.perf_counter()
            with _running(folder, python) as (service, ready):
                starts.append(ready - began)
                _look(memory, "at the start", service.program.pid)
                grpc_rate(service.address, sent, plan.memory_requests, cores().load)
                _look(memory, f"after {plan.memory_requests:,} requests", service.program.pid)
    yield Line(f"{engine}: start to ready", "s", figure(starts), READY, tags={"engine": engine, "what": "start"})
    for what, values in memory.items():
        target = MEMORY if what.startswith("RSS") else None
        yield Line(f"{engine}: {what}", "MB", figure(values), target, tags={"engine": engine, "what": what})


@contextlib.contextmanager
def _running(folder: Path, python: Path) -> Iterator[tuple[Service, float]]:
    """Run the service; yields it and when it was ready."""
    where, http, admin = (f"127.0.0.1:{free_port()}" for _ in range(3))
    argv = [str(python), "-m", "extauthz.cli", "serve", "--config", str(folder / "extauthz.yaml")]
    argv += ["--grpc", where, "--http", http, "--admin", admin]
    with contextlib.ExitStack() as stack:
        # From its own folder, so that it is the installed package that runs and not the one of this tree.
        with on(cores().server):
            program = stack.enter_context(running(argv, log=folder / "log", cwd=folder, env={"PYTHONPATH": ""}))
        with on(cores().load):
            service = Service(program, where)
            program.wait_ready(_quickly(service.is_serving))
            ready = time.perf_counter()
        yield service, ready


def _quickly(ready: Callable[[], bool]) -> Callable[[], bool]:
    """Ask several times at each look, for what waits looks only every 20 ms."""

    def asked() -> bool:
        for _ in range(10):
            if ready():
                return True
            time.sleep(0.002)
        return False

    return asked


def _look(memory: dict[str, list[float]], when: str, pid: int) -> None:
    found = psutil.Process(pid).memory_full_info()
    memory.setdefault(f"RSS {when}", []).append(found.rss / 1e6)
    memory.setdefault(f"PSS {when}", []).append(found.pss / 1e6)
