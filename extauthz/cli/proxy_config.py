"""`extauthz proxy-config`: writes what stands before and behind extauthz. Reads options; proxies/ makes the texts.

Another proxy's command is a module of its own, with its click command as `command`, and one line in `_MODULES`. The
options that all of them share, and how what is written gets out, are here for it to import.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from extauthz.cli.options import UnusableError, config_option, load_config
from extauthz.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extauthz.config.load import Loaded
    from extauthz.proxies.envoy import ClientTls, ServerTls

# Command: the module that has it, for those that are not in this file.
_MODULES: Final[dict[str, str]] = {
    "traefik": "extauthz.cli.proxy_config_traefik",
    "caddy": "extauthz.cli.proxy_config_caddy",
    "nginx": "extauthz.cli.proxy_config_nginx",
    "kubernetes": "extauthz.cli.proxy_config_kubernetes",
}

_Decorated = Any  # what click's decorators take and give


class _Kinds(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_MODULES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return super().get_command(ctx, cmd_name)
        found: click.Command = importlib.import_module(_MODULES[cmd_name]).command
        return found


@click.group("proxy-config", cls=_Kinds)
def command() -> None:
    """Write a proxy's configuration, or OpenClaw's.

    From extauthz's own file: of the proxy before a Gateway, or of OpenClaw behind it.
    """


gateways_option = click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="ID",
    help="Only this gateway; repeatable. Default: all of the file.",
)
upstreams_option = click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="ID=HOST:PORT",
    help="Where a Gateway listens; one for each gateway that is written.",
)


def output_options(function: _Decorated) -> _Decorated:
    """Add --output and --force; `write` wants their values."""
    output = click.option(
        "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, not to stdout."
    )
    force = click.option("--force", is_flag=True, help="Overwrite that file if it is there.")
    return output(force(function))


def read_upstreams(texts: Sequence[str]) -> dict[str, str]:
    """Return what the --upstream options say: host:port by gateway id.

    Raises:
        click.UsageError: One is not of that form, or a gateway has two.
    """
    upstreams: dict[str, str] = {}
    for text in texts:
        gateway, equals, where = text.partition("=")
        if not equals or not gateway or not where:
            raise click.BadParameter(f"{text!r}: write ID=HOST:PORT", param_hint="--upstream")
        if gateway in upstreams:
            raise click.BadParameter(f"gateway {gateway!r} has two: a Gateway is in one place", param_hint="--upstream")
        upstreams[gateway] = where
    return upstreams


def load_noting(config_file: Path) -> Loaded:
    """Load the configuration file, telling on standard error which gateways of it are incomplete."""
    loaded = load_config(config_file)
    for fault in loaded.incomplete:
        note(str(fault))
    return loaded


def note(text: str) -> None:
    """Tell the operator something beside what is written, on standard error."""
    click.echo(f"{click.style('note', fg='yellow')}  {text}", err=True)


def made(make: Callable[[], str]) -> str:
    """Return what is made; a setting that is refused ends the command with status 2."""
    try:
        return make()
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from error


def write(text: str, output: Path | None, *, force: bool) -> None:
    """Write a configuration to standard output or to a file, which is not overwritten unless `force` says so.

    Raises:
        UnusableError: The file is there, or cannot be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UnusableError(
            f"{output} is there already: choose another --output, or overwrite it with --force"
        ) from error
    except OSError as error:
        raise UnusableError(f"{output} cannot be written: {error.strerror or error}") from error
    click.echo(f"{output}: written", err=True)


