"""The text of one configuration file of OpenClaw's, JSON or JSON5, to plain values; it knows no file and opens none.

No message quotes the file: what stands beside a mistake may be a token.
"""

import json
from typing import Any, Final

LARGEST_JSON5_BYTES: Final = 512 * 1024
"""JSON5 is read at about 25 kB a second; what is longer is to be plain JSON."""


class SyntaxFault(ValueError):  # noqa: N818 - a fault as in config/faults.py, told by an error of another name
    """The text is none of JSON5.

    Attributes:
        line: Counted from 1; None where it is not known.
        column: The same.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        self.line = line
        self.column = column
        super().__init__(message)


def parse(text: str) -> Any:
    """Read JSON, else JSON5; of a key that stands twice the last one counts. OpenClaw does both in this way.

    Raises:
        SyntaxFault: It is neither; with line and column.
    """
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise SyntaxFault("is nested too deeply: no configuration is") from error
    except ValueError:
        data = _json5(text)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except ValueError as error:
        raise SyntaxFault(r"has half a pair of surrogates, such as \ud83d alone: write the whole character") from error
    return data


def _json5(text: str) -> Any:
    if not text.strip():
        raise SyntaxFault("is empty: OpenClaw's file has at least `{gateway: {}}`")
    if len(text) > LARGEST_JSON5_BYTES:
        raise SyntaxFault(
            f"is no plain JSON, and too long to be read as JSON5: {LARGEST_JSON5_BYTES} bytes at most. Split it with "
            "$include, or write plain JSON"
        )
    import json5  # noqa: PLC0415 - what is plain JSON needs it not

    try:
        data, fault, position = json5.parse(text)
    except RecursionError as error:
        raise SyntaxFault("is nested too deeply: no configuration is") from error
    if fault is None:
        return data
    if "Unexpected" not in fault:  # the text is JSON5, and a number in it has more digits than Python reads
        raise SyntaxFault("holds a value that no configuration has, such as a number of thousands of digits")
    before = text[:position]
    line, column = before.count("\n") + 1, position - before.rfind("\n")
    if position >= len(text.rstrip()):
        message = "is no JSON5: it ends too early. A bracket, a quote or a comment is not closed"
    else:
        message = (
            "is no JSON5: something else is wanted here. Look for a missing comma, quote or bracket just before; text, "
            "${REFERENCES} too, stands in quotes"
        )
    raise SyntaxFault(message, line, column)
