"""The command line. Each command is a module of its own, imported only when it is called: help must be quick."""

import importlib
from typing import Final

import click

from extauthz import __version__
from extauthz.build import build

# Command: its module in this package, which has it as `command`. In the order of the help page.
_COMMANDS: Final = {
    "serve": "serve",
    "check": "check",
    "audit": "audit",
    "explain": "explain",
    "config": "config",
    "keys": "keys",
    "verify": "verify",
    "proxy-config": "proxy_config",
    "migrate": "migrate",
    "probe": "probe",
    "gateway": "gateway",
    "demo": "demo",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"extauthz.cli.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.message} Commands: {', '.join(_COMMANDS)}.", ctx) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="extauthz", message=f"%(prog)s, version %(version)s ({build()})")
def main() -> None:
    """One external authorizer for many Gateways.

    A proxy asks extauthz about every request; it applies the trusted-proxy rules and answers allow, with identity
    headers that it stamped, or deny, with the reason.

    Exit status of every command: 0 good, 1 findings or refused, 2 bad usage or configuration.
    """