@command.command("envoy")
@config_option
@gateways_option
@upstreams_option
@click.option(
    "--default", metavar="ID", help="The gateway that also takes every host that none has. Else they get 404."
)
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="ADDR", help="Where Envoy listens.")
@click.option("--admin", metavar="ADDR", help="Where its admin interface does, on loopback. Default: there is none.")
@click.option(
    "--extauthz",
    multiple=True,
    metavar="ADDR",
    help="Where a process of extauthz answers, host:port or unix:/path; repeatable. Default: the file's listen.grpc, "
    "with --http its listen.http.",
)
@click.option("--http", "over_http", is_flag=True, help="Ask over HTTP, not gRPC; docs/envoy.md says what that loses.")
@click.option(
    "--timeout", type=float, default=0.5, show_default=True, metavar="SECONDS", help="For one decision, with retries."
)
@click.option(
    "--trusted-hops", type=int, default=1, show_default=True, help="Proxies in front that may speak of the client."
)
@click.option(
    "--proxy-protocol-from",
    multiple=True,
    metavar="RANGE",
    help="A balancer that begins its connections with a PROXY protocol line; repeatable.",
)
@click.option(
    "--escaped-slashes",
    type=click.Choice(["reject", "redirect", "keep"]),
    default="reject",
    show_default=True,
    help="What becomes of a path with %2F or %5C.",
)
@click.option(
    "--underscores",
    type=click.Choice(["reject", "allow"]),
    default="reject",
    show_default=True,
    help="What becomes of a request with _ in a header's name.",
)
@click.option(
    "--access-log",
    default="stdout",
    show_default=True,
    metavar="stdout|none|FILE",
    help="Where each request is logged as JSON, with what extauthz said of it, for `extauthz explain --access-log`.",
)
@click.option("--tls-certificate", metavar="FILE", help="PEM, for clients: Envoy's certificate chain.")
@click.option("--tls-key", metavar="FILE", help="PEM: its private key.")
@click.option("--tls-client-ca", metavar="FILE", help="PEM: clients must show a certificate of this CA.")
@click.option("--extauthz-ca", metavar="FILE", help="PEM: the CA of extauthz's certificate, as Envoy's host has it.")
@click.option("--extauthz-name", metavar="NAME", help="The DNS name in that certificate.")
@click.option("--extauthz-certificate", metavar="FILE", help="PEM: what Envoy shows extauthz; see callers.principals.")
@click.option("--extauthz-key", metavar="FILE", help="PEM: its private key.")
@output_options
def envoy(config_file: Path, output: Path | None, force: bool, **given: Any) -> None:
    """Write Envoy's configuration for the gateways of the file: complete, hardened, with its reasons beside each line.

    Each gateway is reached by its `hosts`, and named to extauthz by the route, never by the client.

    \b
      extauthz proxy-config envoy --upstream openclaw=127.0.0.1:18789 --output envoy.yaml
      envoy --mode validate -c envoy.yaml
    """  # noqa: D301 - click wants the character, not a backslash
    loaded = load_noting(config_file)
    from extauthz.proxies.envoy import render  # noqa: PLC0415 - help must be quick
    from extauthz.proxies.from_config import envoy_settings  # noqa: PLC0415

    def make() -> str:
        return render(
            envoy_settings(
                loaded.settings,
                read_upstreams(given["upstreams"]),
                gateways=given["gateways"],
                default=given["default"],
                extauthz=given["extauthz"],
                ask_over="http" if given["over_http"] else "grpc",
                listen=given["listen"],
                admin=given["admin"],
                timeout=given["timeout"],
                trusted_hops=given["trusted_hops"],
                proxy_protocol_from=given["proxy_protocol_from"],
                escaped_slashes=given["escaped_slashes"],
                underscores=given["underscores"],
                access_log={"stdout": True, "none": False}.get(given["access_log"], given["access_log"]),
                tls=_server_tls(given),
                extauthz_tls=_extauthz_tls(loaded, given),
            )
        )

    text = made(make)
    _note_principals(loaded, given)
    write(text, output, force=force)


def _note_principals(loaded: Loaded, given: dict[str, Any]) -> None:
    """Say where a gateway trusts principals, and an Envoy of this configuration tells of none."""
    from extauthz.proxies.from_config import choose  # noqa: PLC0415 - help must be quick

    if given["over_http"]:
        why = "over HTTP extauthz is told of no certificate: leave out --http"
    elif given["tls_client_ca"] is None:
        why = "this Envoy asks clients for no certificate: --tls-client-ca says whose it verifies"
    else:
        return
    for name, gateway in choose(loaded.settings, given["gateways"]).items():
        if gateway.trusted_principals:
            note(f"gateways.{name}.trustedPrincipals: {why}")


