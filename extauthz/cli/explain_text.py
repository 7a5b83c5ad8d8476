"""How `extauthz explain` prints for people: a decision step by step, a line of Envoy's access log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from extauthz.core.wording import plain, quote
from extauthz.printable import printable

if TYPE_CHECKING:
    from extauthz.explaining import Explained
    from extauthz.explaining.access_log import Incident, Now

_NOW: Final[dict[Now, str]] = {
    "denied": "denied again under the present file",
    "passes": "not denied for this any more",
    "untold": "cannot be told under the present file",
}


def echo(text: str) -> None:
    """Write text that may hold what no output can carry, a lone surrogate, as JSON and Python would write it."""
    click.echo(text.encode(errors="backslashreplace").decode())


def echo_unreadable(number: int, fault: str) -> None:
    """Tell on standard error of a line that cannot be read."""
    click.echo(f"{click.style('unreadable', fg='yellow')}  line {number} {plain(fault)}", err=True)


def show_explained(explained: Explained, *, first: bool) -> None:
    """Print one decision, step by step."""
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
        click.echo(
            f"{click.style('allowed', fg='green', bold=True)} as {printable(explained['user'] or '')} by {where}"
        )
        return
    denied = click.style("denied", fg="red", bold=True)
    click.echo(f"{denied} by {where} with {explained['status']}: {click.style(explained['reason'] or '', bold=True)}")
    click.echo(f"  {explained['hint']}")


def show_incident(incident: Incident, *, first: bool) -> None:
    """Print one denied line of the access log. The values are clients': none may steer the terminal."""
    if not first:
        click.echo()
    asked = " ".join(
        plain(part)
        for part in (incident["time"], incident["method"], f"{incident['host'] or ''}{incident['path'] or ''}")
        if part
    )
    click.echo(click.style(f"line {incident['line']}  {asked}  {incident['status']}", bold=True))
    _row("refused by", plain(incident["by"]))
    for name in ("reason", "gateway", "user", "peer", "decision", "details", "flags"):
        value = incident[name]
        if value and value != "-":
            _row(name, quote(value) if name == "user" else plain(value))
    _row("meaning", incident["meaning"])
    if incident["now"] is not None:
        _row("now", _NOW[incident["now"]])
    # The hint has the cure in it where the request is denied again.
    _row("do", incident["hint"] if incident["now"] == "denied" else incident["cure"])
    if incident["now"] in {"passes", "untold"}:
        _row("", incident["hint"])


def _row(name: str, text: str) -> None:
    echo(f"  {click.style(f'{name:<10}', dim=True)}  {text}")
