"""gunicorn's configuration, beside what ``stentor api`` says on the command line: its log lines, and shared counts.

gunicorn calls the functions of this module by their names, in its master process.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import threading
from typing import Any

from stentor.signals import ignore_stop_signals

#: Not taken from ``api.http.metrics``, which would import prometheus-client before there is a directory.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"

logger_class = "api.http.gunicorn_log.JsonLogger"


def on_starting(server: Any) -> None:
    """Make a place for the counts of all processes, before any of them is there. Each run begins at 0."""
    os.environ[SHARED_DIR] = tempfile.mkdtemp(prefix="stentor-api-metrics-")
    _import_once()


def _import_once() -> None:
    """Do what takes most of a start once, before there are processes, and not in each; they share the memory, too.

    Nothing of it is garbage, so nobody looks: https://docs.python.org/3/library/gc.html#gc.freeze.
    """
    gc.disable()
    from celery import Celery  # noqa: F401, PLC0415 - `celery` alone imports next to nothing

    import api.app  # noqa: F401, PLC0415 - `api.http.metrics` wants the directory

    gc.freeze()
    gc.enable()


def post_worker_init(worker: Any) -> None:
    """On SIGTERM, have requests answer that only wait: a stop takes as long as the work, and nobody is cut off."""
    outcomes = worker.wsgi.extensions["stentor"].outcomes

    def stop(number: int, frame: Any) -> None:
        worker.handle_exit(number, frame)
        # In a thread, for it takes a lock, and another signal may come in the middle of this one.
        threading.Thread(target=outcomes.end, name="end", daemon=True).start()

    signal.signal(signal.SIGTERM, stop)


def child_exit(server: Any, worker: Any) -> None:
    """Forget what a process that has ended was just answering; what it has counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - it looks for the directory

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Remove the place."""
    shutil.rmtree(os.environ.pop(SHARED_DIR), ignore_errors=True)
    ignore_stop_signals()
