"""`extauthz probe`: tests a live deployment from the client's side. Reads options; probe/ asks and judges."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extauthz.cli.options import EXIT_REFUSED, UnusableError, format_option, load_config

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from extauthz.probe.asking import Names, Setup
    from extauthz.probe.checks import Result
    from extauthz.probe.forgeries import Headers
    from extauthz.probe.run import Probe
    from extauthz.probe.target import Target


@click.command("probe")
@click.argument("url")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Signs in; may be repeated.")
@click.option(
    "--header-file",
    type=click.File("r", encoding="utf-8"),
    help="Signs in by headers of a file, one a line: no other user of this host sees them. - is standard input.",
)
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Takes the headers' names from this file."
)
@click.option("--gateway", metavar="ID", help="The gateway of that file. May be left out for an only one.")
@click.option(
    "--user-header", "user_headers", multiple=True, metavar="NAME", help="The userHeader. Default: x-forwarded-user."
)
@click.option(
    "--stamped-header",
    "stamped_headers",
    multiple=True,
    metavar="NAME",
    help="What extauthz stamps, the user first. Default: x-authz-user, -gateway, -decision, -stamp.",
)
@click.option(
    "--allowed-user", metavar="NAME", help="A user who would be let in, to be forged as well: a list lets in no others."
)
@click.option("--websocket-path", metavar="PATH", help="Where the WebSocket is. Default: the URL's path.")
@click.option("--gateway-address", metavar="HOST:PORT", help="The Gateway's own port, which nobody should reach.")
@click.option(
    "--http-port", type=click.IntRange(1, 65_535), help="The host's port for plain HTTP, to be asked as well."
)
@click.option(
    "--ca", type=click.Path(path_type=Path), help="Authorities of the certificate, PEM. Default: the system's."
)
@click.option(
    "--accept-any-certificate-insecurely", is_flag=True, help="Send all, the sign-in too, to whoever answers."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 120),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="For a request.",
)
@click.option(
    "--proxy",
    type=click.Choice(["envoy", "traefik", "caddy", "nginx"]),
    help="Advise on this proxy's settings alone.",
)
@format_option
@click.pass_context
def command(ctx: click.Context, /, url: str, proxy: str | None, output_format: str, **given: Any) -> None:
    """Test a live deployment from the client's side.

    Does the Gateway behind URL see any identity, stamp or forwarded header that a client forged? Is who has no
    identity refused, over WebSocket too? TLS? The Gateway's own port?

    \b
    Without a sign-in, what a stranger can do:
      extauthz probe https://gateway.example.com/
    \b
    With the cookie of a session, everything:
      extauthz probe https://gateway.example.com/ --header-file session.txt --config extauthz.yaml

    What arrives is seen where the Gateway tells: for the time of the probe, put `extauthz gateway
    --report-arrivals-to-anyone` in its place. Of any other Gateway only the status counts, and the report says what
    that cannot tell. It sends at most 250 requests, all GET, to URL and the addresses given and nowhere else; it
    follows no redirect, and never prints a header's value.

    Exit status 0: nothing found. 1: a hole. 2: bad usage, or the address does not answer.
    """  # noqa: D301 - click wants the character, not a backslash
    from extauthz.probe.run import Probe, UnreachableError  # noqa: PLC0415 - help must be quick

    target, setup = _setup(url, given)
    if not setup.sign_in:
        click.echo("no sign-in is given: what needs one is not tested (--header, --header-file)", err=True)
    probe = Probe(setup)
    try:
        with _progress() as begins:
            results = list(probe.run(begins))
    except UnreachableError as error:
        raise UnusableError(f"{target}: {error}") from error
    _print(output_format, target, probe, results, proxy)
    ctx.exit(EXIT_REFUSED if any(one.outcome == "hole" for one in results) else 0)


def _setup(url: str, given: dict[str, Any]) -> tuple[Target, Setup]:
    from extauthz.probe.asking import Setup  # noqa: PLC0415 - help must be quick
    from extauthz.probe.limits import Limits  # noqa: PLC0415
    from extauthz.probe.target import parse_gateway, parse_path, parse_url  # noqa: PLC0415

    target = _parsed(parse_url, url, "URL")
    address, path = given["gateway_address"], given["websocket_path"]
    setup = Setup(
        target=target,
        names=_names(given),
        sign_in=_sign_in(given),
        allowed_user=_user(given["allowed_user"]),
        websocket_path=None if path is None else _parsed(parse_path, path, "--websocket-path"),
        gateway=None
        if address is None
        else _parsed(lambda text: parse_gateway(text, target), address, "--gateway-address"),
        http_port=given["http_port"],
        context=_context(given) if target.tls else None,
        verified=not given["accept_any_certificate_insecurely"],
        limits=Limits(request_seconds=given["timeout"]),
    )
    return target, setup


def _parsed(parse: Callable[[str], Any], text: str, what: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=what) from error


def _names(given: dict[str, Any]) -> Names:
    from extauthz.probe.asking import DEFAULT_USER_HEADER, Names  # noqa: PLC0415 - help must be quick

    named = {}
    for key, option in (("user", "user_headers"), ("stamped", "stamped_headers")):
        if given[option]:
            named[key] = tuple(_name(text, f"--{option.removesuffix('s').replace('_', '-')}") for text in given[option])
    if given["config_file"] is None:
        if given["gateway"] is not None:
            raise click.UsageError("--gateway names a gateway of a file: give --config as well")
        return Names(**named)
    from extauthz.proxies.from_config import GapError, choose, stamped_headers, user_header  # noqa: PLC0415

    settings = load_config(given["config_file"]).settings
    try:
        chosen = choose(settings, [given["gateway"]] if given["gateway"] is not None else ())
    except GapError as error:
        raise click.BadParameter(str(error), param_hint="--gateway") from error
    if len(chosen) > 1:
        raise click.UsageError(f"--gateway: which one of {', '.join(chosen)}?")
    header = user_header(next(iter(chosen.values())))
    stamped = stamped_headers(settings)
    found = {
        "user": (DEFAULT_USER_HEADER,) if header is None else (header,),
        "stamped": stamped if settings.stamp.enabled else stamped[:-1],
        "known": (),  # the file says what the Gateway reads
    }
    return Names(**{**found, **named})


def _name(text: str, option: str) -> str:
    from extauthz.proxies.values import header_name  # noqa: PLC0415 - help must be quick

    return str(_parsed(lambda name: header_name(name, "it"), text, option))


def _user(text: str | None) -> str | None:
    if text is not None and not (text.isprintable() and text.isascii() and text.strip()):
        raise click.BadParameter("wanted is a user as the proxy would name them, in ASCII", param_hint="--allowed-user")
    return text


def _sign_in(given: dict[str, Any]) -> Headers:
    from extauthz.probe.sign_in import parse_sign_in  # noqa: PLC0415 - help must be quick

    found = list(_parsed(parse_sign_in, "\n".join(given["headers"]), "--header"))
    if given["header_file"] is not None:
        try:
            text = given["header_file"].read()
        except UnicodeDecodeError as error:
            raise click.BadParameter("it is no UTF-8", param_hint="--header-file") from error
        from_file = _parsed(parse_sign_in, text, "--header-file")
        if not from_file:
            raise click.BadParameter("there is no header in it", param_hint="--header-file")
        found += from_file
    return tuple(found)


def _context(given: dict[str, Any]) -> ssl.SSLContext:
    from extauthz.probe.tls import client_context  # noqa: PLC0415 - help must be quick

    try:
        return client_context(given["ca"], verify=not given["accept_any_certificate_insecurely"])
    except OSError as error:
        raise click.BadParameter(f"{given['ca']} has no certificates that can be read", param_hint="--ca") from error


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show at a terminal which check is being made; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - help must be quick
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

    from extauthz.probe.checks import CHECKS  # noqa: PLC0415

    columns = (SpinnerColumn(), MofNCompleteColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("the first request", total=len(CHECKS))
        begun = itertools.count()
        yield lambda title: bar.update(task, completed=next(begun), description=title)


def _print(output_format: str, target: Target, probe: Probe, results: list[Result], proxy: str | None) -> None:
    from extauthz.cli.probe_report import as_json, print_text  # noqa: PLC0415 - help must be quick

    if output_format == "json":
        about = {"url": str(target), "requests": probe.requests, "gateway_reports": probe.reports}
        click.echo(json.dumps({**about, **as_json(results, proxy)}))
    else:
        print_text(results, proxy)
        told = (
            "what arrived" if probe.reports else "nothing of what arrived, so that only the status of an answer counted"
        )
        click.echo(f"{target}: {probe.requests} requests. The Gateway told {told}.")
