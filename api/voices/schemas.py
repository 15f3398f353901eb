"""Voices over HTTP: those of models, and those that were uploaded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from flask_openapi3.models.file import FileStorage
from pydantic import BaseModel, Field, field_validator

from api.http.uploads import FormModel
from api.jobs.schemas import ErrorOut
from stentor.voices import recording as recordings
from stentor.voices.recording import Recording
from stentor.voices.voice import Voice


class VoiceForm(FormModel):
    """A recording of somebody's speech, and that they agree to it."""

    name: str = Field(
        pattern=recordings.NAME_PATTERN,
        min_length=1,
        max_length=recordings.MAX_NAME_CHARS,
        description="What jobs will call it in `voice`.",
    )
    audio: FileStorage = Field(
        description=f"The recording: {recordings.MIN_SPEECH_S:g} to {recordings.MAX_SPEECH_S:g} s of one person's "
        "speech, in any format that libsndfile reads (WAV, FLAC, MP3, Ogg, AIFF, CAF, ...)."
    )
    consent: str = Field(
        min_length=recordings.MIN_CONSENT_CHARS,
        max_length=recordings.MAX_CONSENT_CHARS,
        pattern=r"\w",
        description="Who speaks in the recording, and that they agree to this use of their voice, in words.",
    )
    language: str = Field(pattern=recordings.LANGUAGE_PATTERN, description="Spoken in the recording: `en`, `en-GB`.")
    transcript: str | None = Field(None, max_length=recordings.MAX_TRANSCRIPT_CHARS, description="What is said in it.")

    @field_validator("audio")
    @classmethod
    def _is_a_file(cls, audio: object) -> object:
        if not hasattr(audio, "stream"):
            raise ValueError("a file is wanted, not a text")
        return audio


class OriginalOut(BaseModel):
    """The file as it came."""

    format: str = Field(description="What libsndfile calls it: `WAV/PCM_16`.")
    sample_rate_hz: int
    channels: int
    duration_s: float


class RecordingOut(BaseModel):
    """What is known of an uploaded voice. Figures are there when it is ready; `null` before."""

    state: Literal["checking", "ready", "failed"]
    created_at: datetime
    consent: str
    transcript: str | None
    duration_s: float | None = Field(description="Seconds of speech that are kept.")
    snr_db: float | None = Field(description="By how much its speech is louder than its pauses.")
    clipped_share: float | None = Field(description="Share of its samples that lie at its own peak, 0 to 1.")
    peak_dbfs: float | None
    loudness_lufs: float | None
    sha256: str | None = Field(description="Of the audio that is kept.")
    original: OriginalOut | None
    error: ErrorOut | None

    @classmethod
    def of(cls, recording: Recording) -> RecordingOut:
        """The recording as its owner sees it."""
        error = None
        if recording.error_code is not None:
            error = ErrorOut(code=recording.error_code, detail=recording.error_detail or "", retryable=False)
        same = ("state", "consent", "transcript", "duration_s", "snr_db", "clipped_share", "peak_dbfs", "loudness_lufs")
        return cls.model_validate(
            {
                **{name: getattr(recording, name) for name in same},
                "created_at": datetime.fromtimestamp(recording.created_at, UTC),
                "sha256": recording.sha256,
                "original": recording.original,
                "error": error,
            }
        )


class VoiceOut(BaseModel):
    """A named way to speak."""

    name: str
    id: str = Field(description="Also names it in a job. Of a model's voice the same as `name`.")
    kind: Literal["model", "recording"]
    languages: list[str]
    model: str | None = Field(description="Of a recording, the model that speaks with it; `null` if none here can.")
    engine: str | None
    sample_rate_hz: int | None
    speaker: str | None
    description: str
    default: bool
    recording: RecordingOut | None

    @classmethod
    def of_model(cls, voice: Voice, *, default: str) -> VoiceOut:
        """A voice that a model ships."""
        return cls(
            name=voice.name,
            id=voice.name,
            kind="model",
            languages=list(voice.languages),
            model=voice.model,
            engine=voice.engine,
            sample_rate_hz=voice.sample_rate_hz,
            speaker=voice.speaker,
            description=voice.description,
            default=voice.name == default,
            recording=None,
        )

    @classmethod
    def of_recording(cls, recording: Recording, speaks: Voice | None, *, default: str) -> VoiceOut:
        """A voice that was uploaded; ``speaks`` is one of the model that speaks with it."""
        return cls(
            name=recording.name,
            id=recording.id,
            kind="recording",
            languages=[recording.language],
            model=speaks.model if speaks else None,
            engine=speaks.engine if speaks else None,
            sample_rate_hz=speaks.sample_rate_hz if speaks else None,
            speaker=None,
            description="",
            default=recording.name == default,
            recording=RecordingOut.of(recording),
        )


class VoicesOut(BaseModel):
    """All voices that the key's owner can name: the models', then the uploaded ones."""

    voices: list[VoiceOut]


class VoicePath(BaseModel):
    """The voice in a path."""

    voice: str = Field(description="Its name or id.")
