"""`extauthz proxy-config kubernetes`: what runs extauthz in a cluster. Only options live here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extauthz.cli.options import UnusableConfigError, UnusableError, config_option
from extauthz.cli.proxy_config import load_noting, made, note, output_options, write

if TYPE_CHECKING:
    from extauthz.config.schema import Settings as FileSettings
    from extauthz.proxies.in_pod import Fitted


@click.command("kubernetes")
@config_option
@click.option("--image", required=True, metavar="NAME:TAG", help="The image, built from config/Containerfile.")
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    required=True,
    metavar="NAMESPACE/LABEL=VALUE",
    help="The pods that may ask, such as envoy/app=envoy; repeatable.",
)
@click.option(
    "--caller",
    "callers",
    multiple=True,
    metavar="RANGE",
    help="From which addresses these ask, such as the pods' range; repeatable. Default: callers.addresses, without "
    "those of one host.",
)
@click.option(
    "--monitoring",
    multiple=True,
    metavar="NAMESPACE/LABEL=VALUE",
    help="The pods that may read the metrics; repeatable. Default: none.",
)
@click.option("--name", default="extauthz", show_default=True, help="What everything is called.")
@click.option("--namespace", default="extauthz", show_default=True, help="The namespace; it must be there.")
@click.option("--replicas", type=int, default=2, show_default=True, metavar="N", help="The fewest pods.")
@click.option("--max-replicas", type=int, default=6, show_default=True, metavar="N", help="The most pods.")
@click.option("--ipv6", is_flag=True, help="Listen on the pods' IPv6 addresses, in a cluster that has only these.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file for each kind there, not one stream to stdout.",
)
@output_options
def command(config_file: Path, directory: Path | None, output: Path | None, force: bool, **given: Any) -> None:
    """Write the manifests with which extauthz runs in a Kubernetes cluster: hardened, with reasons beside each line.

    The file goes into a ConfigMap, with what is different in a pod written anew: addresses, paths, the place of keys.
    No key and no token is read or written: the Secrets are empty, and say how they are filled.

    \b
      extauthz proxy-config kubernetes --image registry.example.com/extauthz:1.0 --proxy envoy/app=envoy \\
        --caller 10.244.0.0/16 | kubectl apply --filename=-
    """  # noqa: D301 - click wants the character, not a backslash
    if directory is not None and output is not None:
        raise click.UsageError("--directory and --output: one of them")
    load_noting(config_file)
    fitted = _fitted(config_file, given["callers"], ipv6=given["ipv6"])
    from extauthz.proxies.kubernetes import Settings, join, render  # noqa: PLC0415 - help must be quick

    settings = fitted.settings
    manifests: dict[str, str] = {}

    def make() -> str:
        manifests.update(
            render(
                Settings(
                    config=fitted.text,
                    image=given["image"],
                    proxies=given["proxies"],
                    monitoring=given["monitoring"],
                    name=given["name"],
                    namespace=given["namespace"],
                    replicas=given["replicas"],
                    most_replicas=given["max_replicas"],
                    drain_seconds=settings.server.drain_seconds,
                    stamped=settings.stamp.enabled,
                    algorithm=settings.stamp.algorithm,
                    tls=settings.tls is not None,
                    client_ca=settings.tls is not None and settings.tls.client_ca is not None,
                    name_servers=_name_servers(settings),
                )
            )
        )
        return join(manifests.values())

    stream = made(make)
    for text in fitted.notes:
        note(text)
    if directory is None:
        write(stream, output, force=force)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableError(f"{directory} cannot be made: {error.strerror or error}") from error
    for name, text in manifests.items():
        write(text, directory / name, force=force)


def _fitted(config_file: Path, callers: tuple[str, ...], *, ipv6: bool) -> Fitted:
    from extauthz.config.faults import ConfigError  # noqa: PLC0415 - help must be quick
    from extauthz.proxies.in_pod import fit  # noqa: PLC0415

    try:
        return fit(config_file.read_text(encoding="utf-8"), callers=callers, ipv6=ipv6)
    except ConfigError as error:
        raise UnusableConfigError(str(error)) from error
    except ValueError as error:
        raise click.UsageError(f"{config_file}: {error}") from error


def _name_servers(settings: FileSettings) -> tuple[tuple[str, int], ...] | None:
    """Return who a pod asks for names; None where the file has none."""
    from extauthz.config.peer_names import names_in, parse_server  # noqa: PLC0415 - help must be quick

    if not any(names_in(gateway.trusted_proxies) for gateway in settings.gateways.values()):
        return None
    return tuple(map(parse_server, settings.dns.servers))
