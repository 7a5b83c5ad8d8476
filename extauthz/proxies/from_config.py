"""From a checked configuration file to what is written for the proxies before Gateways, and for OpenClaw behind.

Only the mapping lives here: which key of the file becomes which setting, and what the file alone cannot say. Faults
name the place in the file, or what is missing, and the cure. The texts are written by the modules beside this one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from extauthz.config.assertions import filled_model
from extauthz.config.schema import GatewayModel, Settings
from extauthz.config.values import Endpoint
from extauthz.core.address import parse_address, parse_entry
from extauthz.core.text import fold, trim
from extauthz.proxies import envoy, values

PLACEHOLDER_TLS: Final = envoy.ClientTls(
    ca="/etc/envoy/tls/extauthz-ca.pem",
    server_name="extauthz.internal",
    certificate="/etc/envoy/tls/envoy.pem",
    private_key="/etc/envoy/tls/envoy.key",
)
"""Stands for what the file cannot say where extauthz has TLS: the files and the name as Envoy's host knows them."""

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - refused, not listened on


class GapError(ValueError):
    """The file does not say what is needed, or is asked for what it does not have; the text has place and cure."""


def user_header(gateway: GatewayModel) -> str | None:
    """Return the name of the header in which this gateway is told the user, as it is on the wire; None without one."""
    trusted_proxy = gateway.auth.trusted_proxy if gateway.auth is not None else None
    return fold(trim((trusted_proxy.user_header if trusted_proxy is not None else None) or "")) or None


def told_user_header(gateway: GatewayModel, settings: Settings) -> str | None:
    """Return the name of the header in which the Gateway is told the user: its own, or ours if an assertion names it.

    None where nothing names the user.
    """
    trusted_proxy = gateway.auth.trusted_proxy if gateway.auth is not None else None
    asserted = trusted_proxy is not None and trusted_proxy.assertion is not None
    return user_header(gateway) or (fold(trim(settings.headers.user)) if asserted else None)


def stamped_headers(settings: Settings) -> tuple[str, ...]:
    """Return the names that extauthz sets on every request that it allows, as they are on the wire."""
    names = settings.headers
    return tuple(fold(trim(name)) for name in (names.user, names.gateway, names.decision, names.stamp))


def choose(settings: Settings, ids: Iterable[str] = ()) -> dict[str, GatewayModel]:
    """Return the gateways with these ids, in the file's order; without any, all of them.

    Raises:
        GapError: An id is not in the file.
    """
    wanted = set(ids)
    for name in sorted(wanted - set(settings.gateways)):
        raise GapError(f"there is no gateway {name!r} in the file; there is {', '.join(settings.gateways)}")
    return {name: gateway for name, gateway in settings.gateways.items() if not wanted or name in wanted}


def envoy_routes(
    gateways: Mapping[str, GatewayModel], upstreams: Mapping[str, str], *, default: str | None = None
) -> tuple[envoy.Route, ...]:
    """Return Envoy's routes to these gateways: each by its `hosts`, and named, so that no client's word chooses it.

    Args:
        gateways: The gateways, by id.
        upstreams: Where each of them is, as host:port.
        default: The gateway that also takes every host which none of them has. A single one without `hosts` does so
            by itself; every other host is answered with 404.

    Raises:
        GapError: A gateway has no upstream, or no hosts by which it could be told from the others; or an upstream or
            the default is of a gateway that is not among them.
    """
    for name in [*upstreams, *([default] if default is not None else [])]:
        if name not in gateways:
            raise GapError(f"{name!r} is none of the gateways that are written, which are {', '.join(gateways)}")
    routes = []
    for name, gateway in gateways.items():
        if name not in upstreams:
            raise GapError(f"gateway {name!r} has no upstream: say where it listens, as {name}=HOST:PORT")
        others = name == default or (len(gateways) == 1 and not gateway.hosts)
        if not gateway.hosts and not others:
            raise GapError(
                f"gateways.{name}.hosts: is missing, and several gateways are written: list the hosts that are its own "
                "in the file, choose this gateway alone, or make it the default"
            )
        # Checked here as well, where its gateway can still be named.
        values.host_port(upstreams[name], f"the upstream of {name!r}")
        header = user_header(gateway)
        routes.append(
            envoy.Route(
                upstream=upstreams[name],
                domains=(*gateway.hosts, envoy.EVERY_DOMAIN) if others else tuple(gateway.hosts),
                gateway=name,
                user_headers=(header,) if header is not None else (),
            )
        )
    return tuple(routes)


def extauthz_endpoints(settings: Settings, ask_over: Literal["grpc", "http"] = "grpc") -> tuple[str, ...]:
    """Return where extauthz answers gRPC, or HTTP, as the file says.

    Raises:
        GapError: The file says where it listens and not at which address it is reached.
    """
    listen = settings.listen.http if ask_over == "http" else settings.listen.grpc
    for text in listen:
        endpoint = Endpoint.parse(text)
        if not endpoint.path and (endpoint.host in _EVERYWHERE or not endpoint.port):
            raise GapError(
                f"listen.{ask_over}: {text} does not say at which address the proxy reaches extauthz: give it, one for "
                "each of its processes"
            )
    return tuple(listen)


