"""What `proxy-config traefik`, `caddy` and `nginx` have in common: their options, and the file's part of the settings.

Each of the three has a module of its own for what is only its own. Options are read here; proxies/ makes the texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from extauthz.cli.options import config_option
from extauthz.cli.proxy_config import load_noting, output_options
from extauthz.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from extauthz.config.schema import GatewayModel, Settings

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - refused, not listened on

# The proxies write these anew for every request.
_OF_THE_PROXY: Final = frozenset({"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})

_Decorated = Any  # what click's decorators take and give

_OPTIONS: Final[tuple[_Decorated, ...]] = (
    click.option("--gateway", metavar="ID", help="The gateway of the file. May be left out for an only one."),
    click.option("--upstream", required=True, metavar="HOST:PORT", help="Where the Gateway listens."),
    click.option(
        "--listen", default="127.0.0.1:8080", show_default=True, metavar="ADDR", help="Where the proxy listens."
    ),
    click.option(
        "--front",
        "fronts",
        multiple=True,
        metavar="RANGE",
        help="A proxy in front that may speak of the client in X-Forwarded-For; repeatable. Default: the gateway's "
        "trustedProxies if it has peer: source, else none.",
    ),
    click.option(
        "--authenticated-header",
        "authenticated_headers",
        multiple=True,
        metavar="NAME",
        help="A header that the step answers with beside the user; a client's copy is replaced. Repeatable.",
    ),
    click.option(
        "--sign-in", metavar="PATH", help="Below this path, such as /oauth2/, that service answers the browser itself."
    ),
    click.option(
        "--idle-timeout", type=float, default=300, show_default=True, metavar="SECONDS", help="For silent connections."
    ),
)

authenticate_option = click.option(
    "--authenticate",
    metavar="URL",
    help="A service that authenticates, asked before extauthz, such as http://127.0.0.1:4180/oauth2/auth. The gateway "
    "then has peer: caller.",
)
extauthz_option = click.option(
    "--extauthz",
    multiple=True,
    metavar="HOST:PORT",
    help="Where the HTTP doors of a process of extauthz are; repeatable. Default: the file's listen.http.",
)
timeout_option = click.option(
    "--timeout", type=float, default=2, show_default=True, metavar="SECONDS", help="For one decision."
)


def http_options(function: _Decorated) -> _Decorated:
    """Add the options that all three have."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return config_option(authenticate_option(extauthz_option(output_options(function))))


def read(config_file: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that all three share, from the file and the options; what was not given is left out.

    Raises:
        click.UsageError: The file and the options do not go together.
    """
    return of_file(load_noting(config_file).settings, given)


def of_file(settings: Settings, given: dict[str, Any]) -> dict[str, Any]:
    """Return the same as `read`, from a file that was read already."""
    from extauthz.proxies.from_config import (  # noqa: PLC0415 - help must be quick
        required_headers,
        stamped_headers,
        told_user_header,
    )

    gateway = _gateway(settings, given.pop("gateway"))
    model = settings.gateways[gateway]
    user = told_user_header(model, settings)
    if user is None:
        raise click.UsageError(f"gateways.{gateway}.auth.trustedProxy.userHeader: is missing, and it names the user")
    authenticates = given.get("authenticate") or given.get("authentication_file")
    if authenticates and model.peer != "caller":
        raise click.UsageError(
            f"gateways.{gateway}.peer: is `source`, and where this proxy authenticates it is this proxy's word that is "
            "taken: set `peer: caller`, with this proxy's address in trustedProxies"
        )
    if not authenticates and model.peer == "caller":
        raise click.UsageError(
            f"gateways.{gateway}.peer: is `caller`, which takes this proxy's word for the user, and nothing here "
            "authenticates anyone: a client could name any user. Say how, or set `peer: source`"
        )
    required = required_headers({gateway: model})
    if not authenticates:
        given["fronts"] = tuple(given["fronts"]) or _fronts(gateway, model)
        given["passed"] = tuple(sorted(required))
    given["extauthz"] = tuple(given["extauthz"]) or _doors(settings)
    given["authenticated_headers"] = tuple(given["authenticated_headers"])
    if authenticates:
        given["authenticated_headers"] += _proof(gateway, required - {user, *stamped_headers(settings)})
    return {"gateway": gateway, "user_header": user, "headers": stamped_headers(settings), **given}


def _gateway(settings: Settings, wanted: str | None) -> str:
    known = list(settings.gateways)
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted not in known:
        said = "which one?" if wanted is None else f"there is no {wanted!r}."
        raise click.BadParameter(f"{said} The file has {', '.join(known)}", param_hint="--gateway")
    return wanted


def _fronts(gateway: str, model: GatewayModel) -> tuple[str, ...]:
    from extauthz.config.peer_names import is_name  # noqa: PLC0415 - help must be quick
    from extauthz.proxies.forward_auth import front  # noqa: PLC0415

    for number, text in enumerate(model.trusted_proxies):
        if is_name(text):
            raise click.UsageError(
                f"gateways.{gateway}.trustedProxies[{number}]: is a name, and this proxy's own list has addresses "
                "alone; --front says which proxies are in front"
            )
        try:
            front(text)
        except ValueError as error:
            raise click.UsageError(
                f"gateways.{gateway}.trustedProxies[{number}]: {error}; --front says which proxies are in front"
            ) from error
    return tuple(model.trusted_proxies)


def _proof(gateway: str, required: frozenset[str]) -> tuple[str, ...]:
    """Return the required headers that a client could send, and that the step alone is to say."""
    from extauthz.proxies.values import plain_header_name  # noqa: PLC0415 - help must be quick

    found = sorted(required - _OF_THE_PROXY)
    for name in found:
        try:
            plain_header_name(name, name)
        except ValueError as error:
            raise click.UsageError(
                f"gateways.{gateway}.auth.trustedProxy.requiredHeaders: {name!r} proves nothing where this proxy "
                "authenticates: the client itself can send it. Take it out"
            ) from error
    return tuple(found)


def _doors(settings: Settings) -> tuple[str, ...]:
    from extauthz.config.values import Endpoint  # noqa: PLC0415 - help must be quick

    for text in settings.listen.http:
        endpoint = Endpoint.parse(text)
        if endpoint.path or endpoint.host in _EVERYWHERE or not endpoint.port:
            raise click.UsageError(
                f"listen.http: {printable(text)} does not say at which host and port the proxy reaches extauthz: give "
                "--extauthz"
            )
    return tuple(settings.listen.http)
