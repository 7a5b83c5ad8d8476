"""The cast of the probe's tests: extauthz, a Gateway that reports what arrived, a hop that signs in. No asserts.

Between hop and Gateway each test puts a real proxy, configured as extauthz writes it or carelessly.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from click.testing import CliRunner

from extauthz.cli import main
from extauthz.proxies import caddy, nginx, traefik
from extauthz.proxies.envoy import Route, Settings, render
from extauthz.proxies.values import CLIENTS_WORD
from support.envoy import running_envoy
from support.front import PATIENT
from support.http_proxies import run_written, settings
from support.ports import free_port
from support.reference_gateway import running_gateway
from support.service import Service, running_service
from support.sign_in_hop import SESSION, SignInHop, sign_in_hop

USER: Final = "nick@example.com"
USER_HEADER: Final = "x-forwarded-user"
HOP: Final = "127.0.0.7"
"""Where the hop connects from: the trusted proxy."""
GATEWAY: Final = "openclaw"
REPORT: Final = "--report-arrivals-to-anyone"
SESSION_FILE: Final = f"cookie: {SESSION}\n"

CONFIG: Final[dict[str, Any]] = {
    "stamp": {"bind": ["method", "host", "path"]},
    "gateways": {
        GATEWAY: {
            "trustedProxies": [HOP],
            "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": USER_HEADER, "allowUsers": [USER]}},
        }
    },
}

Careless = Callable[[str], str]
"""What becomes of a configuration text in careless hands."""
CarelessEnvoy = Callable[[dict[str, Any]], None]
"""The same of Envoy's, as data."""


@dataclass(frozen=True)
class Cast:
    """The running programs."""

    service: Service
    gateway_port: int
    """The Gateway that verifies stamps, and reports."""
    directory: Path

    @property
    def config(self) -> Path:
        """The file that the probe takes the names from."""
        return self.directory / "service" / "extauthz.yaml"

    @contextlib.contextmanager
    def behind(
        self, dialect: str, careless: Careless = str, *, gateway_port: int | None = None, **hop: Any
    ) -> Iterator[SignInHop]:
        """Run the hop, and Traefik, Caddy or nginx behind it, while the block runs."""
        port = free_port()
        directory = self.directory / f"{dialect}-{port}"
        chosen = settings(
            dialect,
            directory,
            listen=f"127.0.0.1:{port}",
            gateway=GATEWAY,
            upstream=f"127.0.0.1:{gateway_port or self.gateway_port}",
            user_header=USER_HEADER,
            extauthz=(self.service.http,),
            fronts=(HOP,),
            timeout=5.0,
        )
        text = {"traefik": traefik, "caddy": caddy, "nginx": nginx}[dialect].render(chosen)
        with run_written(dialect, directory, careless(text), port), _hop(port, **hop) as running:
            yield running

    @contextlib.contextmanager
    def behind_envoy(
        self,
        careless: CarelessEnvoy | None = None,
        removes: tuple[str, ...] = (USER_HEADER, *CLIENTS_WORD),
        **given: Any,
    ) -> Iterator[SignInHop]:
        """Run the hop, and Envoy behind it, while the block runs.

        Envoy passes on what the proxy in front says of the client, so that this hop removes what the client says.
        """
        port, admin = free_port(), free_port()
        directory = self.directory / f"envoy-{port}"
        directory.mkdir()
        route = Route(upstream=f"127.0.0.1:{self.gateway_port}", gateway=GATEWAY, user_headers=(USER_HEADER,))
        chosen = Settings(
            routes=(route,),
            listen=f"127.0.0.1:{port}",
            admin=f"127.0.0.1:{admin}",
            **{"extauthz": (self.service.address,), **PATIENT, **given},
        )
        config = yaml.safe_load(render(chosen))
        if careless is not None:
            careless(config)
        envoy = running_envoy(yaml.safe_dump(config), admin_port=admin, directory=directory)
        with envoy, _hop(port, removes=removes) as hop:
            yield hop


def _hop(port: int, **given: Any) -> contextlib.AbstractContextManager[SignInHop]:
    return sign_in_hop(port, source=HOP, user=USER, user_header=USER_HEADER, **given)


@contextlib.contextmanager
def running_cast(directory: Path) -> Iterator[Cast]:
    """Run extauthz and the Gateway while the block runs."""
    with running_service(directory / "service", CONFIG) as service, reporting_gateway(directory, service) as port:
        yield Cast(service, port, directory)


@contextlib.contextmanager
def reporting_gateway(directory: Path, service: Service, *further: str) -> Iterator[int]:
    """Run a Gateway that verifies stamps and reports."""
    with running_gateway(directory, audience=GATEWAY, jwks=service.jwks_url, further=(REPORT, *further)) as port:
        yield port


@dataclass(frozen=True)
class Probed:
    """What a probe has told."""

    status: int
    """The exit status."""
    said: dict[str, Any]

    def ids(self, result: str) -> set[str]:
        """The checks with this result."""
        return {check["id"] for check in self.said["checks"] if check["result"] == result}

    @property
    def holes(self) -> set[str]:
        """The checks that found a hole."""
        return self.ids("hole")

    def seen(self, check: str) -> str:
        """What one check saw."""
        return str(next(one["seen"] for one in self.said["checks"] if one["id"] == check))


def probe(url: str, *arguments: str, config: Path | None = None, signed_in: bool = True) -> Probed:
    """Run `extauthz probe` to its end, and read what it tells machines."""
    argv = ["probe", url, "--format", "json", "--timeout", "60", *arguments]
    if signed_in:
        argv += ["--header", f"cookie: {SESSION}"]
    if config is not None:
        argv += ["--config", str(config)]
    done = CliRunner().invoke(main, argv, catch_exceptions=False)
    return Probed(done.exit_code, json.loads(done.stdout) if done.stdout else {"checks": [], "error": done.stderr})


def without(text: str, *lines: str) -> str:
    """Return a configuration without every line that has one of these in it.

    Raises:
        ValueError: there is no such line: the test would plant nothing.
    """
    for part in lines:
        if part not in text:
            raise ValueError(f"no line has {part!r}")
    return "\n".join(line for line in text.split("\n") if not any(part in line for part in lines))


def instead(text: str, old: str, new: str) -> str:
    """Return a configuration with another text in place of this one.

    Raises:
        ValueError: it is not there: the test would plant nothing.
    """
    if old not in text:
        raise ValueError(f"there is no {old!r}")
    return text.replace(old, new)
