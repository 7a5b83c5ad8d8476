"""Real Traefik, Caddy and nginx with the configuration that extauthz writes for them, and Envoy beside. No asserts."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extauthz.proxies import caddy, nginx, traefik
from extauthz.proxies.envoy import Route
from support.clients import http1
from support.front import running_front
from support.ports import free_port
from support.process import Program, require_program, running

NAMES: Final = {"traefik": "Traefik", "caddy": "Caddy", "nginx": "nginx"}
"""What the three are called, by the dialect that each speaks."""

_VALIDATE_SECONDS = 60.0
_NOT_YET = {0, 404}  # Traefik listens before it has read its routes


@dataclass(frozen=True)
class Proxy:
    """A running proxy that listens on 127.0.0.1."""

    dialect: str
    port: int
    program: Program
    text: str
    """Its configuration."""


def settings(dialect: str, directory: Path, **given: Any) -> Any:
    """Return the settings of a proxy whose files are kept in a directory."""
    if dialect == "traefik":
        return traefik.Settings(file=str(directory / "traefik.yaml"), **given)
    if dialect == "caddy":
        return caddy.Settings(**given)
    return nginx.Settings(
        directory=str(directory),
        pid=str(directory / "pid"),
        error_log=str(directory / "error.log"),
        access_log=str(directory / "access.log"),
        **given,
    )


def write(dialect: str, directory: Path, text: str) -> Path:
    """Write a configuration to where its proxy looks for it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / {"traefik": "traefik.yaml", "caddy": "Caddyfile", "nginx": "nginx.conf"}[dialect]
    path.write_text(text, encoding="utf-8")
    return path


def complaint(dialect: str, directory: Path, text: str) -> str | None:
    """Have the real program read a configuration; return what it complains of, or None if it accepts it.

    Traefik has no such command: there is a complaint if, once started, it has no route or says that something is wrong.
    """
    path = write(dialect, directory, text)
    if dialect == "traefik":
        port = int(text.partition("address: ")[2].partition("\n")[0].strip('"').rpartition(":")[2])
        with running(_argv(dialect, path), log=directory / "log", ready=lambda: _is_up(port)) as program:
            said = program.log_text()
        return said if " ERR " in said or " WRN " in said or '"level":"error"' in said else None
    argv = {
        "caddy": [require_program("caddy"), "validate", "--adapter", "caddyfile", "--config", str(path)],
        "nginx": [_nginx(), "-t", "-e", "stderr", "-c", str(path)],
    }[dialect]
    done = subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_VALIDATE_SECONDS,
        text=True,
    )
    # A configuration that another layout is proposed for is no fault, but ours has the right one.
    return None if done.returncode == 0 and "not formatted" not in done.stdout else done.stdout


def _nginx() -> str:
    # Debian has it where only root's PATH leads.
    return "/usr/sbin/nginx" if os.access("/usr/sbin/nginx", os.X_OK) else require_program("nginx")


def _argv(dialect: str, path: Path) -> list[str]:
    if dialect == "traefik":
        return [require_program("traefik"), f"--configFile={path}"]
    if dialect == "caddy":
        return [require_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(path)]
    # Started by root its workers would be nobody, who cannot enter root's temporary directories.
    user = "user root;" if os.geteuid() == 0 else ""
    return [_nginx(), "-e", "stderr", "-c", str(path), "-g", f"daemon off; {user}"]


def _is_up(port: int) -> bool:
    return http1(port).status not in _NOT_YET


@contextlib.contextmanager
def running_proxy(dialect: str, directory: Path, **given: Any) -> Iterator[Proxy]:
    """Run a proxy while the block runs, with these settings; readiness costs one question to extauthz.

    Raises:
        ProgramError: it did not become ready; the message has the end of its log.
    """
    port = free_port()
    chosen = settings(dialect, directory, listen=f"127.0.0.1:{port}", **{"timeout": 5.0, **given})
    text = {"traefik": traefik, "caddy": caddy, "nginx": nginx}[dialect].render(chosen)
    with run_written(dialect, directory, text, port) as program:
        yield Proxy(dialect, port, program, text)


@contextlib.contextmanager
def run_written(dialect: str, directory: Path, text: str, port: int) -> Iterator[Program]:
    """Run a proxy with a configuration text while the block runs, from the moment it answers at its port.

    Raises:
        ProgramError: it did not become ready; the message has the end of its log.
    """
    path = write(dialect, directory, text)
    env = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    argv = _argv(dialect, path)
    with running(argv, log=directory / "log", ready=lambda: _is_up(port), env=env, cwd=directory) as program:
        yield program


@contextlib.contextmanager
def running_envoy_proxy(
    directory: Path, *, gateway: str, upstream: str, user_header: str, extauthz: str, ask_over: str = "grpc"
) -> Iterator[Proxy]:
    """Run Envoy, asking over gRPC or HTTP, as one more of them."""
    route = Route(upstream=upstream, gateway=gateway, user_headers=(user_header,))
    with running_front(directory, routes=[route], extauthz=[extauthz], ask_over=ask_over) as front:
        yield Proxy("envoy", front.port, front.envoy.program, "")
