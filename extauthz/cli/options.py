"""What several commands share: options, and how faults of a configuration end a command."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from extauthz.printable import printable, printable_json

if TYPE_CHECKING:
    from extauthz.config.load import Loaded

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default="extauthz.yaml",
    show_default=True,
    envvar="EXTAUTHZ_CONFIG",
    show_envvar=True,
    help="The configuration file.",
)

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text for people, json for machines.",
)


class UnusableError(click.ClickException):
    """Something that the command needs cannot be used; ends it with status 2."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str) -> None:
        # Names of files and what stands in them may be somebody else's: nothing of it steers the terminal.
        super().__init__(printable(message))


class UnusableConfigError(UnusableError):
    """A configuration that cannot be used."""

    def show(self, file: Any = None) -> None:
        """Write the faults as they are: they name the file themselves."""
        del file
        click.echo(self.message, err=True)


def echo_json(data: Any) -> None:
    """Write data as one line of JSON in which nothing steers a terminal."""
    click.echo(printable_json(data))


def load_config(file: Path, overrides: dict[str, Any] | None = None, *, pasted: bool = False) -> "Loaded":
    """Load the configuration file, or end the command with every fault of it."""
    from extauthz.config.faults import ConfigError  # noqa: PLC0415 - help must be quick
    from extauthz.config.load import load  # noqa: PLC0415

    try:
        return load(file, overrides, pasted=pasted)
    except ConfigError as error:
        raise UnusableConfigError(str(error)) from error
