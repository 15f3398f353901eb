"""The tasks that workers hear: the doorbell, orders to a device, and io work."""

from __future__ import annotations

from typing import Any

from stentor import keys, log
from stentor.doorbell import CHECK_RECORDING, LOAD, REMOVE_CANCELED, REMOVE_RECORDINGS, SYNTHESIZE, UNLOAD
from stentor.errors import RedisUnavailable, StorageUnavailable
from stentor.formats import FORMATS
from stentor.job import CANCELED, Job
from stentor.record import from_fields
from stentor.redis_client import connect, redis_errors, text_map
from stentor.storage import Storage, audio_key
from worker.app import Process, app
from worker.recordings.check import check
from worker.recordings.sweep import sweep

_log = log.get(__name__)


@app.task(name=SYNTHESIZE)
def synthesize() -> None:
    """The doorbell: drain the lanes. A process that has grown too large ends afterwards; another takes its place."""
    if Process.device and not Process.device.drain():
        raise SystemExit(0)


@app.task(name=LOAD)
def load(model: str | None = None) -> None:
    """Bring a model onto this device."""
    if Process.device:
        Process.device.load(model)


@app.task(name=UNLOAD, acks_late=False)
def unload() -> None:
    """Take all models off this device by ending its process; a light one takes its place.

    Acknowledged before it runs, for else the next process would find the order again.
    """
    if Process.device:
        Process.device.unload()
        raise SystemExit(0)


@app.task(
    name=REMOVE_CANCELED,
    bind=True,
    autoretry_for=(StorageUnavailable,),
    retry_backoff=5,
    retry_backoff_max=600,
    max_retries=20,
)
def remove_canceled(_: Any, job_id: str) -> None:
    """Remove the audio of a job that was canceled while it was spoken."""
    with redis_errors():
        fields = text_map(connect(Process.settings).hgetall(keys.job(job_id)))
    if fields.get("state") != CANCELED:
        return
    job = from_fields(Job, fields)
    Storage(Process.settings).delete(audio_key(job.id, job.created_at, FORMATS[job.format].extension))
    _log.info("canceled_audio_removed", job_id=job_id)


@app.task(
    name=CHECK_RECORDING,
    bind=True,
    autoretry_for=(RedisUnavailable, StorageUnavailable),
    retry_backoff=2,
    retry_backoff_max=600,
    max_retries=20,
)
def check_recording(_: Any, owner: str, name: str, recording_id: str) -> None:
    """Make a voice of a recording that was uploaded, or say why not."""
    client = connect(Process.settings)
    check(client, Storage(Process.settings), owner=owner, name=name, recording_id=recording_id)


@app.task(name=REMOVE_RECORDINGS)
def remove_recordings() -> None:
    """Remove what lies in S3 of voices that were just deleted. What is still used, or cannot be removed now, goes later."""
    sweep(connect(Process.settings), Storage(Process.settings))
