"""A migration put together: from OpenClaw's file and the operator's choices to everything that will be written."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extauthz.config.faults import ConfigError
from extauthz.config.load import Loaded, loads
from extauthz.config.peer_names import static_entries
from extauthz.core.address import Address, Network, parse_entry
from extauthz.migrate import texts
from extauthz.migrate.block import Block, change
from extauthz.migrate.found import Found, look
from extauthz.migrate.notes import MigrateError, Note
from extauthz.migrate.ours import NOBODY, Choices, Ours, propose
from extauthz.migrate.steps import Site, Step, six_steps, way_back
from extauthz.openclaw import OpenClawFile
from extauthz.proxies import values
from extauthz.proxies.from_config import is_loopback, user_header

PROXY_FILES: Final = {"envoy": "envoy.yaml", "traefik": "traefik.yaml", "caddy": "Caddyfile", "nginx": "nginx.conf"}

_EXAMPLE_PEER: Final = "10.0.0.7"
_EXAMPLE_USER: Final = "nick@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around the gateway, as the operator says it.

    Attributes:
        folder: Where everything will be written.
        proxy: Which proxy asks extauthz; None leaves that open.
        listen: Where it listens.
        upstream: Where it reaches OpenClaw; None: on this host, at OpenClaw's port.
        again: The options that were given, to be shown in the command that writes everything again.
    """

    folder: Path
    proxy: str | None
    listen: str
    upstream: str | None
    again: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Everything that is known before anything is written.

    Attributes:
        found: OpenClaw as it is.
        ours: Our file, as data, with what is open in it.
        text: Our file, as text.
        loaded: The same, as it will be read.
        block: OpenClaw's changed block.
        upstream: Where the proxy reaches OpenClaw; None if nobody said it.
        steps: The six steps.
        back: The way back.
    """

    gateway: str
    found: Found
    ours: Ours
    text: str
    loaded: Loaded
    block: Block
    upstream: str | None
    steps: tuple[Step, ...]
    back: Step

    @property
    def told(self) -> tuple[Note, ...]:
        """What is to be known beside the steps."""
        left_out = (
            Note(path, f"is left out of `{texts.BLOCK_FILE}`, for a secret may be in it")
            for path in self.block.left_out
        )
        return (*self.ours.notes, *self.block.changes, *left_out)

    def texts(self) -> dict[str, str]:
        """Return every file but the proxy's, by name."""
        return {
            texts.OUR_FILE: self.text,
            texts.BLOCK_FILE: texts.block_file(self.block, incomplete=bool(self.ours.open)),
            texts.PATCH_FILE: texts.patch_file(self.block, incomplete=bool(self.ours.open)),
            texts.GUIDE_FILE: texts.guide(self.steps, self.back, self.found.mode, self.told),
        }


def plan(file: OpenClawFile, choices: Choices, around: Around) -> Migration:
    """Put a migration together. Nothing is written.

    Raises:
        MigrateError: OpenClaw's file and the choices make no configuration that could be used.
        ValueError: A choice is not of its form; the text names it.
    """
    values.gateway_id(choices.gateway, "--gateway")
    values.listener(around.listen, "--listen")
    found = look(file)
    local = all(is_loopback(address) for address in choices.proxy_addresses)
    upstream = around.upstream
    if upstream is None and local and found.port is not None:
        upstream = f"127.0.0.1:{found.port}"
    if upstream is not None:
        values.host_port(upstream, "--upstream")
    ours = propose(found, choices, str(file.file))
    text = texts.our_file(ours, choices.gateway, found.mode)
    try:
        loaded = loads(text, source=str(file.file), folder=around.folder)
    except ConfigError as error:
        raise MigrateError(str(file.file), (Note(fault.path, fault.message) for fault in error.faults)) from error
    block = change(file.gateway, found, loaded.settings, choices.gateway, choices.proxy_addresses)
    site = _site(file, found, ours, loaded, choices, around, upstream)
    return Migration(
        gateway=choices.gateway,
        found=found,
        ours=ours,
        text=text,
        loaded=loaded,
        block=block,
        upstream=upstream,
        steps=six_steps(site),
        back=way_back(site),
    )


def _site(  # noqa: PLR0913, PLR0917 - everything that is known, for the steps
    file: OpenClawFile,
    found: Found,
    ours: Ours,
    loaded: Loaded,
    choices: Choices,
    around: Around,
    upstream: str | None,
) -> Site:
    rules = ours.gateway["auth"]["trustedProxy"]
    proxies = static_entries(ours.gateway["trustedProxies"])
    users = [user for user in rules["allowUsers"] if user != NOBODY and user.isprintable()]
    hosts = [host for host in ours.gateway["hosts"] if not host.startswith("*")]
    missing = {"trustedProxies": "--trusted-proxy ADDR", "auth.trustedProxy.userHeader": "--user-header NAME"}
    wanted = [missing.get(note.path, _option(note.path)) for note in ours.open]
    source = os.path.relpath(file.file.absolute(), around.folder.absolute())
    return Site(
        found=found,
        source=source,
        gateway=choices.gateway,
        proxy=around.proxy,
        listen=around.listen,
        upstream=upstream,
        proxy_addresses=choices.proxy_addresses,
        peer=_example(proxies[0]) if proxies else _EXAMPLE_PEER,
        user_header=user_header(loaded.settings.gateways[choices.gateway]) or "",
        required_headers=tuple(rules["requiredHeaders"]),
        user=users[0] if users else _EXAMPLE_USER,
        host=hosts[0] if hosts else "",
        # Once everything is said, and written again.
        shadow=ours.gateway["mode"] == "shadow" or (bool(ours.open) and found.mode != "none"),
        open=tuple(ours.open),
        again=" ".join(
            ["extauthz migrate", shlex.quote(source), *around.again, *dict.fromkeys(wanted), "--output . --force"]
        ),
        included=tuple(os.path.relpath(one.absolute(), around.folder.absolute()) for one in file.included),
    )


def _option(path: str) -> str:
    return "--required-header NAME" if "requiredHeaders" in path else "--allow-user USER"


def _example(entry: str) -> str:
    """Return an address that an entry of `trustedProxies` covers."""
    found = parse_entry(entry)
    if isinstance(found, Address):
        return entry.strip()
    # The first address of a range is no host's.
    inside = Network(found.version, min(found.first + 1, found.last), 32 if found.version == 4 else 128)
    return str(inside).partition("/")[0]
