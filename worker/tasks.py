"""The tasks of workers: the doorbell, orders to a device, and io work."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from celery import shared_task

from stentor.doorbell import (
    BY_PERSON,
    CHECK_BULK,
    CHECK_RECORDING,
    JOIN_GROUPS,
    LOAD,
    PACK_ARCHIVE,
    REMOVE_CANCELED,
    REMOVE_RECORDINGS,
    SWEEP,
    SYNTHESIZE,
    UNLOAD,
)
from stentor.errors import UnavailableError
from stentor.redis.client import connect
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.bulks import archive, checking, groups
from worker.finishing import canceled
from worker.process.celery_app import worker_process
from worker.recordings.check import check
from worker.recordings.sweep import sweep as remove_unused
from worker.sweeps.sweeping import sweep as sweep_all

if TYPE_CHECKING:
    import celery

    Task = celery.Task[Any, Any]

#: Options of an io task that is retried until Redis and S3 answer again. A pause longer than the broker's visibility
#: timeout would deliver the task twice.
UNTIL_NEIGHBOURS_ARE_BACK: Final[dict[str, Any]] = {
    "bind": True,
    "autoretry_for": (UnavailableError,),
    "retry_backoff": 2,
    "retry_backoff_max": 300,
    "max_retries": 50,
}


def _settings(task: Task) -> Settings:
    return worker_process(task.app).settings


@shared_task(name=SYNTHESIZE, bind=True)
def synthesize(task: Task) -> None:
    """The doorbell: drain the lanes. A process that has grown too large ends afterwards; another takes its place."""
    device = worker_process(task.app).device
    if device and not device.drain():
        raise SystemExit(0)


@shared_task(name=LOAD, bind=True)
def load(task: Task, model: str | None = None) -> None:
    """Load a model on this device."""
    if device := worker_process(task.app).device:
        device.load(model)


@shared_task(name=UNLOAD, bind=True, acks_late=False)
def unload(task: Task, why: str = BY_PERSON, pid: str = "", spoke_at: str = "") -> None:
    """Unload all models of this device by ending its process; a light one takes its place.

    Acknowledged before it runs; otherwise the next process would get the order again.
    """
    device = worker_process(task.app).device
    if device and device.unload(why=why, pid=pid, spoke_at=spoke_at):
        raise SystemExit(0)


@shared_task(name=REMOVE_CANCELED, **UNTIL_NEIGHBOURS_ARE_BACK)
def remove_canceled(task: Task, job_id: str, key: str) -> None:
    """Remove the audio of a job that was canceled while it was spoken."""
    settings = _settings(task)
    with contextlib.closing(connect(settings)) as client:
        canceled.remove_canceled(client, settings, job_id, key)


@shared_task(name=CHECK_BULK, **UNTIL_NEIGHBOURS_ARE_BACK)
def check_bulk(task: Task, bulk_id: str) -> None:
    """Check the file of a bulk, and accept or refuse it."""
    checking.check(bulk_id, _settings(task))


@shared_task(name=PACK_ARCHIVE, **UNTIL_NEIGHBOURS_ARE_BACK)
def pack_archive(task: Task, bulk_id: str) -> None:
    """Pack the audio of a bulk into its archive."""
    archive.pack(bulk_id, _settings(task))


@shared_task(name=JOIN_GROUPS, **UNTIL_NEIGHBOURS_ARE_BACK)
def join_groups(task: Task, bulk_id: str) -> None:
    """Join the rows of each group of a bulk into one file."""
    groups.join(bulk_id, _settings(task))


@shared_task(name=CHECK_RECORDING, **UNTIL_NEIGHBOURS_ARE_BACK)
def check_recording(task: Task, owner: str, name: str, recording_id: str) -> None:
    """Make a voice of a recording that was uploaded, or record why that is impossible."""
    settings = _settings(task)
    check(connect(settings), Storage(settings), owner=owner, name=name, recording_id=recording_id)


@shared_task(name=REMOVE_RECORDINGS, bind=True)
def remove_recordings(task: Task) -> None:
    """Remove the recordings of deleted voices from S3; later those that are still used or cannot be removed now."""
    settings = _settings(task)
    remove_unused(connect(settings), Storage(settings))


@shared_task(name=SWEEP, bind=True)
def sweep(task: Task, token: str) -> None:
    """Repair what is stuck and remove what has expired, for the leader with this number. Runs every minute."""
    sweep_all(_settings(task), int(token))
