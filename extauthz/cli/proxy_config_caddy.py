"""`extauthz proxy-config caddy`: Caddy's configuration for a gateway of the file. Only options live here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from extauthz.cli.proxy_config import made, write
from extauthz.cli.proxy_config_http import http_options, read, timeout_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command("caddy")
@http_options
@timeout_option
@click.option(
    "--authentication-file",
    metavar="PATH",
    help="A file of Caddy's directives that authenticate, such as basic_auth, in the place of a service.",
)
def command(config_file: Path, output: Path | None, force: bool, **given: Any) -> None:
    """Write Caddy's configuration for a gateway of the file: complete, hardened, with its reasons beside each line.

    \b
      extauthz proxy-config caddy --upstream 127.0.0.1:18789 --output Caddyfile
      caddy validate --adapter caddyfile --config Caddyfile
    """  # noqa: D301 - click wants the character, not a backslash
    from extauthz.proxies.caddy import Settings, render  # noqa: PLC0415 - help must be quick

    settings = read(config_file, given)
    write(made(lambda: render(Settings(**settings))), output, force=force)
