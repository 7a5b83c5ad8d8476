"""What somebody else wrote, made fit for a terminal, in a message and in JSON: it moves no cursor and hides no text.

For whatever a person looks at: errors, tables, the service's own log, files that are made from other files.
"""

import json
from typing import Any


def printable(text: str) -> str:
    """Return `text` with everything escaped that could steer a terminal or hide what stands there; lines stay lines."""
    if text.isprintable():
        return text
    return "".join(one if one == "\n" or one.isprintable() else ascii(one)[1:-1] for one in text)


def printable_json(data: Any, **options: Any) -> str:
    """Return data as JSON, as it is; where something in it could steer a terminal, all but ASCII is escaped.

    Args:
        data: What is written.
        options: Those of json.dumps.
    """
    text = json.dumps(data, ensure_ascii=False, **options)
    return text if printable(text) == text else json.dumps(data, **options)
