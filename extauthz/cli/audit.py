"""`extauthz audit`: what of this configuration could let the wrong people in? Reads options and prints."""

import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from extauthz.cli.options import (
    EXIT_REFUSED,
    UnusableConfigError,
    config_option,
    echo_json,
    format_option,
    load_config,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extauthz.audit import Finding

_COLOURS: Final = {"critical": "red", "warn": "yellow", "info": "cyan"}
_NARROWEST_COLUMNS: Final = 40


@click.command("audit")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@format_option
@click.option(
    "--fail-on",
    type=click.Choice(["critical", "warn", "never"]),
    default="critical",
    show_default=True,
    help="Exit with 1 if there is a finding as bad as this, or worse, that the file does not have under `accepted`.",
)
@click.pass_context
def command(ctx: click.Context, file: Path | None, config_file: Path, output_format: str, fail_on: str) -> None:
    """Show what of a configuration could let the wrong people in, and what to do.

    FILE is an extauthz.yaml, or an openclaw.json, which has a `gateway` key. Without it, --config is audited.

    Each finding has an id, a severity, the gateway, what was seen and what to do. That authentication is delegated
    to a proxy is a critical finding always: somebody should have seen it. Who has, says so in extauthz.yaml:

    \b
      accepted:
        - id: gateway.trusted_proxy_auth
          gateway: openclaw
          by: nick
          because: Pomerium signs people in; only Envoy reaches the port

    The finding is shown as before, with who and why beside it, and no longer counts for the exit status.

    Exit status 0: good. 1: findings, by --fail-on. 2: bad usage, or a file that cannot be read.
    """  # noqa: D301 - click wants the character, not a backslash
    if file is not None and ctx.get_parameter_source("config_file") is ParameterSource.COMMANDLINE:
        raise click.UsageError("FILE and --config both name the file: leave one of them out")
    audited = file or config_file
    findings = _audit(audited)
    if output_format == "json":
        echo_json({"findings": [finding.as_json() for finding in findings]})
    else:
        _show(audited, findings)
    ctx.exit(EXIT_REFUSED if _fails(findings, fail_on) else 0)


def _audit(file: Path) -> "list[Finding]":
    from extauthz.audit import audit, audit_openclaw  # noqa: PLC0415 - help must be quick
    from extauthz.config.faults import ConfigError  # noqa: PLC0415
    from extauthz.config.load import load  # noqa: PLC0415
    from extauthz.openclaw import OpenClawError, read  # noqa: PLC0415

    if not _beginning(file).startswith(("{", "//", "/*")):
        return audit(load_config(file, pasted=True))
    # JSON or JSON5, and ours may be JSON, too.
    try:
        found = read(file)
    except OpenClawError as fault:
        try:
            return audit(load(file, pasted=True))
        except ConfigError as error:
            ours = "gateways" in file.read_text(encoding="utf-8", errors="replace") if file.is_file() else False
            raise UnusableConfigError(str(error if ours else fault)) from fault
    return audit(load_config(file, pasted=True)) if "gateways" in found.data else audit_openclaw(found)


def _beginning(file: Path) -> str:
    """Return how the file begins, white space left out; "" if it cannot be read, which is told by who reads it all."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            return opened.read(4096).lstrip()
    except (OSError, ValueError):
        return ""


def _fails(findings: "Sequence[Finding]", fail_on: str) -> bool:
    from extauthz.audit import Severity  # noqa: PLC0415 - help must be quick

    if fail_on == "never":
        return False
    least = Severity(fail_on).rank
    return any(finding.severity.rank >= least and finding.accepted is None for finding in findings)


def _show(file: Path, findings: "Sequence[Finding]") -> None:
    for finding in findings:
        severity = click.style(f"{finding.severity:<8}", fg=_COLOURS[finding.severity], bold=True)
        whose = f"gateway {finding.gateway}" if finding.gateway is not None else "the service"
        click.echo(f"{severity}  {click.style(finding.id, bold=True)}  {whose}")
        _tell("", finding.title)
        _tell("seen: ", finding.seen)
        _tell("do: ", finding.do)
        if finding.accepted is not None:
            _tell("accepted: ", f"by {finding.accepted.by}, because: {finding.accepted.because}", fg="green")
        click.echo()
    click.echo(f"{file}: {_summary(findings)}")


def _tell(label: str, text: str, fg: str | None = None) -> None:
    """Write one line of a finding, broken to the terminal's width where there is one."""
    text = label + (text if text.isprintable() else ascii(text))
    if sys.stdout.isatty():
        width = max(_NARROWEST_COLUMNS, shutil.get_terminal_size().columns)
        text = textwrap.fill(
            text,
            width,
            initial_indent=" " * 10,
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )
    else:
        text = " " * 10 + text
    click.echo(click.style(text, fg=fg) if fg else text)


def _summary(findings: "Sequence[Finding]") -> str:
    parts = []
    for severity, colour in _COLOURS.items():
        of_it = [finding for finding in findings if finding.severity == severity]
        if of_it:
            accepted = sum(finding.accepted is not None for finding in of_it)
            told = click.style(f"{len(of_it)} {severity}", fg=colour)
            parts.append(f"{told} ({accepted} accepted)" if accepted else told)
    return ", ".join(parts) if parts else click.style("no findings", fg="green")
