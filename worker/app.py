"""The Celery app of device workers and io workers: what is configured, and what happens in which process.

A worker with ``STENTOR_WORKER_DEVICE`` has one prefork child, and that child is the device: engines, claims and
heartbeats live there. When it ends, for whatever reason, Celery starts another, which takes over what it left.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
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
from worker.device.process import Device
from worker.process import celery_log
from worker.process.blackbox import BlackBox
from worker.process.io import IoServices

_log = log.get(__name__)

#: Seconds that a child may take until Celery takes it for stuck: loading a large model takes minutes.
START_S = 900
#: An io worker's heartbeat: how often, and after how long without one it is gone, in seconds.
BEAT_EVERY_S, BEAT_GOOD_FOR_S = 5, 20

#: Whether the worker was told to stop: written by its parent, read by the child that drains. It has no lock, unlike an
#: event of multiprocessing: a signal handler writes it, which a second signal may interrupt, and a child that is killed
#: while it reads would keep the lock for ever.
_stopping = mmap.mmap(-1, 1)
#: Outlives the child that writes it, for the parent holds it too.
_box = BlackBox()


class Process:
    """What this process is; a child of a device worker has a device, one of an io worker has services."""

    settings: Settings
    device: Device | None = None
    io: IoServices | None = None
    #: Of the parent of a device's process.
    acting: DeviceLease | None = None


def create_app() -> celery.Celery:
    """The app with its tasks. Settings are read here, once."""
    Process.settings = Settings.from_environ(os.environ)
    made = create_celery(Process.settings)
    made.conf.update(
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
    return made


# The first comes before Celery warns of anything; the second keeps it from setting up a log of its own.
@celeryd_init.connect
@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    celery_log.set_up(Process.settings)


@worker_init.connect
def _act(**_: Any) -> None:
    """Before a child takes back what its predecessor has left: that must be nobody who is alive."""
    settings = Process.settings
    if settings.worker_device:
        acting = DeviceLease(connect(settings), device_id(settings.host, settings.worker_device), lost=_end)
        try:
            acting.begin()
        except DeviceTaken as exc:
            _log.error(exc.code, reason=exc.detail)
            raise SystemExit(exit_codes.of(exc)) from exc
        Process.acting = acting


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@worker_shutdown.connect
def _leave(**_: Any) -> None:
    if Process.acting:
        Process.acting.end()
    ignore_stop_signals()


@worker_process_init.connect
def _start(**_: Any) -> None:
    device = Process.settings.worker_device
    if device:
        Process.device = Device(Process.settings, app, device, _box, stopping=_is_stopping)
        Process.device.start()
    else:
        Process.io = IoServices(Process.settings)
        Process.io.start()


@worker_process_shutdown.connect
def _stop(**_: Any) -> None:
    if Process.device:
        Process.device.stop()
    if Process.io:
        Process.io.stop()


@worker_shutting_down.connect
def _tell_child(sig: str, **_: Any) -> None:
    _stopping[0] = True
    if sig == "SIGTERM":
        # Celery would end with 1 for a Ctrl-C that comes now, and kill the pass for a second one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _is_stopping() -> bool:
    return bool(_stopping[0])


@worker_ready.connect
def _beat(sender: Any, **_: Any) -> None:
    """An io worker has no device that could report for it: its parent says that it is there."""
    if not Process.settings.worker_device:
        name = str(sender.hostname).partition("@")[0]
        threading.Thread(target=_beat_until_the_end, args=(name,), name="beat", daemon=True).start()


def _beat_until_the_end(name: str) -> None:
    client = connect(Process.settings)
    while True:
        try:
            client.set(keys.beat(name, Process.settings.host), os.getpid(), ex=BEAT_GOOD_FOR_S)
        except redis.RedisError as exc:
            _log.warning("heartbeat_missed", reason=str(exc))
        time.sleep(BEAT_EVERY_S)


app = create_app()
