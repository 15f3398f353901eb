"""Turns Celery's own log lines into events, from a worker's first line on."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from billiard.exceptions import WorkerLostError
from celery.apps import worker as celery_worker

from stentor import log
from stentor.settings import Settings


def set_up(settings: Settings) -> None:
    """Log everything that this process reports, including what Celery prints by itself."""
    log.configure(settings, room="worker")
    logging.getLogger("celery.worker.request").addFilter(_is_unforeseen)
    if settings.log_format == "json":
        celery_worker.safe_say = _say  # type: ignore[attr-defined]


def _is_unforeseen(record: logging.LogRecord) -> bool:
    """Whether a line is not about a device's process that ended in order, logged as ``device_unloads`` already.

    Celery takes each end of a process in a task for an error, so there would be one for each model that is unloaded.
    """
    about = record.args[0] if isinstance(record.args, tuple) and record.args else None
    return not (isinstance(about, WorkerLostError) and "exitcode 0." in str(about))


def _say(message: str, *_: Any) -> None:
    """Write what Celery reports from its signal handlers, where no lock may be taken and so no logger be used."""
    event = {
        "action": message,
        "level": "info",
        "logger": celery_worker.__name__,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "room": "worker",
    }
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{json.dumps(event)}\n".encode())
