"""The uploaded voices of each owner, in Redis."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import redis

from stentor.errors import VoiceExists, VoiceNotFound
from stentor.jobs.store import EVENTS_KEPT
from stentor.redis import keys
from stentor.redis.client import redis_errors, script, text_map
from stentor.voices.recording import Recording


class RecordingStore:
    """Uploaded voices. Safe for threads.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._put = script(client, "voices/put")
        self._delete = script(client, "voices/delete")

    def add(self, recording: Recording) -> Recording:
        """Store a recording to be checked; it replaces a failed one with its name. Adding it twice is no error.

        Raises:
            VoiceExists: the owner has a voice with this name.
        """
        if not self._write(recording, "new"):
            raise VoiceExists(f"You already have a voice {recording.name!r}. Delete it, or choose another name.")
        return recording

    def end_check(self, recording: Recording) -> bool:
        """Store the result of a check, unless one is stored; False if the recording was deleted meanwhile."""
        return self._write(recording, "checked")

    def _write(self, recording: Recording, mode: str) -> bool:
        with redis_errors():
            answer = self._put(
                keys=[keys.recordings(recording.owner), keys.EVENTS],
                args=[recording.name, recording.id, mode, recording.to_json(), recording.state, EVENTS_KEPT],
            )
        return bool(answer)

    def list(self, owner: str) -> list[Recording]:
        """The owner's recordings, sorted by name."""
        with redis_errors():
            lines = text_map(self._client.hgetall(keys.recordings(owner)))
        return [Recording.from_json(line) for _, line in sorted(lines.items())]

    def find(self, name: str, owner: str) -> Recording | None:
        """The owner's recording with that name or id, or None."""
        with redis_errors():
            line = self._client.hget(keys.recordings(owner), name)
        if line is not None:
            return Recording.from_json(str(line))
        if not name.startswith("voice_"):
            return None
        return next((recording for recording in self.list(owner) if recording.id == name), None)

    def get(self, name: str, owner: str) -> Recording:
        """The owner's recording with that name or id.

        Raises:
            VoiceNotFound: this owner has none.
        """
        recording = self.find(name, owner)
        if recording is None:
            raise VoiceNotFound(f"You have no uploaded voice {name!r}.")
        return recording

    def delete(self, name: str, owner: str) -> Recording:
        """Delete a recording. ``deleted`` returns it until its objects in S3 are removed.

        Raises:
            VoiceNotFound: this owner has no such recording.
        """
        recording = self.get(name, owner)
        with redis_errors():
            deleted = self._delete(
                keys=[keys.recordings(owner), keys.DELETED_RECORDINGS], args=[recording.name, recording.id]
            )
        if not deleted:
            raise VoiceNotFound(f"You have no uploaded voice {name!r}.")
        return recording

    def list_deleted(self, ids: Collection[str] | None = None) -> Iterable[Recording]:
        """Deleted recordings that may still have objects in S3: all, or those with these ids."""
        if ids is not None and not ids:
            return []
        with redis_errors():
            if ids is None:
                lines = list(text_map(self._client.hgetall(keys.DELETED_RECORDINGS)).values())
            else:
                lines = [str(line) for line in self._client.hmget(keys.DELETED_RECORDINGS, list(ids)) if line]
        return [Recording.from_json(line) for line in lines]
