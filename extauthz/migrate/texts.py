"""Everything that a migration writes, as texts by file name. What is in them is decided elsewhere."""

import functools
import math
from collections.abc import Iterable
from typing import Any, Final

import jinja2
import yaml

from extauthz.migrate.block import Block
from extauthz.migrate.notes import Note
from extauthz.migrate.ours import Ours
from extauthz.migrate.steps import Step
from extauthz.printable import printable, printable_json

OUR_FILE: Final = "extauthz.yaml"
BLOCK_FILE: Final = "openclaw.gateway.json5"
PATCH_FILE: Final = "openclaw.patch.json5"
GUIDE_FILE: Final = "MIGRATION.md"

_INCOMPLETE: Final = "NOT COMPLETE: extauthz.yaml has places to fill in. With this, OpenClaw lets nobody in."


def our_file(ours: Ours, gateway: str, mode: str) -> str:
    """Return our file, as YAML with comments."""
    return _template().render(
        id=gateway,
        mode=mode,
        gateway=ours.gateway,
        rules=ours.gateway["auth"]["trustedProxy"],
        open=ours.open,
        shadow=ours.gateway["mode"] == "shadow",
    )


def block_file(block: Block, *, incomplete: bool) -> str:
    """Return the whole changed block, as JSON5."""
    head = ["The `gateway` block of openclaw.json behind extauthz, written by `extauthz migrate`."]
    head += [_INCOMPLETE] if incomplete else []
    head += [str(note) for note in block.changes]
    head += [f"{path}: left out, for a secret may be in it. Keep your own line" for path in block.left_out]
    return _comment(head) + _json({"gateway": block.gateway})


def patch_file(block: Block, *, incomplete: bool) -> str:
    """Return only what changes, as JSON5."""
    head = [
        *([_INCOMPLETE] if incomplete else []),
        "What changes in openclaw.json, for `openclaw config patch --file`: null takes a key out.",
        "What is not named here stays as it is.",
    ]
    return _comment(head) + _json({"gateway": block.patch})


def guide(steps: tuple[Step, ...], back: Step, mode: str, told: Iterable[Note]) -> str:
    """Return the steps as a page, in Markdown."""
    lines = [
        f"# From OpenClaw's {mode} mode to extauthz",
        "",
        "Run the commands in this folder. No secret is in any of its files.",
    ]
    notes = [f"- `{note.path}` {note.text}" for note in told]
    if notes:
        lines += ["", "## To know", "", *notes]
    for number, step in enumerate(steps, 1):
        lines += ["", f"## {number}. {step.title}", *_parts(step)]
    lines += ["", f"## {back.title}", *_parts(back)]
    return "\n".join(lines) + "\n"


def _parts(step: Step) -> Iterable[str]:
    for part in step.parts:
        yield from ("", part.text)
        if part.commands:
            yield from ("", "```sh", *part.commands, "```")


def _comment(lines: Iterable[str]) -> str:
    return "".join(f"// {line}\n" for line in lines)


def _json(data: dict[str, Any]) -> str:
    # The values are those of OpenClaw's file: none of them steers the terminal of who looks at ours.
    return printable_json(data, indent=2) + "\n"


def _yaml(value: object) -> str:
    """Return a value as it stands in YAML, on one line."""
    if isinstance(value, _Plain):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    if printable(text) != text:
        text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


class _Plain(str):
    """Text of ours, which stands in a comment as it is."""

    __slots__ = ()


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("extauthz.migrate", package_path=""),
        undefined=jinja2.StrictUndefined,
        finalize=_yaml,
        autoescape=False,  # noqa: S701 - this is no HTML; `finalize` writes each value as YAML instead
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _Plain
    return environment.get_template("extauthz.yaml.j2")
