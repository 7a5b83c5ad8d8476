"""`extauthz explain`: why is a request allowed or denied? By the code that decides, step by step.

Reads options and dispatches: what is explained is extauthz.explaining's, how it is printed the modules' beside this.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from extauthz.cli.explain_input import opened, shown, watched
from extauthz.cli.options import (
    EXIT_REFUSED,
    EXIT_USAGE,
    UnusableError,
    config_option,
    echo_json,
    format_option,
    load_config,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extauthz.config.load import Loaded

# A CheckRequest over `limits.messageBytes` is told as such; what is longer than this is not even looked at.
_LARGEST_CAPTURE_BYTES: Final = 64 << 20

# Envoy's own log often goes to the same place as its access log, and is none of it.
_OTHER_LINES: Final = "other lines"

# The ways to say what is to be explained, other than by the options of one request.
_SOURCES: Final = {
    "requests": "--requests",
    "check_request": "--check-request",
    "access_log": "--access-log",
    "replayed": "--replay",
}
_ONE_REQUEST: Final = {
    "gateway": "--gateway",
    "peer": "--peer",
    "principal": "--principal",
    "headers": "--header",
    "host": "--host",
}


@click.command("explain")
@config_option
@click.option("--gateway", help="The gateway's id, as the proxy names it. Without it, the host selects.")
@click.option("--peer", help="The peer's address: the connection that the proxy received.")
@click.option("--principal", help="The principal of its client certificate, as Envoy tells it (docs/peers.md).")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--host", default="", help="The request's host; without it, that of a Host header.")
@click.option("--path", default="/", show_default=True, help="The request's path and query.")
@click.option("--caller", help="Who asks: an address, or unix. Without it, one that `callers` admits.")
@click.option(
    "--requests",
    metavar="FILE",
    help="Explain each line of a JSONL file instead.",
)
@click.option(
    "--check-request",
    metavar="FILE",
    help="Explain a captured CheckRequest instead: in binary, or as protobuf JSON.",
)
@click.option(
    "--access-log",
    metavar="FILE",
    help="Explain what was denied in Envoy's access log instead (docs/envoy.md).",
)
@click.option(
    "--replay",
    "replayed",
    metavar="FILE",
    help="Decide a whole decision log again under the present file, and report what would change.",
)
@click.option(
    "--before",
    "before_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --replay: the configuration file when the log was written. It tells what the log leaves open.",
)
@click.option(
    "--top", type=click.IntRange(1, 10_000), default=10, show_default=True, help="With --replay: rows in each table."
)
@format_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config_file: Path,
    before_file: Path | None,
    top: int,
    output_format: str,
    **given: Any,
) -> None:
    """Explain the decision about a request, step by step.

    A denial comes with what to do about it. Each FILE may be - for standard input, and may be gzipped if it has lines.
    Names in trustedProxies are asked about now, from here: a service may know older answers.

    \b
    One request, written down or captured:
      extauthz explain --gateway openclaw --peer 10.0.0.7 -H 'x-forwarded-user: nick@example.com'
      extauthz explain --check-request captured.json
    \b
    A file with one request per line, {"id", "gateway", "peer", "principal", "headers", "method", "host", "path",
    "caller"}:
      extauthz explain --requests requests.jsonl --format json
    \b
    Who refused what, and why, from the access log of the Envoy in front:
      extauthz explain --access-log envoy.jsonl
    \b
    What would change if this file were in force:
      extauthz explain --config new.yaml --before extauthz.yaml --replay decisions.jsonl

    Exit status 0: every request is allowed; with --replay, nothing changes. 1: one at least is denied; with --replay,
    something changes or cannot be told. 2: bad usage or configuration, or a line that cannot be read (which --replay
    only reports).
    """  # noqa: D301 - click wants the character, not a backslash
    source = _source(given)
    if source != "replayed" and before_file is not None:
        raise click.UsageError("--before goes with --replay")
    loaded = load_config(config_file)
    if source == "replayed":
        from extauthz.cli.explain_replay import run  # noqa: PLC0415 - help must be quick

        before = load_config(before_file) if before_file is not None else None
        ctx.exit(run(loaded, before, given["replayed"], top=top, output_format=output_format))
    elif source == "access_log":
        ctx.exit(_explain_access_log(loaded, given["access_log"], output_format))
    elif source == "check_request":
        ctx.exit(_explain_captured(loaded, given["check_request"], given["caller"], output_format))
    elif source == "requests":
        ctx.exit(_explain_requests(loaded, given["requests"], output_format))
    else:
        ctx.exit(_explain_one(loaded, given, output_format))


def _source(given: dict[str, Any]) -> str | None:
    """Return which way was chosen to say what is to be explained; None for the options of one request.

    Raises:
        click.UsageError: Several were.
    """
    chosen = [source for source in _SOURCES if given[source] is not None]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(_SOURCES[one] for one in chosen)}: only one of them at a time")
    if not chosen:
        return None
    (source,) = chosen
    beside = {**_ONE_REQUEST, **({} if source == "check_request" else {"caller": "--caller"})}
    found = [option for key, option in beside.items() if given[key]]
    if found:
        raise click.UsageError(f"{_SOURCES[source]} has what is explained: leave out {', '.join(found)}")
    return source


def _explain_one(loaded: Loaded, given: dict[str, Any], output_format: str) -> int:
    from extauthz.cli.explain_policy import verifying_policy  # noqa: PLC0415 - help must be quick
    from extauthz.explaining import explain_request  # noqa: PLC0415

    keys = ("gateway", "peer", "principal", "method", "host", "path", "caller")
    line = {**{key: given[key] for key in keys}, "headers": _parse_headers(given["headers"])}
    try:
        explained = explain_request(verifying_policy(loaded), line)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return _print_explained(explained, output_format)


def _explain_captured(loaded: Loaded, name: str, caller: str | None, output_format: str) -> int:
    from extauthz.cli.explain_policy import verifying_policy  # noqa: PLC0415 - help must be quick
    from extauthz.explaining.captured import CapturedError, explain_captured  # noqa: PLC0415

    with opened(name) as file:
        data = file.read(_LARGEST_CAPTURE_BYTES + 1)
    if len(data) > _LARGEST_CAPTURE_BYTES:
        raise UnusableError(f"{shown(name)} is larger than {_LARGEST_CAPTURE_BYTES} bytes: no CheckRequest is")
    longest = loaded.settings.limits.message_bytes
    try:
        explained = explain_captured(verifying_policy(loaded), data, caller=caller, longest_message=longest)
    except CapturedError as error:
        raise UnusableError(f"{shown(name)}: {error}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return _print_explained(explained, output_format)


def _print_explained(explained: Any, output_format: str, *, first: bool = True) -> int:
    from extauthz.cli.explain_text import show_explained  # noqa: PLC0415 - help must be quick

    if output_format == "json":
        echo_json(explained)
    else:
        show_explained(explained, first=first)
    return 0 if explained["allowed"] else EXIT_REFUSED


def _explain_requests(loaded: Loaded, name: str, output_format: str) -> int:
    from extauthz.cli.explain_policy import verifying_policy  # noqa: PLC0415
    from extauthz.cli.explain_text import echo_unreadable  # noqa: PLC0415 - help must be quick
    from extauthz.explaining import explain_request  # noqa: PLC0415
    from extauthz.explaining.lines import read_lines  # noqa: PLC0415

    policy = verifying_policy(loaded)
    status, first = 0, True
    with opened(name) as file:
        for line in watched(read_lines(file), file, "explaining", prints=True):
            fault, explained = line.fault, None
            if line.data is not None:
                try:
                    explained = explain_request(policy, line.data)
                except ValueError as error:
                    fault = f"cannot be explained: {error}"
            if explained is None:
                # What can be read is explained all the same; that something could not is told by the status.
                echo_unreadable(line.number, fault)
                status = EXIT_USAGE
                continue
            status = max(status, _print_explained(explained, output_format, first=first))
            first = False
    return status


def _explain_access_log(loaded: Loaded, name: str, output_format: str) -> int:
    from extauthz.cli.explain_policy import resolved_policy  # noqa: PLC0415 - help must be quick
    from extauthz.cli.explain_text import echo, echo_unreadable, show_incident  # noqa: PLC0415
    from extauthz.explaining.access_log import NoAccessLogError, explain_access, is_denial  # noqa: PLC0415
    from extauthz.explaining.lines import read_lines  # noqa: PLC0415

    policy = resolved_policy(loaded)
    status, first, ended = 0, True, Counter[str]()
    with opened(name) as file:
        for line in watched(read_lines(file), file, "explaining", prints=True):
            if line.data is None and line.begins != "{":
                ended[_OTHER_LINES] += 1
                continue
            try:
                incident = explain_access(policy, line)
            except NoAccessLogError as error:
                echo_unreadable(line.number, str(error))
                status = EXIT_USAGE
                continue
            ended[incident["by"]] += 1
            if not is_denial(incident):
                continue
            status = max(status, EXIT_REFUSED)
            if output_format == "json":
                echo_json(incident)
            else:
                show_incident(incident, first=first)
            first = False
    if output_format == "text":
        if not first:
            click.echo()
        echo(_summary(ended))
    return status


def _summary(ended: Counter[str]) -> str:
    by = [f"{number} by {who}" for who, number in ended.most_common() if who != _OTHER_LINES]
    others = f"; {ended[_OTHER_LINES]} lines are no JSON" if ended[_OTHER_LINES] else ""
    return f"refused: {', '.join(by) or 'none'}{others}"


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
