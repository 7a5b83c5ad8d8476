"""Lines of JSON from files of any size: one object a line, plain or gzipped. What cannot be read is told.

Memory stays the same however long a file is, and however long a line: one over the limit is skipped unread.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple, cast

# A decision with 200 headers has 20 KB; what is longer is no line of a log.
LONGEST_LINE_BYTES: Final = 1 << 20

_GZIP: Final = b"\x1f\x8b"


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: From 1, blank lines counted.
        data: What it says; None if it cannot be read.
        fault: Why it cannot be read; "" if it can.
        begins: Its first character that is no white space, by which a log of another kind is told.
    """

    number: int
    data: dict[str, Any] | None
    fault: str = ""
    begins: str = ""


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """Read each line of a file, plain or gzipped, which is told by its content. Blank lines are left out."""
    plain = _plain(file)
    number = 0
    while True:
        number += 1
        try:
            raw = plain.readline(LONGEST_LINE_BYTES + 1)
            long = len(raw) > LONGEST_LINE_BYTES
            if long:
                _skip(plain)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield Line(number, None, f"the gzip data is broken here, and the rest of the file cannot be read: {error}")
            return
        if not raw:
            return
        if long:
            yield Line(number, None, f"is longer than {LONGEST_LINE_BYTES} bytes")
        elif raw.strip():
            yield _parse(number, raw)


def _plain(file: BinaryIO) -> BinaryIO:
    # What is read from memory has no peek; a file and standard input have.
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", file))
    if buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
        return cast("BinaryIO", gzip.GzipFile(fileobj=buffered))
    return buffered


def _skip(file: BinaryIO) -> None:
    """Read on to the end of the line."""
    while (rest := file.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def _parse(number: int, raw: bytes) -> Line:
    begins = chr(raw.strip()[0])
    try:
        data = json.loads(raw.decode())
    except UnicodeDecodeError as error:
        return Line(number, None, f"is no UTF-8: {error.reason}", begins)
    except RecursionError:
        return Line(number, None, "is nested too deeply: one object a line is wanted", begins)
    except json.JSONDecodeError as error:
        return Line(number, None, f"is no JSON: {error.msg} at character {error.colno}", begins)
    except ValueError as error:  # a number of thousands of digits
        return Line(number, None, f"is no JSON: {error}", begins)
    if not isinstance(data, dict):
        return Line(number, None, "is no JSON object: one object a line is wanted", begins)
    return Line(number, data, "", begins)
