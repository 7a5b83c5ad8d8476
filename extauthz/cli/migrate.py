"""`extauthz migrate`: from an openclaw.json to extauthz, with the steps. Options and output; migrate/ has the rest."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from extauthz.cli.options import EXIT_REFUSED, UnusableConfigError, UnusableError, format_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from extauthz.migrate.notes import Note
    from extauthz.migrate.plan import Migration
    from extauthz.migrate.steps import Step

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_RULESETS: Final = ("standard", "openclaw-2026.2", "openclaw-2026.9")
_PROXIES: Final = ("envoy", "traefik", "caddy", "nginx")

# Options that are said again in the command that writes everything again, by the parameter that has their values.
_AGAIN: Final = {
    "gateway": "--gateway",
    "ruleset": "--ruleset",
    "trusted_proxies": "--trusted-proxy",
    "user_header": "--user-header",
    "required_headers": "--required-header",
    "allow_users": "--allow-user",
    "hosts": "--host",
    "origins": "--origin",
    "proxy": "--proxy",
    "proxy_addresses": "--proxy-address",
    "upstream": "--upstream",
    "listen": "--listen",
}


def _many(option: str, name: str, metavar: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(option, name, multiple=True, metavar=metavar, help=f"{text} Repeatable.")


@click.command("migrate")
@click.argument("openclaw_file", metavar="OPENCLAW.JSON", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="extauthz-migration",
    show_default=True,
    metavar="DIR",
    help="Where everything is written; made if it is not there.",
)
@click.option("--force", is_flag=True, help="Overwrite the files that are there already.")
@_many("--trusted-proxy", "trusted_proxies", "ADDR", "Address, range or dns:NAME of the identity-aware proxy.")
@click.option("--user-header", metavar="NAME", help="The header in which it names the user.")
@_many("--required-header", "required_headers", "NAME", "A header that it always adds.")
@_many("--allow-user", "allow_users", "USER", "Who may come in, exactly as it names them.")
@click.option("--allow-everyone", is_flag=True, help="Everyone may whom it names, in the place of --allow-user.")
@_many("--host", "hosts", "HOST", "The host that people use. Default: that of gateway.publicOrigin.")
@_many("--origin", "origins", "ORIGIN", "An origin of the Control UI. Default: as in the file, else https://HOST.")
@click.option(
    "--gateway", default="openclaw", show_default=True, metavar="ID", help="What the gateway is to be called."
)
@click.option(
    "--ruleset",
    type=click.Choice(_RULESETS),
    help="The rules. Default: those of the OpenClaw release that decided until now, in trusted-proxy mode; else "
    "standard.",
)
@click.option(
    "--proxy", type=click.Choice(_PROXIES), help="Write this proxy's configuration too: the one that asks extauthz."
)
@click.option(
    "--listen", default="127.0.0.1:8080", show_default=True, metavar="ADDR", help="Where that proxy will listen."
)
@click.option(
    "--upstream",
    metavar="HOST:PORT",
    help="Where that proxy reaches OpenClaw. Default: 127.0.0.1 and the port of the file.",
)
@click.option(
    "--proxy-address",
    "proxy_addresses",
    multiple=True,
    default=["127.0.0.1"],
    show_default=True,
    metavar="ADDR",
    help="From where that proxy calls OpenClaw; repeatable.",
)
@format_option
def command(openclaw_file: Path, folder: Path, force: bool, output_format: str, **given: Any) -> None:
    """Migrate an OpenClaw to extauthz: write our file, OpenClaw's changed `gateway` block, and the steps to take.

    Reads OPENCLAW.JSON in token, password, none or trusted-proxy mode, and changes nothing of it. No secret is printed
    or written; ${REFERENCES} stay references. What OpenClaw's file cannot say is left open, and denies everything
    until it is said:

    \b
      extauthz migrate ~/.openclaw/openclaw.json --trusted-proxy 10.0.0.7 --user-header x-forwarded-user \\
        --allow-user nick@example.com --host gateway.example.com --proxy envoy

    \b
    extauthz.yaml            our file, in shadow mode first
    openclaw.gateway.json5   the whole changed block, to be read or pasted
    openclaw.patch.json5     only what changes, for `openclaw config patch`
    MIGRATION.md             the six steps for this installation, which are printed too
    envoy.yaml, ...          with --proxy

    Exit status 0: written. 1: written, with places left open. 2: nothing was written.
    """  # noqa: D301 - click wants the character, not a backslash
    if given["allow_users"] and given["allow_everyone"]:
        raise click.UsageError("--allow-user and --allow-everyone: only one of them can be meant")
    migration = _planned(openclaw_file, folder, given)
    texts = migration.texts()
    if given["proxy"] is not None:
        texts.update(_proxy_text(migration, folder, given))
    from extauthz.migrate.writing import WriteError, write_all  # noqa: PLC0415 - help must be quick

    try:
        write_all(folder, texts, force=force)
    except WriteError as error:
        raise UnusableError(str(error)) from error
    if output_format == "json":
        click.echo(json.dumps(_as_json(migration, folder, list(texts))))
    else:
        _show(migration, folder, texts)
    click.get_current_context().exit(EXIT_REFUSED if migration.ours.open else 0)


def _planned(openclaw_file: Path, folder: Path, given: dict[str, Any]) -> Migration:
    from extauthz.migrate.notes import MigrateError  # noqa: PLC0415 - help must be quick
    from extauthz.migrate.ours import Choices  # noqa: PLC0415
    from extauthz.migrate.plan import Around, plan  # noqa: PLC0415
    from extauthz.openclaw import OpenClawError, read  # noqa: PLC0415

    chosen = {name: given[name] for name in Choices.__dataclass_fields__}
    around = Around(
        folder=folder,
        proxy=given["proxy"],
        listen=given["listen"],
        upstream=given["upstream"],
        again=_again(given),
    )
    try:
        return plan(read(openclaw_file), Choices(**chosen), around)
    except (OpenClawError, MigrateError) as error:
        raise UnusableConfigError(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _again(given: dict[str, Any]) -> tuple[str, ...]:
    """Return the options that were given, as they would be given again."""
    context, said = click.get_current_context(), []
    for name, option in _AGAIN.items():
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = given[name]
        said += [f"{option} {shlex.quote(one)}" for one in (value if isinstance(value, tuple) else [value])]
    return (*said, *(["--allow-everyone"] if given["allow_everyone"] else []))


def _proxy_text(migration: Migration, folder: Path, given: dict[str, Any]) -> dict[str, str]:
    """Return the proxy's configuration, by its file's name, from the generators of `proxy-config`."""
    from extauthz.cli.proxy_config import made  # noqa: PLC0415 - help must be quick
    from extauthz.migrate.plan import PROXY_FILES  # noqa: PLC0415

    proxy = given["proxy"]
    if migration.loaded.incomplete:
        wanted = "\n".join(f"  {note}" for note in migration.ours.open)
        raise click.UsageError(f"--proxy {proxy}: its configuration says these, and nobody said them yet:\n{wanted}")
    if migration.upstream is None:
        raise click.UsageError(f"--proxy {proxy}: --upstream HOST:PORT is wanted: where it reaches OpenClaw")
    name = PROXY_FILES[proxy]
    return {name: made(lambda: _rendered(migration, str((folder / name).absolute()), given))}


def _rendered(migration: Migration, file: str, given: dict[str, Any]) -> str:
    settings, upstream = migration.loaded.settings, str(migration.upstream)
    if given["proxy"] == "envoy":
        from extauthz.proxies import envoy  # noqa: PLC0415 - help must be quick
        from extauthz.proxies.from_config import envoy_settings  # noqa: PLC0415

        return envoy.render(envoy_settings(settings, {migration.gateway: upstream}, listen=given["listen"]))
    from extauthz.cli.proxy_config_http import of_file  # noqa: PLC0415
    from extauthz.proxies import caddy, nginx, traefik  # noqa: PLC0415

    common = of_file(
        settings,
        {
            "gateway": migration.gateway,
            "upstream": upstream,
            "listen": given["listen"],
            "fronts": (),
            "extauthz": (),
            "authenticated_headers": (),
        },
    )
    if given["proxy"] == "traefik":
        return traefik.render(traefik.Settings(file=file, **common))
    if given["proxy"] == "caddy":
        return caddy.render(caddy.Settings(**common))
    return nginx.render(nginx.Settings(**common))


def _as_json(migration: Migration, folder: Path, names: list[str]) -> dict[str, Any]:
    def note(one: Note) -> dict[str, str]:
        return {"path": one.path, "text": one.text}

    def step(one: Step) -> dict[str, Any]:
        return {"title": one.title, "parts": [{"text": p.text, "commands": list(p.commands)} for p in one.parts]}

    return {
        "mode": migration.found.mode,
        "gateway": migration.gateway,
        "ruleset": migration.ours.gateway["ruleset"],
        "startsIn": migration.ours.gateway["mode"],
        "files": [str(folder / name) for name in names],
        "open": [note(one) for one in migration.ours.open],
        "notes": [note(one) for one in migration.told],
        "steps": [{"step": number, **step(one)} for number, one in enumerate(migration.steps, 1)],
        "back": step(migration.back),
    }


def _show(migration: Migration, folder: Path, texts: dict[str, str]) -> None:
    from extauthz.migrate.texts import GUIDE_FILE  # noqa: PLC0415 - help must be quick

    guide = texts[GUIDE_FILE]
    if sys.stdout.isatty():
        _show_guide(guide)
    else:
        click.echo(guide, nl=False)
    for name in texts:
        click.echo(f"{folder / name}: written", err=True)
    for one in migration.ours.open:
        click.echo(f"{click.style('open', fg='yellow')}  {one}", err=True)


def _show_guide(guide: str) -> None:
    """Print the steps for a reader. A command is one line, however long, so that it can be copied."""
    command = False
    for line in guide.splitlines():
        if line.startswith("```"):
            command = not command
        elif command:
            click.secho(f"  {line}", fg="cyan")
        elif line.startswith("#"):
            click.secho(line.lstrip("# "), bold=True)
        else:
            click.echo(line.replace("`", "").replace("**", ""))
