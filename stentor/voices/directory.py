"""Which voice a name means: one that a model ships, or one that its owner has uploaded."""

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

#: How long the voices that workers registered are believed without looking again, in seconds.
VOICES_GOOD_FOR_S = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnersVoices:
    """The voices that one owner can name, as they were at one moment; looking one up asks nobody."""

    models: Mapping[str, Voice]
    recordings: Mapping[str, Recording]

    def get(self, name: str) -> Voice:
        """The voice of that name or id.

        Raises:
            VoiceUnknown: no model has it, and the owner has uploaded none that is ready.
            VoicesUnknown: no worker has registered any voice yet.
            CloningUnsupported: it is a recording, and no model here can speak with one.
        """
        voice = self.models.get(name)
        if voice is not None:
            return voice
        recording = self.recordings.get(name)
        if recording is None:
            if not self.models:
                raise VoicesUnknown("no worker has registered a voice yet; start one, then try again")
            raise VoiceUnknown(f"there is no voice {name!r}; GET /v1/voices lists the {len(self.models)} of the models")
        return cloned(recording, self.models)


def cloned(recording: Recording, models: Mapping[str, Voice]) -> Voice:
    """The voice of a recording, spoken by the first model (by name) that can clone.

    Raises:
        VoiceUnknown: the recording is not ready.
        CloningUnsupported: no model can clone.
    """
    if recording.state != READY:
        raise VoiceUnknown(f"the voice {recording.name!r} is {recording.state}; one that is ready is wanted")
    model = cloning_model(models)
    if model is None:
        raise CloningUnsupported(
            f"the voice {recording.name!r} is a recording, and none of the models here can speak with one: "
            f"{', '.join(sorted({voice.model for voice in models.values()})) or 'there are none'}"
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
    """A voice of the first model (by name) that speaks with the voice of a recording; None if there is none."""
    return min((voice for voice in models.values() if voice.cloning), key=lambda voice: voice.model, default=None)


class VoiceDirectory:
    """All voices. Those that workers registered are remembered for a moment. Safe for threads.

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
        return self._known(VOICES_GOOD_FOR_S)

    def get(self, name: str, owner: str) -> Voice:
        """The voice that this name, or id, means for this owner. A model's goes before a recording of its name.

        Raises:
            VoiceUnknown, VoicesUnknown, CloningUnsupported: as ``OwnersVoices.get``.
        """
        voice = self._known(VOICES_GOOD_FOR_S).get(name)
        if voice is not None:
            return voice
        recording = self._recordings.find(name, owner)
        models = self._known(VOICES_GOOD_FOR_S if recording and cloning_model(self._voices) else 0)
        return OwnersVoices(models=models, recordings={name: recording} if recording else {}).get(name)

    def of(self, owner: str, *, kept: Collection[str] = ()) -> OwnersVoices:
        """All voices that an owner can name now, to look up many.

        ``kept`` are ids of recordings that a bulk was accepted with: they are found even if they have been deleted
        since, and go before others of their name.
        """
        recordings = self._recordings.list(owner)
        last = [recording for recording in recordings if recording.id in kept]
        gone = [found for found in self._recordings.deleted(kept) if found.owner == owner]
        found = {key: one for one in (*recordings, *gone, *last) for key in (one.name, one.id)}
        return OwnersVoices(models=self._known(0), recordings=found)

    def _known(self, good_for_s: float) -> dict[str, Voice]:
        with self._lock:
            if time.monotonic() - self._read_at >= good_for_s:
                with redis_errors():
                    lines = text_map(self._client.hgetall(keys.VOICES))
                self._voices = {name: Voice.from_json(line) for name, line in lines.items()}
                self._read_at = time.monotonic()
            return self._voices
