"""Removes audio that was uploaded for a job after the job had been canceled."""

from __future__ import annotations

import redis

from stentor import log
from stentor.bulks.bulk import row_of
from stentor.bulks.manifest import Results
from stentor.bulks.store import BulkStore
from stentor.jobs.job import JobState
from stentor.redis import keys
from stentor.redis.client import redis_errors
from stentor.settings import Settings
from stentor.storage.s3 import Storage

_log = log.get(__name__)


def remove_canceled(client: redis.Redis, settings: Settings, job_id: str, key: str) -> bool:
    """Remove the object if the job was canceled; False if it was not, because another device may have spoken it.

    Raises:
        RedisUnavailable, StorageUnavailable: one of them does not answer; a retry helps.
    """
    storage = Storage(settings)
    if _state_of(client, settings, storage, job_id) != JobState.CANCELED:
        return False
    storage.delete(key)
    _log.info("canceled_audio_removed", job_id=job_id)
    return True


def _state_of(client: redis.Redis, settings: Settings, storage: Storage, job_id: str) -> str | None:
    with redis_errors():
        state = client.hget(keys.job(job_id), "state")
    if state is not None:
        return str(state)
    # A bulk row's hash is removed with its outcome. The bulk's own state says nothing about rows spoken before.
    if (place := row_of(job_id)) is None:
        return None
    store = BulkStore(client, retention_s=settings.retention_s)
    bulk = store.glance(place[0])
    row = Results(store, storage).row(bulk, place[1]) if bulk else None
    return row.state if row else None
