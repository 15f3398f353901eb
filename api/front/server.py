"""``python -m api.front.server``: the API's processes. ``stentor api`` becomes this."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from stentor import log
from stentor.settings import Settings
from stentor.signals import ignore_stop_signals

#: Not taken from ``api.http.metrics``, which would import prometheus-client before the directory exists.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"
#: How long a connection may be silent, and a head may take, in ms. Such a connection costs a socket and no thread, so
#: this is longer than the 60 s after which load balancers close an idle connection: they close first.
HEAD_TIMEOUT_MS = 75_000
#: How often a process checks that its parent is there, and how long it finishes requests without one, in seconds.
PARENT_CHECK_S, GRACE_AFTER_PARENT_S = 0.5, 5.0
#: Connections of one process. Each costs about 20 kB.
CONNECTIONS = 8192
#: Connections that wait in the kernel to be accepted.
BACKLOG = 2048
#: granian's own messages go to our handlers, as events like all others.
LOGGING: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


@click.command()
@click.argument("host")
@click.argument("port", type=int)
@click.option("--threads", type=int, required=True, help="Threads of each process.")
@click.option("--workers", type=int, required=True, help="Processes.")
@click.option("--grace", type=int, required=True, help="Seconds to finish requests after SIGTERM.")
def main(host: str, port: int, threads: int, workers: int, grace: int) -> None:
    """Serve the API on HOST and PORT until SIGTERM or SIGINT."""
    log.configure(Settings.from_environ(os.environ), room="api")
    _raise_file_limit()
    with _shared_counts():
        _import_once()
        server = Granian(
            "api",
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            workers=workers,
            http=HTTPModes.http1,
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_TIMEOUT_MS),
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=grace,
            log_level=LogLevels.warning,
            log_dictconfig=LOGGING,
        )
        server.serve(target_loader=lambda: _create_front(threads), wrap_loader=False)
    ignore_stop_signals()


def _create_front(threads: int) -> Any:
    """The application of one process."""
    from api.app import create_app  # noqa: PLC0415 - `_import_once` has imported it, in the first process
    from api.front.app import Front  # noqa: PLC0415

    flask = create_app(threads=threads)
    outcomes = flask.extensions["stentor"].outcomes

    def end_waits(_number: int, _frame: Any) -> None:
        # In a thread, for it takes a lock, and another signal may come in the middle of this one. granian stops, too:
        # its event loop hears of the signal through a descriptor.
        threading.Thread(target=outcomes.end, name="end", daemon=True).start()

    def start() -> None:
        signal.signal(signal.SIGTERM, end_waits)
        threading.Thread(target=_end_with, args=(os.getppid(),), name="parent", daemon=True).start()

    return Front(flask, threads=threads, on_start=start)


def _end_with(parent: int) -> None:
    """Stop this process when its parent is gone: a killed parent could not stop it, and it would go on serving."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PARENT_CHECK_S + GRACE_AFTER_PARENT_S)
    os._exit(1)


def _import_once() -> None:
    """Import once, before the processes are forked: it takes most of a start, and they share the memory.

    None of it is garbage, so the collector skips it: https://docs.python.org/3/library/gc.html#gc.freeze.
    """
    gc.disable()
    from celery import Celery  # noqa: F401, PLC0415 - `celery` alone imports next to nothing

    import api.app  # noqa: F401, PLC0415 - `api.http.metrics` wants the directory

    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def _shared_counts() -> Iterator[None]:
    """A directory for the counts of all processes. Each run begins at 0."""
    directory = tempfile.mkdtemp(prefix="stentor-api-metrics-")
    os.environ[SHARED_DIR] = directory
    try:
        yield
    finally:
        shutil.rmtree(Path(directory), ignore_errors=True)


def _raise_file_limit() -> None:
    """Allow as many sockets as the system lets this process have: 1,024 is a common default."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
