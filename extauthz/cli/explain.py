"""`extauthz explain`: why is a request allowed or denied? By the code that decides, step by step."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from extauthz.cli.options import EXIT_REFUSED, config_option, format_option, load_config

if TYPE_CHECKING:
    from extauthz.explaining import Explained


@click.command("explain")
@config_option
@click.option("--gateway", help="The gateway's id, as the proxy names it. Without it, the host selects.")
@click.option("--peer", help="The peer's address: the connection that the proxy received.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--host", default="", help="The request's host; without it, that of a Host header.")
@click.option("--path", default="/", show_default=True, help="The request's path and query.")
@click.option("--caller", help="Who asks: an address, or unix. Without it, one that `callers` admits.")
@click.option(
    "--requests",
    "requests_file",
    type=click.File("r", encoding="utf-8"),
    help="Explain each line of a JSONL file instead; - reads standard input.",
)
@format_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: click.Context,
    config_file: Path,
    gateway: str | None,
    peer: str | None,
    headers: tuple[str, ...],
    method: str,
    host: str,
    path: str,
    caller: str | None,
    requests_file: TextIO | None,
    output_format: str,
) -> None:
    """Explain the decision about a request, step by step.

    A denial comes with what to do about it.

    \b
    One request:
      extauthz explain --gateway openclaw --peer 10.0.0.7 -H 'x-forwarded-user: nick@example.com'
    \b
    A file with one request per line, {"id", "gateway", "peer", "headers", "method", "host", "path"}:
      extauthz explain --requests requests.jsonl --format json

    Exit status 0: every request is allowed. 1: one at least is denied. 2: bad usage or configuration.
    """  # noqa: D301 - click wants the character, not a backslash
    if requests_file is not None and (peer or headers or gateway or host or caller):
        raise click.UsageError(
            "--requests has the requests: leave out --gateway, --peer, --header, --host and --caller"
        )
    loaded = load_config(config_file)
    from extauthz.config.compile import compile_policy  # noqa: PLC0415 - help must be quick
    from extauthz.explaining import explain_request  # noqa: PLC0415

    policy = compile_policy(loaded)
    lines: Iterable[dict[str, Any]]
    if requests_file is not None:
        lines = _read(requests_file)
    else:
        lines = [
            {
                "gateway": gateway,
                "peer": peer,
                "headers": _parse_headers(headers),
                "method": method,
                "host": host,
                "path": path,
                "caller": caller,
            }
        ]
    denied = False
    for number, line in enumerate(lines, 1):
        try:
            explained = explain_request(policy, line)
        except ValueError as error:
            raise click.UsageError(f"request {number}: {error}") from error
        denied |= not explained["allowed"]
        if output_format == "json":
            _echo(json.dumps(explained, ensure_ascii=False))
        else:
            _show(explained, first=number == 1)
    ctx.exit(EXIT_REFUSED if denied else 0)


def _parse_headers(texts: Iterable[str]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            # Not the text itself: it may be a token, and usage errors end up in tickets.
            raise click.BadParameter("one has no name before a colon: write 'name: value'", param_hint="--header")
        # What a server takes off (RFC 9112, section 5.1), and no more: the rules decide about the rest.
        headers.setdefault(name.strip(" \t"), []).append(value.strip(" \t"))
    return headers


def _read(file: TextIO) -> Iterator[dict[str, Any]]:
    """Read one request per line, with a progress bar where someone looks on and the output is elsewhere."""
    lines: Iterable[str] = _decoded(file)
    if sys.stderr.isatty() and not sys.stdout.isatty() and file is not sys.stdin:
        texts = list(lines)
        with click.progressbar(texts, label="explaining", file=sys.stderr) as bar:
            yield from _parse(bar)
        return
    yield from _parse(lines)


def _parse(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except RecursionError as error:
            raise click.UsageError(f"line {number} is nested too deeply: write one request per line") from error
        except ValueError as error:
            raise click.UsageError(f"line {number} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise click.UsageError(f"line {number} is no JSON object: write one request per line")
        yield found


def _decoded(lines: Iterable[str]) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the requests are no UTF-8: {error.reason}") from error


def _echo(text: str) -> None:
    """Write text that may hold what no output can carry, a lone surrogate, as JSON and Python would write it."""
    click.echo(text.encode(errors="backslashreplace").decode())


def _show(explained: "Explained", *, first: bool) -> None:
    if not first:
        click.echo()
    if explained["id"] is not None:
        name = str(explained["id"])
        click.echo(click.style(f"request {name if name.isprintable() else ascii(name)}", bold=True))
    width = max(len(step["step"]) for step in explained["steps"])
    for step in explained["steps"]:
        mark = click.style("passed", fg="green") if step["passed"] else click.style("failed", fg="red")
        click.echo(f"  {mark}  {step['step']:<{width}}  {step['detail']}")
    where = f"gateway {explained['gateway']}" if explained["gateway"] else "no gateway"
    if explained["allowed"]:
        click.echo(f"{click.style('allowed', fg='green', bold=True)} as {explained['user']} by {where}")
        return
    denied = click.style("denied", fg="red", bold=True)
    click.echo(f"{denied} by {where} with {explained['status']}: {click.style(explained['reason'] or '', bold=True)}")
    click.echo(f"  {explained['hint']}")
