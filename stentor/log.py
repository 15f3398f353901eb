"""Logs: every line is an event, a fixed action word plus fields."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from stentor.settings import Settings

#: Tracebacks without local variables, whose values may be texts and keys.
_TRACEBACK = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.EventRenamer("action"),
]


def configure(settings: Settings, *, room: str) -> None:
    """Write all events of this process to standard error, one per line, with those of libraries."""

    def add_room(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["room"] = room
        return event

    shared = [*_SHARED, add_room]
    if settings.log_format == "json":
        renderer: list[Processor] = [
            _TRACEBACK,
            structlog.processors.JSONRenderer(),
        ]
    else:
        renderer = [structlog.dev.ConsoleRenderer(event_key="action")]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    for noisy in ("botocore", "boto3", "urllib3", "celery", "kombu", "amqp", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        cache_logger_on_first_use=False,
    )


def get(name: str, **fields: Any) -> FilteringBoundLogger:
    """The logger of a module; each of its lines has ``fields``."""
    logger: FilteringBoundLogger = structlog.get_logger(name, **fields)
    return logger
