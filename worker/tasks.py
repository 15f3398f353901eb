"""The tasks that workers hear: the doorbell, orders to a device, and io work."""

from __future__ import annotations

import contextlib
from typing import Any, Final

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
from stentor.storage.s3 import Storage
from worker.app import Process, app
from worker.bulks import archive, checking, groups
from worker.finishing import canceled
from worker.recordings.check import check
from worker.recordings.sweep import sweep as remove_unused
from worker.sweeps.sweeping import sweep as sweep_all

#: Options of an io task that does its work when Redis and S3 are there again. No pause is longer than the broker's
#: visibility timeout, for then the task would be delivered twice.
UNTIL_NEIGHBOURS_ARE_BACK: Final[dict[str, Any]] = {
    "bind": True,
    "autoretry_for": (UnavailableError,),
    "retry_backoff": 2,
    "retry_backoff_max": 300,
    "max_retries": 50,
}


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
def unload(why: str = BY_PERSON, pid: str = "", spoke_at: str = "") -> None:
    """Take all models off this device by ending its process; a light one takes its place.

    Acknowledged before it runs, for else the next process would find the order again.
    """
    if Process.device and Process.device.unload(why=why, pid=pid, spoke_at=spoke_at):
        raise SystemExit(0)


@app.task(name=REMOVE_CANCELED, **UNTIL_NEIGHBOURS_ARE_BACK)
def remove_canceled(_: Any, job_id: str, key: str) -> None:
    """Remove the audio of a job that was canceled while it was spoken."""
    with contextlib.closing(connect(Process.settings)) as client:
        canceled.remove_canceled(client, Process.settings, job_id, key)


@app.task(name=CHECK_BULK, **UNTIL_NEIGHBOURS_ARE_BACK)
def check_bulk(_: Any, bulk_id: str) -> None:
    """Check the file of a bulk, and accept or refuse it."""
    checking.check(bulk_id, Process.settings)


@app.task(name=PACK_ARCHIVE, **UNTIL_NEIGHBOURS_ARE_BACK)
def pack_archive(_: Any, bulk_id: str) -> None:
    """Pack the audio of a bulk into its archive."""
    archive.pack(bulk_id, Process.settings)


@app.task(name=JOIN_GROUPS, **UNTIL_NEIGHBOURS_ARE_BACK)
def join_groups(_: Any, bulk_id: str) -> None:
    """Join the rows of each group of a bulk into one file."""
    groups.join(bulk_id, Process.settings)


@app.task(name=CHECK_RECORDING, **UNTIL_NEIGHBOURS_ARE_BACK)
def check_recording(_: Any, owner: str, name: str, recording_id: str) -> None:
    """Make a voice of a recording that was uploaded, or say why not."""
    client = connect(Process.settings)
    check(client, Storage(Process.settings), owner=owner, name=name, recording_id=recording_id)


@app.task(name=REMOVE_RECORDINGS)
def remove_recordings() -> None:
    """Remove what lies in S3 of deleted voices; what is still used, or cannot be removed now, goes later."""
    remove_unused(connect(Process.settings), Storage(Process.settings))


@app.task(name=SWEEP)
def sweep(token: str) -> None:
    """Repair what got stuck and remove what has expired, for the leader of that number. The next comes in a minute."""
    sweep_all(Process.settings, int(token))
