"""Celery's own log lines, as events like all others from a worker's first line on."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

from celery.apps import worker as celery_worker

from stentor import log
from stentor.settings import Settings


def set_up(settings: Settings) -> None:
    """Have all that this process says logged, what Celery prints by itself included."""
    log.configure(settings, room="worker")
    if settings.log_format == "json":
        celery_worker.safe_say = _say  # type: ignore[attr-defined]


def _say(message: str, *_: Any) -> None:
    """What Celery says from its signal handlers, where no lock may be taken and so no logger be used."""
    event = {
        "action": message,
        "level": "info",
        "logger": celery_worker.__name__,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "room": "worker",
    }
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{json.dumps(event)}\n".encode())
