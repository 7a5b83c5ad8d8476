"""`extauthz serve`: the service."""

import gc
from pathlib import Path

import click

from extauthz.cli.options import UnusableError, config_option, load_config


@click.command("serve")
@config_option
@click.option("--grpc", multiple=True, metavar="ADDR", help="Listen here for Envoy instead of listen.grpc; repeatable.")
@click.option("--http", multiple=True, metavar="ADDR", help="The same for listen.http.")
@click.option("--admin", multiple=True, metavar="ADDR", help="The same for listen.admin.")
def command(config_file: Path, grpc: tuple[str, ...], http: tuple[str, ...], admin: tuple[str, ...]) -> None:
    """Answer proxies: the service itself.

    Until SIGTERM or Ctrl-C; then what is under way is finished. The file and the stamp keys are read again when they
    change, and on SIGHUP: a good configuration takes effect between two requests, a bad one changes nothing.

    ADDR is host:port, [v6]:port or unix:/path; port 0 lets the system choose one, and the log says which. For more
    cores, start more processes, each with its own addresses, and list them all as endpoints in the proxy.
    """
    from extauthz.process import leave_out_openssl  # noqa: PLC0415 - help must be quick

    # What is loaded now stays: it is collected once, when the service has settled.
    gc.disable()
    leave_out_openssl()
    given = {"grpc": list(grpc), "http": list(http), "admin": list(admin)}
    listen = {door: addresses for door, addresses in given.items() if addresses}
    overrides = {"listen": listen} if listen else None
    loaded = load_config(config_file, overrides)
    from extauthz.assembly import AssemblyError  # noqa: PLC0415
    from extauthz.config.load import load  # noqa: PLC0415
    from extauthz.doors.endpoints import DoorError  # noqa: PLC0415
    from extauthz.logs import configure_logs  # noqa: PLC0415
    from extauthz.service import Service  # noqa: PLC0415

    configure_logs()
    try:
        Service(config_file, loaded, lambda: load(config_file, overrides)).run()
    except (DoorError, AssemblyError) as error:
        raise UnusableError(str(error)) from error