def extauthz_tls(settings: Settings) -> envoy.ClientTls | None:
    """Return how Envoy reaches extauthz over TLS, with placeholders for Envoy's files; None if the file has no TLS."""
    if settings.tls is None:
        return None
    if settings.tls.client_ca is not None:
        return PLACEHOLDER_TLS
    return envoy.ClientTls(ca=PLACEHOLDER_TLS.ca, server_name=PLACEHOLDER_TLS.server_name)


def envoy_settings(  # noqa: PLR0913 - what the file cannot say, by name
    settings: Settings,
    upstreams: Mapping[str, str],
    *,
    gateways: Iterable[str] = (),
    default: str | None = None,
    extauthz: Sequence[str] = (),
    ask_over: Literal["grpc", "http"] = "grpc",
    **further: Any,
) -> envoy.Settings:
    """Return what Envoy's configuration for gateways of the file is written from.

    Args:
        settings: The file.
        upstreams: Where each gateway is, as host:port, by id.
        gateways: The ids of the gateways to be written; none means all.
        default: As in `envoy_routes`.
        extauthz: Where extauthz answers, one entry a process; none means as the file says.
        ask_over: Which of its doors is asked. The HTTP doors have no TLS, whatever the file says.
        further: Other fields of `envoy.Settings`, which take the place of what follows from the file.

    Raises:
        GapError: The file, or what is given beside it, does not say what is needed.
        ValueError: A value is not what its setting takes; the text names both.
    """
    chosen = choose(settings, gateways)
    return envoy.Settings(
        routes=envoy_routes(chosen, upstreams, default=default),
        extauthz=tuple(extauthz) or extauthz_endpoints(settings, ask_over),
        ask_over=ask_over,
        headers=stamped_headers(settings),
        **{
            "removed": tuple(name for name in envoy.ELSEWHERE if name not in required_headers(chosen)),
            "checks_at_once": settings.server.max_concurrent,
            "extauthz_tls": extauthz_tls(settings) if ask_over == "grpc" else None,
            **further,
        },
    )


def required_headers(gateways: Mapping[str, GatewayModel]) -> frozenset[str]:
    """Return the headers that some gateway requires: these must arrive, whatever else is made of them."""
    found: set[str] = set()
    for gateway in gateways.values():
        rules = gateway.auth.trusted_proxy if gateway.auth is not None else None
        if rules is not None:
            found.update(fold(trim(name)) for name in rules.required_headers)
            if rules.assertion is not None:
                found.add(filled_model(rules.assertion).header)
    return frozenset(found)


def openclaw_gateway(
    settings: Settings, gateway: str, proxies: Sequence[str] = ("127.0.0.1",), *, verified: bool = False
) -> dict[str, Any]:
    """Return the `gateway` block of OpenClaw 2026.9's configuration for one gateway of the file.

    Args:
        settings: The file.
        gateway: The gateway's id.
        proxies: Addresses or ranges from which the proxy calls OpenClaw. Not those of the identity-aware proxy in
            front, which must not reach it.
        verified: A sidecar that verifies the stamp calls OpenClaw, and writes the user out of it into `headers.user`.

    Raises:
        GapError: The file does not say what OpenClaw must know, or an address is none.
    """
    found = choose(settings, [gateway])[gateway]
    header = fold(trim(settings.headers.user)) if verified else told_user_header(found, settings)
    if header is None:
        raise GapError(
            f"gateways.{gateway}.auth.trustedProxy.userHeader: is missing, and it is where OpenClaw is told the user"
        )
    if not settings.stamp.enabled:
        raise GapError(
            "stamp.enabled: is false, and the stamp is the header that OpenClaw requires: it would refuse everything"
        )
    rules: dict[str, Any] = {"userHeader": header, "requiredHeaders": [fold(trim(settings.headers.stamp))]}
    trusted_proxy = found.auth.trusted_proxy if found.auth is not None else None
    if trusted_proxy is not None and trusted_proxy.allow_users:
        rules["allowUsers"] = list(trusted_proxy.allow_users)
    loopback = [is_loopback(proxy) for proxy in proxies]
    if any(loopback):
        rules["allowLoopback"] = True
    block: dict[str, Any] = {
        "mode": "local",
        # Nothing but this host, where that is enough.
        "bind": "loopback" if all(loopback) else "lan",
        "trustedProxies": list(proxies),
        "auth": {"mode": "trusted-proxy", "trustedProxy": rules},
    }
    control_ui: dict[str, Any] = {}
    if found.control_ui.allowed_origins:
        control_ui["allowedOrigins"] = list(found.control_ui.allowed_origins)
    if found.control_ui.dangerously_allow_host_header_origin_fallback:
        control_ui["dangerouslyAllowHostHeaderOriginFallback"] = True
    if control_ui:
        block["controlUi"] = control_ui
    return block


def is_loopback(proxy: str) -> bool:
    """Return whether an address is of the host itself; a range is, if it begins there.

    Raises:
        GapError: It is neither an address nor a range.
    """
    try:
        parse_entry(proxy)
    except ValueError as error:
        raise GapError(f"the address of the proxy that calls OpenClaw: {error}") from error
    address = parse_address(proxy.partition("/")[0])
    return address is not None and address.loopback
