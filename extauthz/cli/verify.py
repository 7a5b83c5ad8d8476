"""`extauthz verify`: explains a stamp claim by claim. Reads options and prints; the checks are the Gateway's own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from extauthz.gateway import Check, StampVerifier

REFUSED = 1
_MARKS = {True: "ok", False: "REFUSED", None: "not checked"}


@click.command("verify")
@click.argument("token")
@click.option("--jwks", required=True, metavar="FILE|URL", help="The public keys: a file, https, or http on this host.")
@click.option("--audience", required=True, metavar="GATEWAY", help="The id of the Gateway that would get the stamp.")
@click.option("--issuer", default="extauthz", show_default=True, help="Who must have signed it.")
@click.option("--method", help="The request's method, if the stamp is bound to it.")
@click.option("--host", help="The request's Host, likewise.")
@click.option("--path", help="The request's raw path and query, likewise.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(  # noqa: PLR0913, PLR0917 (one parameter an option)
    token: str,
    jwks: str,
    audience: str,
    issuer: str,
    method: str | None,
    host: str | None,
    path: str | None,
    form: str,
) -> None:
    """Explain a stamp claim by claim.

    TOKEN is the stamp; the last line says whether a Gateway would accept it now.

    With - for TOKEN it is read from standard input, where other users of this host cannot see it. Exits with 0 if
    it is accepted, 1 if it is refused, 2 if the question cannot be asked. What the stamp is bound to is checked only
    against --method, --host and --path; without them the last line says what was not.
    """
    stamp = sys.stdin.read().strip() if token == "-" else token  # noqa: S105 (a dash)
    with _verifier(jwks, audience, issuer) as verifier:
        checks = verifier.explain(stamp, method=method, host=host, path=path)
    first = next((check for check in checks if check.passed is False), None)
    (_print_json if form == "json" else _print_text)(checks, first)
    if first is not None:
        sys.exit(REFUSED)


def _verifier(jwks: str, audience: str, issuer: str) -> StampVerifier:
    from extauthz.gateway import JwksError, StampVerifier  # noqa: PLC0415 (start-up time)

    try:
        verifier = StampVerifier(jwks, audience=audience, issuer=issuer)
        verifier.load()
    except (JwksError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    return verifier


def _print_json(checks: list[Check], first: Check | None) -> None:
    document = {
        "accepted": first is None,
        "reason": None if first is None else first.reason,
        "not_checked": _not_checked(checks),
        "checks": [{"check": check.name, "passed": check.passed, "detail": check.detail} for check in checks],
    }
    click.echo(json.dumps(document))


def _print_text(checks: list[Check], first: Check | None) -> None:
    from extauthz.gateway import REASONS  # noqa: PLC0415 (start-up time)

    for check in checks:
        click.echo(f"{_MARKS[check.passed]:<12} {check.name:<10} {check.detail}")
    if first is not None:
        click.echo(f"refused: {first.reason}: {REASONS[first.reason]}")
    elif open_ := _not_checked(checks):
        click.echo(f"accepted, but {', '.join(open_)} {'was' if len(open_) == 1 else 'were'} not checked")
    else:
        click.echo("accepted")


def _not_checked(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if check.passed is None]
