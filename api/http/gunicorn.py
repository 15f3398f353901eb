"""gunicorn's configuration in addition to the options that ``stentor api`` sets: its log, and shared metrics.

gunicorn calls the functions of this module by name, in its master process.
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

#: Not imported from ``api.http.metrics``, which would import prometheus-client before the directory exists.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"

logger_class = "api.http.gunicorn_log.JsonLogger"


def on_starting(server: Any) -> None:
    """Create the directory for the counts of all processes before they start. Each run begins at 0."""
    os.environ[SHARED_DIR] = tempfile.mkdtemp(prefix="stentor-api-metrics-")
    _import_application()


def _import_application() -> None:
    """Import the application once, before the processes are forked: this is most of a start, and they share the memory.

    None of it is garbage, so it is frozen: https://docs.python.org/3/library/gc.html#gc.freeze.
    """
    gc.disable()
    from celery import Celery  # noqa: F401, PLC0415 - `celery` alone imports next to nothing

    import api.app  # noqa: F401, PLC0415 - `api.http.metrics` needs the directory

    gc.freeze()
    gc.enable()


def post_worker_init(worker: Any) -> None:
    """On SIGTERM, answer requests that only wait, so that a stop takes no longer than the work in progress."""
    outcomes = worker.wsgi.extensions["stentor"].outcomes

    def stop(number: int, frame: Any) -> None:
        worker.handle_exit(number, frame)
        # In a thread, because it takes a lock and another signal may interrupt this one.
        threading.Thread(target=outcomes.end, name="end", daemon=True).start()

    signal.signal(signal.SIGTERM, stop)


def child_exit(server: Any, worker: Any) -> None:
    """Forget the requests in flight of a process that has ended; its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - it needs the directory

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Remove the directory of shared counts."""
    shutil.rmtree(os.environ.pop(SHARED_DIR), ignore_errors=True)
    ignore_stop_signals()
