"""`extauthz proxy-config nginx`: nginx's configuration for a gateway of the file. Only options live here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from extauthz.cli.proxy_config import made, write
from extauthz.cli.proxy_config_http import http_options, read, timeout_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command("nginx")
@http_options
@timeout_option
@click.option("--directory", default="/var/lib/nginx", show_default=True, metavar="PATH", help="For its buffers.")
@click.option("--pid", default="/run/nginx.pid", show_default=True, metavar="PATH", help="For its process id.")
@click.option("--error-log", default="/var/log/nginx/error.log", show_default=True, metavar="PATH")
@click.option("--access-log", default="/var/log/nginx/access.log", show_default=True, metavar="PATH")
def command(config_file: Path, output: Path | None, force: bool, **given: Any) -> None:
    """Write nginx's configuration for a gateway of the file: complete, hardened, with its reasons beside each line.

    \b
      extauthz proxy-config nginx --upstream 127.0.0.1:18789 --output nginx.conf
      nginx -t -c "$PWD/nginx.conf"
    """  # noqa: D301 - click wants the character, not a backslash
    from extauthz.proxies.nginx import Settings, render  # noqa: PLC0415 - help must be quick

    settings = read(config_file, given)
    write(made(lambda: render(Settings(**settings))), output, force=force)
