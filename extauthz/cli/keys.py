"""`extauthz keys`: makes, turns over and lists the signing keys. Reads options and prints; `stamp/` has the rules."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from extauthz.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from extauthz.stamp.claims import Algorithm
    from extauthz.stamp.keyset import KeySet, Schedule

_T = TypeVar("_T")

_DIRECTORY = click.option(
    "--keys",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("keys"),
    show_default=True,
    metavar="DIR",
    help="The directory of private keys: stamp.keys of the configuration.",
)
_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
_LIFETIME = click.option(
    "--lifetime",
    type=click.IntRange(1, 3600),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long an old key is still needed: at least stamp.lifetime of the configuration. By default the longest "
    "that there can be, since a public key that is published longer does no harm.",
)


class _Fault(click.ClickException):
    """The directory is not fit for use."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        # Whoever may put a file into the directory chooses its name.
        super().__init__(printable(message))


@click.group("keys")
def command() -> None:
    """Make, turn over and list the keys that sign stamps."""


@command.command()
@_DIRECTORY
@click.option("--algorithm", type=click.Choice(["ES256", "EdDSA"]), default="ES256", show_default=True)
@_FORMAT
def generate(directory: Path, algorithm: str, form: str) -> None:
    """Make the first key, which signs at once. Where there is a key already it is left alone: see rotate."""
    from extauthz.stamp import keys  # noqa: PLC0415 (start-up time)

    key = _do(lambda: keys.generate(directory, cast("Algorithm", algorithm)))
    if key is None:
        raise _Fault(f"{directory}: there is a key already. A new one: extauthz keys rotate --keys {directory}")
    said = {"kid": key.kid, "algorithm": key.algorithm, "activates_at": key.activates_at, "directory": str(directory)}
    _say(form, said, f"{directory}: made the {key.algorithm} key {key.kid}; it signs from now on")


@command.command()
@_DIRECTORY
@click.option("--algorithm", type=click.Choice(["ES256", "EdDSA"]), help="Of the new key; by default as the last.")
@click.option(
    "--activate-after",
    type=click.IntRange(0, 7 * 86400),
    metavar="SECONDS",
    help="How long it is published before it signs; by default 300. 0 is for a leaked key: stamps are refused until "
    "every service and Gateway has read the new one.",
)
@click.option(
    "--prune", is_flag=True, help="Delete the retired keys, too: those that --lifetime says are needed no more."
)
@_LIFETIME
@_FORMAT
def rotate(  # noqa: PLR0913, PLR0917 (one parameter an option)
    directory: Path, algorithm: str | None, activate_after: int | None, prune: bool, lifetime: int, form: str
) -> None:
    """Add the next key: published at once, signing some minutes later. The old one stays until its stamps have ended.

    Services that share the directory, or get a copy of it, see the new key by themselves.
    """
    from extauthz.stamp import keys  # noqa: PLC0415 (start-up time)

    schedule = _schedule(lifetime, activate_after)
    removed = _do(lambda: keys.prune(directory, schedule)) if prune else []
    key = _do(lambda: keys.rotate(directory, cast("Algorithm | None", algorithm), schedule))
    said = {"kid": key.kid, "algorithm": key.algorithm, "activates_at": key.activates_at, "removed": removed}
    lines = [f"{directory}: removed the retired {name}" for name in removed]
    wait = key.activates_at - key.created_at
    when = f"it signs in {wait} s, at {_utc(key.activates_at)}" if wait else "it signs from now on"
    until = "before that" if wait else "now"
    copy = f"copy the JWKS to Gateways that read it from a file {until}: extauthz keys jwks --keys {directory}"
    _say(form, said, "\n".join([*lines, f"{directory}: made the {key.algorithm} key {key.kid}; {when}", copy]))


@command.command("list")
@_DIRECTORY
@_LIFETIME
@_FORMAT
def list_(directory: Path, lifetime: int, form: str) -> None:
    """Show every key: next, active, previous or retired, and who can read its file."""
    keys = _load(directory, lifetime)
    rows = _rows(keys)
    if form == "json":
        click.echo(json.dumps({"keys": rows, "ignored": list(keys.ignored)}))
        return
    if sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in rows:
            click.echo("  ".join(_shown(row)))
    for name in keys.ignored:
        click.echo(printable(f"{directory / name}: not a key file; ignored"), err=True)


@command.command()
@_DIRECTORY
@_LIFETIME
def jwks(directory: Path, lifetime: int) -> None:
    """Print the public keys, as the service publishes them: the file for Gateways that do not fetch it."""
    from extauthz.stamp import jwks as document  # noqa: PLC0415 (start-up time)

    click.echo(document.build(_load(directory, lifetime).published(time.time())).body.decode())


_COLUMNS = ("state", "kid", "algorithm", "activates", "file", "mode")


def _rows(keys: KeySet) -> list[dict[str, Any]]:
    return [
        {
            "state": state,
            "kid": key.kid,
            "algorithm": key.algorithm,
            "activates": _utc(key.activates_at),
            "file": key.file,
            "mode": f"{key.mode:04o}" + (" group" if key.group_readable else ""),
        }
        for key, state in keys.states(time.time())
    ]


def _shown(row: dict[str, Any]) -> list[str]:
    return [printable(str(row[name])) for name in _COLUMNS]


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 (start-up time)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    colours = {"active": "bold green", "next": "cyan", "previous": "yellow", "retired": "dim"}
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, _shown(row)), style=colours[row["state"]])
    Console().print(table)


def _load(directory: Path, lifetime: int) -> KeySet:
    from extauthz.stamp import keys  # noqa: PLC0415 (start-up time)

    found = _do(lambda: keys.load(directory, _schedule(lifetime)))
    if not found.keys:
        raise _Fault(f"{directory}: no key. Make one: extauthz keys generate --keys {directory}")
    return found


def _schedule(lifetime: int, publication: int | None = None) -> Schedule:
    from extauthz.stamp.keyset import PUBLICATION_SECONDS, Schedule  # noqa: PLC0415 (start-up time)

    return Schedule(lifetime=lifetime, publication=PUBLICATION_SECONDS if publication is None else publication)


def _do(action: Callable[[], _T]) -> _T:
    from extauthz.stamp.keyfile import KeyDirectoryError  # noqa: PLC0415 (start-up time)

    try:
        return action()
    except KeyDirectoryError as error:
        raise _Fault(str(error)) from error


def _say(form: str, said: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(said) if form == "json" else text)


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
