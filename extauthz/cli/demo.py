"""`extauthz demo`: what `make run` runs."""

import signal
from pathlib import Path

import click

from extauthz.cli.options import UnusableConfigError, UnusableError


@click.command("demo")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default="config/extauthz.yaml",
    show_default=True,
    help="The configuration file; the lines to try are for the one that comes with extauthz.",
)
def command(config_file: Path) -> None:
    """Run it all on loopback and print lines to try.

    A real Envoy in front, extauthz, and a reference Gateway behind. Ctrl-C stops all.
    """
    from extauthz.config.faults import ConfigError  # noqa: PLC0415 - help must be quick
    from extauthz.demo.programs import DemoError  # noqa: PLC0415
    from extauthz.demo.running import DECISIONS, running  # noqa: PLC0415
    from extauthz.proxies.from_config import GapError  # noqa: PLC0415

    # Whatever asks to stop, a closed terminal too, unwinds the block below, which stops what it started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    click.echo("Starting extauthz, the reference Gateways and Envoy ...")
    try:
        with running(config_file) as demo:
            click.echo(f"Ready at http://{demo.front}; logs are in {demo.logs}.")
            click.echo(f"See it decide at http://{demo.admin}/console.")
            click.echo(f"Each decision is a line of {demo.logs / DECISIONS}. Lines to try:\n")
            for line in demo.lines:
                colour = "green" if line.expect.startswith(("1", "2")) else "red"
                click.echo(f"# {line.title}")
                click.echo(f"# {click.style(line.expect, fg=colour)}")
                click.echo(f"{_short(line.command)}\n")
            click.echo("Ctrl-C stops all.")
            ended = demo.wait()
            raise UnusableError(f"{ended} ended unasked; its log was in {demo.logs}")
    except KeyboardInterrupt:
        click.echo("\nStopped.")
    except ConfigError as error:
        raise UnusableConfigError(str(error)) from error
    except GapError as error:
        raise UnusableError(f"{config_file}: {error}") from error
    except DemoError as error:
        raise UnusableError(str(error)) from error


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _short(command: str) -> str:
    """Let the shell repeat what would fill the screen."""
    from extauthz.demo.lines import LONG_HEADER_BYTES  # noqa: PLC0415 - help must be quick

    long = "a" * LONG_HEADER_BYTES
    return command.replace(f"'x-long: {long}'", f"\"x-long: $(printf 'a%.0s' $(seq {LONG_HEADER_BYTES}))\"")
