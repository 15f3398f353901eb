"""The Celery app of device workers and io workers: its configuration, and what happens in which process.

A worker with ``STENTOR_WORKER_DEVICE`` has one prefork child, and that child is the device: engines, claims and
heartbeats live there. Whenever it ends, Celery starts another, which takes over what it left.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import celery
import redis
from celery.signals import (
    celeryd_init,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from stentor import log
from stentor.cli import exit_codes
from stentor.devices.registry import device_id
from stentor.doorbell import create_celery
from stentor.errors import DeviceTaken
from stentor.redis import keys
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.signals import ignore_stop_signals
from worker.device.lease import DeviceLease
from worker.device.process import DeviceProcess
from worker.device.wiring import build_device
from worker.process import celery_log
from worker.process.blackbox import BlackBox
from worker.process.io import IoServices

_log = log.get(__name__)

#: Seconds after which Celery takes a child that does not start for stuck: loading a large model takes minutes.
START_S = 900
#: An io worker's heartbeat: how often it is sent, and after how long without one the worker is gone, in seconds.
BEAT_EVERY_S, BEAT_GOOD_FOR_S = 5, 20
#: Where the app's configuration keeps the ``WorkerProcess``.
_PROCESS = "stentor_worker_process"


def create_app(environ: Mapping[str, str]) -> celery.Celery:
    """The app with its tasks; settings are read here, once."""
    settings = Settings.from_environ(environ)
    app = create_celery(settings)
    app.conf.update(
        imports=["worker.tasks"],
        worker_pool="worker.process.pool:DevicePool",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=START_S,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_max_retries=None,
        worker_send_task_events=False,
    )
    app.conf[_PROCESS] = WorkerProcess(settings, app)
    return app


def worker_process(app: celery.Celery) -> WorkerProcess:
    """This process of the app's worker."""
    found: WorkerProcess = app.conf[_PROCESS]
    return found


class WorkerProcess:
    """A process of a worker: the parent, or a child that is a device or offers io services."""

    def __init__(self, settings: Settings, app: celery.Celery) -> None:
        self.settings = settings
        #: In the child of a device worker.
        self.device: DeviceProcess | None = None
        self._app = app
        self._io: IoServices | None = None
        #: In the parent of a device worker.
        self._lease: DeviceLease | None = None
        #: Made by the parent, which holds it too, so that it outlives the child that writes it.
        self._box: BlackBox | None = None
        #: Whether the worker stops: written by the parent, read by the child that drains. It has no lock, unlike an
        #: event of multiprocessing: a signal handler writes it, which a second signal may interrupt, and a child that
        #: is killed while it reads would keep the lock for ever.
        self._stop_flag = mmap.mmap(-1, 1)
        self._connect()

    def _connect(self) -> None:
        # The first comes before Celery warns of anything; the second keeps it from setting up a log of its own.
        celeryd_init.connect(self._set_up_logging)
        setup_logging.connect(self._set_up_logging)
        worker_init.connect(self._start_parent)
        worker_ready.connect(self._start_beat)
        worker_process_init.connect(self._start_child)
        worker_process_shutdown.connect(self._stop_child)
        worker_shutting_down.connect(self._tell_child)
        worker_shutdown.connect(self._stop_parent)

    def _set_up_logging(self, **_: Any) -> None:
        celery_log.set_up(self.settings)

    def _start_parent(self, **_: Any) -> None:
        """Take the device's lease before a child takes over what its predecessor left, which must not live any more."""
        settings = self.settings
        if not settings.worker_device:
            return
        self._box = BlackBox()
        lease = DeviceLease(connect(settings), device_id(settings.host, settings.worker_device), on_lost=_end)
        try:
            lease.acquire()
        except DeviceTaken as exc:
            _log.error(exc.code, reason=exc.detail)
            raise SystemExit(exit_codes.of(exc)) from exc
        self._lease = lease

    def _stop_parent(self, **_: Any) -> None:
        if self._lease:
            self._lease.release()
        ignore_stop_signals()

    def _start_child(self, **_: Any) -> None:
        device = self.settings.worker_device
        if device:
            assert self._box is not None
            self.device = build_device(self.settings, self._app, device, self._box, stopping=self._is_stopping)
            self.device.start()
        else:
            self._io = IoServices(self.settings)
            self._io.start()

    def _stop_child(self, **_: Any) -> None:
        if self.device:
            self.device.stop()
        if self._io:
            self._io.stop()

    def _tell_child(self, sig: str, **_: Any) -> None:
        self._stop_flag[0] = True
        if sig == "SIGTERM":
            # Celery would end with 1 for a Ctrl-C that comes now, and kill the pass for a second one.
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _is_stopping(self) -> bool:
        return bool(self._stop_flag[0])

    def _start_beat(self, sender: Any, **_: Any) -> None:
        """Report that an io worker runs: it has no device that would report, so its parent does."""
        if not self.settings.worker_device:
            name = str(sender.hostname).partition("@")[0]
            threading.Thread(target=self._beat, args=(name,), name="beat", daemon=True).start()

    def _beat(self, name: str) -> None:
        client = connect(self.settings)
        while True:
            try:
                client.set(keys.beat(name, self.settings.host), os.getpid(), ex=BEAT_GOOD_FOR_S)
            except redis.RedisError as exc:
                _log.warning("heartbeat_missed", reason=str(exc))
            time.sleep(BEAT_EVERY_S)


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
