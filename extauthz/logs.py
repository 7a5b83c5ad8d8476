"""The service's own log, on standard error: for people at a terminal in colour, for machines one JSON object a line.

Decisions are not written here. No header value, cookie or token ever is. It is the standard library's logging with one
thing added: what a line is about is said by name. A log that cannot be written is no reason not to go on.
"""

import logging
import os
import sys
import traceback
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from extauthz.printable import printable, printable_json

ROOT: Final = "extauthz"
# Whose lines are written like our own: the loops of the HTTP servers.
_LIBRARIES: Final = ("asyncio",)

# What a line can hold at most: of one text, in characters; of one list, in items; of one traceback, in frames.
LONGEST_TEXT: Final = 8_192
MOST_ITEMS: Final = 256
MOST_FRAMES: Final = 50

_EVENT_WIDTH: Final = 30
_LEVEL_WIDTH: Final = 9
_DIM, _BOLD, _RED, _GREEN, _YELLOW, _MAGENTA, _CYAN = (f"\x1b[{code}m" for code in (2, 1, 31, 32, 33, 35, 36))
_RESET: Final = "\x1b[0m"


class Logger:
    """Writes lines. May be used by any thread, and never raises."""

    __slots__ = ("_log",)

    def __init__(self, log: logging.Logger) -> None:
        self._log: Final = log

    def info(self, event: str, /, **about: Any) -> None:
        """Tell what happened; `about` are the names and values that go with it."""
        self._write(logging.INFO, event, about)

    def warning(self, event: str, /, **about: Any) -> None:
        """Tell what somebody should know."""
        self._write(logging.WARNING, event, about)

    def error(self, event: str, /, *, exc_info: BaseException | None = None, **about: Any) -> None:
        """Tell what somebody has to mend; with a traceback where there is an exception."""
        self._write(logging.ERROR, event, about, exc_info)

    def exception(self, event: str, /, **about: Any) -> None:
        """Tell it with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, event, about, sys.exc_info()[1])

    def _write(self, level: int, event: str, about: dict[str, Any], error: BaseException | None = None) -> None:
        with suppress(Exception):  # nowhere is left to tell it
            self._log.log(level, event, exc_info=error, extra={"about": about})


def get_logger(name: str) -> Logger:
    """Return the logger of a module, by the module's own name."""
    return Logger(logging.getLogger(name))


def configure_logs() -> None:
    """Set up the log of a service; called once by the commands that run one."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(_ForPeople() if sys.stderr.isatty() else _ForMachines())
    for name, level in ((ROOT, logging.INFO), *((name, logging.WARNING) for name in _LIBRARIES)):
        root = logging.getLogger(name)
        root.handlers[:] = [handler]
        root.propagate = False
        root.setLevel(level)


class _Lines(logging.StreamHandler[Any]):
    """Each line is one write, whatever thread it comes from."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as the library calls it
        """Pass over a line that could not be written: nowhere is left to tell it."""


class _ForMachines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {name: _bounded(value) for name, value in _about(record).items()}
        line |= {"event": _bounded(record.getMessage()), "level": record.levelname.lower(), "timestamp": _time(record)}
        if (error := _error(record)) is not None:
            line["exception"] = _chain(error)
        return printable_json(line, default=repr)


class _ForPeople(logging.Formatter):
    """Whatever could steer the terminal is escaped: a key file's name, say, is chosen by whoever may put it there."""

    def __init__(self) -> None:
        super().__init__()
        self._colour: Final = not os.environ.get("NO_COLOR")

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        colour = {logging.INFO: _GREEN, logging.WARNING: _YELLOW}.get(record.levelno, _RED)
        parts = [
            self._in(_DIM, _time(record)),
            f"[{self._in(colour + _BOLD, level.ljust(_LEVEL_WIDTH))}]",
            self._in(_BOLD, printable(_bounded(record.getMessage())).ljust(_EVENT_WIDTH)),
        ]
        parts += [
            f"{self._in(_CYAN, name)}={self._in(_MAGENTA, _shown(_bounded(value)))}"
            for name, value in sorted(_about(record).items())
        ]
        if (error := _error(record)) is None:
            return " ".join(parts)
        # Without the variables of the frames: these hold whole requests.
        trace = "".join(traceback.format_exception(error, limit=-MOST_FRAMES)).rstrip("\n")
        return f"{' '.join(parts)}\n{printable(trace)}"

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour else text


def _about(record: logging.LogRecord) -> dict[str, Any]:
    about: dict[str, Any] = getattr(record, "about", {})
    return about


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _time(record: logging.LogRecord) -> str:
    told = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    return told.replace("+00:00", "Z")


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}… ({len(value)} characters)"
    if isinstance(value, list):
        left = [f"… ({len(value)} in all)"] if len(value) > MOST_ITEMS else []
        return [*map(_bounded, value[:MOST_ITEMS]), *left]
    return value


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return printable(repr(value))
    text = printable(value)
    return repr(text) if any(one.isspace() or one in "='\"" for one in text) else text


def _chain(error: BaseException | None) -> list[dict[str, Any]]:
    """Return an exception, and what led to it, without the variables of the frames: these hold whole requests."""
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    is_cause = False
    while error is not None and id(error) not in seen and len(chain) < MOST_FRAMES:
        seen.add(id(error))
        frames = deque(traceback.walk_tb(error.__traceback__), MOST_FRAMES)
        inner = error.exceptions[:MOST_ITEMS] if isinstance(error, BaseExceptionGroup) else ()
        chain.append(
            {
                "exc_type": type(error).__name__,
                "exc_value": _bounded(_text(error)),
                "is_cause": is_cause,
                "frames": [
                    {"filename": frame.f_code.co_filename, "lineno": number, "name": frame.f_code.co_name}
                    for frame, number in frames
                ],
                "exceptions": [_chain(one) for one in inner],
            }
        )
        is_cause = error.__cause__ is not None
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception of a library that cannot tell itself
        return "<cannot be told>"
