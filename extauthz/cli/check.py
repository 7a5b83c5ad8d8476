"""`extauthz check`: is this file good?"""

import json
from pathlib import Path

import click

from extauthz.cli.options import EXIT_REFUSED, config_option, format_option, load_config


@click.command("check")
@config_option
@format_option
@click.pass_context
def command(ctx: click.Context, config_file: Path, output_format: str) -> None:
    """Check the configuration file and everything it points at.

    Every fault is shown at once, with its line, its path and the cure. Exit status 0: good. 1: it can be served, but
    a gateway is incomplete and denies everything, or a file or an engine it names cannot be used here. 2: it cannot be
    used.
    """
    loaded = load_config(config_file)
    from extauthz.assembly import file_faults  # noqa: PLC0415 - help must be quick

    errors = (*loaded.incomplete, *file_faults(loaded))
    count = len(loaded.settings.gateways)
    if output_format == "json":
        found = {
            "file": str(config_file),
            "gateways": count,
            "errors": [{"path": fault.path, "line": fault.line, "message": fault.message} for fault in errors],
            "notices": [{"path": fault.path, "line": fault.line, "message": fault.message} for fault in loaded.notices],
        }
        click.echo(json.dumps(found))
    else:
        for fault in loaded.notices:
            click.echo(f"{click.style('note', fg='yellow')}  {fault}")
        for fault in errors:
            click.echo(f"{click.style('error', fg='red')} {fault}")
        gateways = "1 gateway" if count == 1 else f"{count} gateways"
        verdict = click.style("good", fg="green") if not errors else click.style("not good", fg="red")
        click.echo(f"{config_file}: {gateways}, {verdict}")
    ctx.exit(EXIT_REFUSED if errors else 0)
