"""`extauthz proxy-config traefik`: Traefik's configuration for a gateway of the file. Only options live here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from extauthz.cli.proxy_config import made, write
from extauthz.cli.proxy_config_http import http_options, read

if TYPE_CHECKING:
    from pathlib import Path


@click.command("traefik")
@http_options
@click.option(
    "--file",
    default="/etc/traefik/traefik.yaml",
    show_default=True,
    metavar="PATH",
    help="Where Traefik will find what is written: the file has to say so itself.",
)
def command(config_file: Path, output: Path | None, force: bool, **given: Any) -> None:
    """Write Traefik's configuration for a gateway of the file: complete, hardened, with its reasons beside each line.

    \b
      extauthz proxy-config traefik --upstream 127.0.0.1:18789 --output /etc/traefik/traefik.yaml
      traefik --configFile=/etc/traefik/traefik.yaml
    """  # noqa: D301 - click wants the character, not a backslash
    from extauthz.proxies.traefik import Settings, render  # noqa: PLC0415 - help must be quick

    settings = read(config_file, given)
    write(made(lambda: render(Settings(**settings))), output, force=force)
