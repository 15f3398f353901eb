"""gunicorn's configuration, beside what ``stentor api`` says on the command line: its log lines, and shared counts.

gunicorn calls the functions of this module by their names, in its master process.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

#: Not taken from ``api.metrics``, which would import prometheus-client before there is a directory.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"

logger_class = "api.gunicorn_log.JsonLogger"


def on_starting(server: Any) -> None:
    """Make a place for the counts of all processes, before any of them is there. Each run begins at 0."""
    os.environ[SHARED_DIR] = tempfile.mkdtemp(prefix="stentor-api-metrics-")


def child_exit(server: Any, worker: Any) -> None:
    """Forget what a process that has ended was just answering; what it has counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - it looks for the directory

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Remove the place."""
    shutil.rmtree(os.environ.pop(SHARED_DIR), ignore_errors=True)
