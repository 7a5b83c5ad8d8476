"""`extauthz gateway`: runs the reference Gateway. Reads options, starts the server, decides nothing."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from extauthz.gateway import HeaderNames, StampVerifier

_MAX_PORT = 65535


@click.command("gateway")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--jwks", metavar="URL|FILE", help="extauthz's public keys: https, http on this host, or a file.")
@click.option("--audience", metavar="ID", help="This Gateway's id in extauthz's configuration.")
@click.option("--issuer", default="extauthz", show_default=True, help="The stamp.issuer of that configuration.")
@click.option("--user-header", metavar="NAME", help="The gateway's userHeader: written from the stamp, too.")
@click.option(
    "--trust-headers-unverified",
    is_flag=True,
    help="Verify nothing and show the headers that anybody sent. To look at, never to rely on.",
)
@click.option(
    "--report-arrivals-to-anyone",
    is_flag=True,
    help="Tell whoever asks by x-extauthz-probe every header that arrived, refused or not. For `extauthz probe`; "
    "switch it off again.",
)
def command(  # noqa: PLR0913, PLR0917 (one parameter an option)
    listen: str,
    jwks: str | None,
    audience: str | None,
    issuer: str,
    user_header: str | None,
    trust_headers_unverified: bool,
    report_arrivals_to_anyone: bool,
) -> None:
    """Run the reference Gateway, which shows what reached it.

    Every path answers with the request as it arrived, as JSON; a WebSocket says the same and then echoes. Requests
    without a good stamp get a 401 with the reason. /healthz needs none.
    """
    host, port = _address(listen)
    if trust_headers_unverified:
        if jwks or audience or user_header:
            raise click.UsageError("--trust-headers-unverified verifies nothing: no --jwks, --audience, --user-header")
        verifier, names = None, None
    else:
        if not jwks or not audience:
            raise click.UsageError("--jwks and --audience are needed to verify stamps")
        verifier, names = _verifier(jwks, audience, issuer, user_header)
    _serve(host, port, verifier, names, report_arrivals=report_arrivals_to_anyone)


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        raise click.UsageError(f"--listen: {listen!r} is not HOST:PORT")
    return host, int(port)


def _verifier(jwks: str, audience: str, issuer: str, user_header: str | None) -> tuple[StampVerifier, HeaderNames]:
    from extauthz.gateway import HeaderNames, JwksError, StampVerifier  # noqa: PLC0415 (start-up time)

    try:
        return StampVerifier(jwks, audience=audience, issuer=issuer), HeaderNames(user_header=user_header)
    except (JwksError, ValueError) as error:
        raise click.UsageError(str(error)) from error


def _serve(
    host: str, port: int, verifier: StampVerifier | None, names: HeaderNames | None, *, report_arrivals: bool
) -> None:
    import uvicorn  # noqa: PLC0415 (start-up time)

    from extauthz.gateway.reference import application  # noqa: PLC0415

    if verifier is None and not _is_loopback(host):
        click.echo(f"warning: {host} may be reached from elsewhere, and no header is verified", err=True)
    if report_arrivals and not _is_loopback(host):
        click.echo(f"warning: whoever reaches {host} may ask which headers arrive, refused requests' too", err=True)
    config = uvicorn.Config(
        application(verifier, names, report_arrivals=report_arrivals),
        host=host,
        port=port,
        ws="websockets-sansio",
        log_level="warning",
        access_log=False,
        server_header=False,
        # uvicorn would believe X-Forwarded-For and -Proto from this host; what is shown is what came.
        proxy_headers=False,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
    trust = f"trusts stamps for {verifier.audience}" if verifier else "trusts every header, unverified"
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"gateway: http://{shown}:{port} {trust}", err=True)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        pass
    finally:
        if verifier is not None:
            verifier.close()


def _is_no_refusal(record: logging.LogRecord) -> bool:
    # uvicorn takes the 401 of a WebSocket that is refused for an application that gave up.
    return record.getMessage() != "ASGI callable returned without completing handshake."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
