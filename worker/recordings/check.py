"""Checking an uploaded recording, and making a voice of it."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path

import redis

from stentor import log
from stentor.errors import AudioNotFound, RecordingError, RecordingUnreadable
from stentor.redis import keys
from stentor.redis.client import redis_errors
from stentor.storage.s3 import Storage
from stentor.voices.recording import CONTENT_TYPE, READY, Recording, audio_key, upload_key
from stentor.voices.recording_store import RecordingStore
from worker.recordings.sandbox import decode
from worker.recordings.sweep import storing, sweep

_log = log.get(__name__)


def check(client: redis.Redis, storage: Storage, *, owner: str, name: str, recording_id: str) -> None:
    """Make a voice of a recording that was uploaded, or say why not; doing it again changes nothing.

    Raises:
        RedisUnavailable, StorageUnavailable: a neighbour is away; the recording is to be checked again.
    """
    store = RecordingStore(client)
    recording = store.find(name, owner)
    if recording is not None and recording.id == recording_id and not recording.is_checked:
        checked = _process(client, storage, recording)
        _log.info(
            "recording_checked",
            voice_id=recording.id,
            state=checked.state,
            code=checked.error_code,
            audio_s=checked.duration_s,
        )
        if not store.end_check(checked) and checked.sha256:
            _forget(client, storage, checked)
    storage.delete(upload_key(recording_id))


def _process(client: redis.Redis, storage: Storage, recording: Recording) -> Recording:
    with tempfile.TemporaryDirectory(prefix="stentor-recording-") as folder:
        source = Path(folder) / "upload"
        try:
            storage.fetch(upload_key(recording.id), source)
            decoded = decode(source, Path(folder))
        except AudioNotFound:
            return recording.with_error(RecordingUnreadable("the upload was removed before it was checked"))
        except RecordingError as exc:
            return recording.with_error(exc)
        body = decoded.path.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    key = audio_key(sha256)
    with storing(client, sha256), redis_errors():
        client.sadd(keys.recordings_of(sha256), recording.id)
        storage.put(key, body, content_type=CONTENT_TYPE)
    return dataclasses.replace(recording, state=READY, sha256=sha256, key=key, **decoded.figures)


def _forget(client: redis.Redis, storage: Storage, recording: Recording) -> None:
    """Remove the audio of a voice that was deleted while it was being checked."""
    with redis_errors():
        client.hset(keys.DELETED_RECORDINGS, recording.id, recording.to_json())
    sweep(client, storage)