def _server_tls(given: dict[str, Any]) -> ServerTls | None:
    from extauthz.proxies.envoy import ServerTls  # noqa: PLC0415 - help must be quick

    certificate, key, ca = given["tls_certificate"], given["tls_key"], given["tls_client_ca"]
    if certificate is None and key is None and ca is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--tls-certificate and --tls-key are wanted together")
    return ServerTls(certificate=certificate, private_key=key, client_ca=ca)


def _extauthz_tls(loaded: Loaded, given: dict[str, Any]) -> ClientTls | None:
    """What the options say; where they leave something open that the file's `tls` wants, a placeholder, and a note."""
    from extauthz.proxies.envoy import ClientTls  # noqa: PLC0415 - help must be quick
    from extauthz.proxies.from_config import extauthz_tls  # noqa: PLC0415

    options = ("extauthz_ca", "extauthz_name", "extauthz_certificate", "extauthz_key")
    said = {option: given[option] for option in options if given[option] is not None}
    if given["over_http"] and said:
        raise click.UsageError(
            f"--{next(iter(said)).replace('_', '-')}: extauthz has no TLS over HTTP; leave out --http"
        )
    wanted = None if given["over_http"] else extauthz_tls(loaded.settings)
    if wanted is None:
        if said:
            raise click.UsageError(
                f"--{next(iter(said)).replace('_', '-')}: extauthz has no TLS; set `tls` in the file"
            )
        return None
    if ("extauthz_certificate" in said) != ("extauthz_key" in said):
        raise click.UsageError("--extauthz-certificate and --extauthz-key are wanted together")
    open_ = {
        "extauthz_ca": wanted.ca,
        "extauthz_name": wanted.server_name,
        "extauthz_certificate": wanted.certificate,
        "extauthz_key": wanted.private_key,
    }
    for option, placeholder in open_.items():
        if option not in said and placeholder is not None:
            note(f"tls: {placeholder} stands for what Envoy is to use; --{option.replace('_', '-')} says it")
    chosen = {**open_, **said}
    return ClientTls(
        ca=str(chosen["extauthz_ca"]),
        server_name=str(chosen["extauthz_name"]),
        certificate=chosen["extauthz_certificate"],
        private_key=chosen["extauthz_key"],
    )


@command.command("openclaw")
@config_option
@click.option(
    "--gateway", metavar="ID", help="The gateway of the file that is this OpenClaw. May be left out for an only one."
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    default=["127.0.0.1"],
    show_default=True,
    metavar="ADDR",
    help="The address from which the proxy (Envoy, not the one in front of it) calls OpenClaw; repeatable.",
)
@click.option(
    "--verified",
    is_flag=True,
    help="A sidecar that verifies the stamp calls OpenClaw: take the user from headers.user, which it writes.",
)
@output_options
def openclaw(  # noqa: PLR0913, PLR0917 - one parameter per option
    config_file: Path, gateway: str | None, proxies: tuple[str, ...], verified: bool, output: Path | None, force: bool
) -> None:
    """Print the `gateway` block of openclaw.json (OpenClaw 2026.9) with which it believes what comes through extauthz.

    OpenClaw looks whether the stamp is there; it does not verify it. Whoever reaches its port from ADDR can be anyone:
    docs/openclaw.md says what to do about that.
    """
    loaded = load_noting(config_file)
    from extauthz.proxies.from_config import openclaw_gateway  # noqa: PLC0415 - help must be quick

    ids = list(loaded.settings.gateways)
    if gateway is None and len(ids) > 1:
        raise click.UsageError(f"--gateway: which one? The file has {', '.join(ids)}")

    def make() -> str:
        block = openclaw_gateway(loaded.settings, gateway or ids[0], proxies, verified=verified)
        if "controlUi" not in block:
            note(f"gateways.{gateway or ids[0]}.controlUi.allowedOrigins: is missing; OpenClaw refuses its Control UI")
        if block["bind"] != "loopback":
            note("OpenClaw will listen on every address of its host: let a firewall admit only the proxy")
        return json.dumps({"gateway": block}, indent=2) + "\n"

    write(made(make), output, force=force)
