"""Removing what lies in S3 of deleted voices, as soon as nothing needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import redis

from stentor import log
from stentor.bulks.bulk import ENDED
from stentor.jobs.job import JobState
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list
from stentor.storage.s3 import Storage
from stentor.voices.recording import Recording, upload_key
from stentor.voices.recording_store import RecordingStore

_log = log.get(__name__)

#: How long one may store or remove an object while others wait, in seconds: S3 is given up after less.
LOCK_S = 90


@contextlib.contextmanager
def storing(client: redis.Redis, sha256: str) -> Iterator[None]:
    """Within, nobody else stores or removes the audio of this digest: a voice that comes while another with the same
    audio goes would else lose it.
    """
    with redis_errors(), client.lock(f"{keys.recordings_of(sha256)}:lock", timeout=LOCK_S, blocking_timeout=LOCK_S):
        yield


def sweep(client: redis.Redis, storage: Storage) -> int:
    """How many deleted voices are gone now: those that no job or bulk in flight speaks with.

    Doing it twice, or at two places at once, removes nothing more.

    Raises:
        RedisUnavailable, StorageUnavailable: a neighbour is away; what is left goes next time.
    """
    unused = [
        recording for recording in RecordingStore(client).list_deleted() if not _drop_old_uses(client, recording.id)
    ]
    for recording in unused:
        _remove(client, storage, recording)
    return len(unused)


def _drop_old_uses(client: redis.Redis, recording_id: str) -> bool:
    """Whether a job or a bulk that has no outcome yet speaks with it; what is over is taken out of its uses."""
    with redis_errors():
        uses = text_list(client.smembers(keys.recording_uses(recording_id)))
        pipe = client.pipeline(transaction=False)
        for use in uses:
            pipe.hget(keys.bulk(use) if use.startswith("bulk_") else keys.job(use), "state")
        states = pipe.execute()
        over = [use for use, state in zip(uses, states, strict=True) if not _in_flight(use, state)]
        if over:
            client.srem(keys.recording_uses(recording_id), *over)
    return len(over) < len(uses)


def _in_flight(use: str, state: str | None) -> bool:
    if use.startswith("bulk_"):
        return state is not None and state not in ENDED
    return state in {JobState.QUEUED, JobState.RUNNING}


def _remove(client: redis.Redis, storage: Storage, recording: Recording) -> None:
    storage.delete(upload_key(recording.id))
    if recording.sha256 and recording.key:
        with storing(client, recording.sha256), redis_errors():
            others = keys.recordings_of(recording.sha256)
            client.srem(others, recording.id)
            if not client.scard(others):
                storage.delete(recording.key)
    with redis_errors():
        client.delete(keys.recording_uses(recording.id))
        # Last: should this process end before, the next sweep does all of it again.
        client.hdel(keys.DELETED_RECORDINGS, recording.id)
    _log.info("recording_removed", voice_id=recording.id)
