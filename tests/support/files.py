"""Files that somebody reads while somebody else writes them."""

import json
from pathlib import Path
from typing import Any


def json_lines(text: str, *, mixed: bool = False) -> list[dict[str, Any]]:
    """Return the JSON objects of a log, one a line; what stands after the last line's end is still being written.

    Args:
        text: The log so far.
        mixed: Lines of something else stand between them.

    Raises:
        JSONDecodeError: A line is no JSON, as where something was written into it.
    """
    return [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{") or not mixed]


def replace_text(file: Path, text: str, mode: int = 0o666) -> None:
    """Write another text in one step: half of it is never there to be read."""
    new = file.with_name(f".{file.name}.new")
    new.touch(mode=mode)
    new.write_text(text, encoding="utf-8")
    new.replace(file)
