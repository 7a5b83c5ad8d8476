"""The service's own log, on standard error: for people at a terminal in colour, for machines one JSON object a line.

Decisions are not written here. No header value, cookie or token ever is.
"""

import logging
import sys

import structlog


def configure_logs() -> None:
    """Set up structlog for a service; called once by the commands that run one."""
    terminal = sys.stderr.isatty()
    # Tracebacks without the variables of their frames, which structlog shows by default: these hold whole requests.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(transform))
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
