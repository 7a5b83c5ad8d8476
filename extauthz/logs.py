"""The service's own log, on standard error: for people at a terminal in colour, for machines one JSON object a line.

Decisions are not written here. No header value, cookie or token ever is.
"""

import io
import logging
import sys
from typing import Any, TextIO

import structlog

from extauthz.printable import printable, printable_json


def configure_logs() -> None:
    """Set up structlog for a service; called once by the commands that run one."""
    terminal = sys.stderr.isatty()
    # Tracebacks without the variables of their frames, which structlog shows by default: these hold whole requests.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=_traceback)
        if terminal
        else structlog.processors.JSONRenderer(printable_json)
    )
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if terminal:
        processors.append(_harmless)
    else:
        transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(transform))
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _harmless(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape what could steer a terminal: a key file's name, say, is chosen by whoever may put it there."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _traceback(out: TextIO, exc_info: Any) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write(printable(text.getvalue()))
