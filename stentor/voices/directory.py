"""Lookup of voices by name: those that models ship, and those that owners have uploaded."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Collection, Mapping

import redis

from stentor.errors import CloningUnsupported, VoicesUnknown, VoiceUnknown
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map
from stentor.voices.recording import READY, Recording
from stentor.voices.recording_store import RecordingStore
from stentor.voices.voice import Voice

#: How long the voices that workers registered are cached, in seconds.
VOICES_GOOD_FOR_S = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnersVoices:
    """The voices that one owner can name, at one moment. Lookups do not use Redis."""

    models: Mapping[str, Voice]
    recordings: Mapping[str, Recording]

    def get(self, name: str) -> Voice:
        """The voice with that name or id.

        Raises:
            VoiceUnknown: no model has it, and the owner has no such recording that is ready.
            VoicesUnknown: no worker has registered any voice yet.
            CloningUnsupported: it is a recording, and no loaded model can clone.
        """
        voice = self.models.get(name)
        if voice is not None:
            return voice
        recording = self.recordings.get(name)
        if recording is None:
            if not self.models:
                raise VoicesUnknown("No worker has registered a voice yet. Start a worker, then try again.")
            raise VoiceUnknown(
                f'Unknown voice "{name}". GET /v1/voices lists all voices. Voice names are case-sensitive.'
            )
        return cloned_voice(recording, self.models)


def cloned_voice(recording: Recording, models: Mapping[str, Voice]) -> Voice:
    """The voice of a recording, spoken by the first model (by name) that can clone.

    Raises:
        VoiceUnknown: the recording is not ready.
        CloningUnsupported: no model can clone.
    """
    if recording.state != READY:
        raise VoiceUnknown(f"Voice {recording.name!r} is {recording.state}. Only a voice that is ready can speak.")
    model = cloning_model(models)
    if model is None:
        raise CloningUnsupported(
            f"Voice {recording.name!r} is a recording, and no model here can clone voices. Models: "
            f"{', '.join(sorted({voice.model for voice in models.values()})) or 'none'}."
        )
    return Voice(
        name=recording.name,
        model=model.model,
        engine=model.engine,
        languages=(recording.language,),
        sample_rate_hz=model.sample_rate_hz,
        description=f"a recording of {recording.duration_s or 0:.1f} s",
        recording=recording.id,
        recording_key=recording.key,
        # The weights shape the audio, and so does the recording.
        revision=f"{model.revision}+{recording.sha256}",
    )


def cloning_model(models: Mapping[str, Voice]) -> Voice | None:
    """A voice of the first model (by name) that can clone; None if no model can."""
    return min((voice for voice in models.values() if voice.cloning), key=lambda voice: voice.model, default=None)


class VoiceDirectory:
    """All voices. Those that workers registered are cached for a moment. Safe for threads.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._recordings = RecordingStore(client)
        self._lock = threading.Lock()
        self._voices: dict[str, Voice] = {}
        self._read_at = float("-inf")

    def all(self) -> list[Voice]:
        """The voices of models, by name."""
        return [voice for _, voice in sorted(self.models().items())]

    def models(self) -> Mapping[str, Voice]:
        """The voices of models."""
        return self._models(VOICES_GOOD_FOR_S)

    def get(self, name: str, owner: str) -> Voice:
        """The owner's voice with this name or id. A model's voice takes precedence over a recording with its name.

        Raises:
            VoiceUnknown, VoicesUnknown, CloningUnsupported: as ``OwnersVoices.get``.
        """
        voice = self._models(VOICES_GOOD_FOR_S).get(name)
        if voice is not None:
            return voice
        recording = self._recordings.find(name, owner)
        models = self._models(VOICES_GOOD_FOR_S if recording and cloning_model(self._voices) else 0)
        return OwnersVoices(models=models, recordings={name: recording} if recording else {}).get(name)

    def of(self, owner: str, *, kept: Collection[str] = ()) -> OwnersVoices:
        """All voices that an owner can name now, for many lookups.

        ``kept`` are ids of recordings that a bulk was accepted with. They are found even if they were deleted since,
        and take precedence over others with their name.
        """
        recordings = self._recordings.list(owner)
        last = [recording for recording in recordings if recording.id in kept]
        gone = [found for found in self._recordings.list_deleted(kept) if found.owner == owner]
        found = {key: one for one in (*recordings, *gone, *last) for key in (one.name, one.id)}
        return OwnersVoices(models=self._models(0), recordings=found)

    def _models(self, good_for_s: float) -> dict[str, Voice]:
        with self._lock:
            if time.monotonic() - self._read_at >= good_for_s:
                with redis_errors():
                    lines = text_map(self._client.hgetall(keys.VOICES))
                self._voices = {name: Voice.from_json(line) for name, line in lines.items()}
                self._read_at = time.monotonic()
            return self._voices
