"""Voices in HTTP requests and responses: those of models, and uploaded ones."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from flask_openapi3.models.file import FileStorage
from pydantic import BaseModel, Field, field_validator

from api.http.uploads import FormModel
from api.jobs.schemas import ErrorOut
from stentor.times import utc_time
from stentor.voices import recording as recordings
from stentor.voices.recording import Recording
from stentor.voices.voice import Voice


class VoiceForm(FormModel):
    """A recording of a person's speech, and their consent."""

    name: str = Field(
        pattern=recordings.NAME_PATTERN,
        min_length=1,
        max_length=recordings.MAX_NAME_CHARS,
        description="The name that jobs use in `voice`.",
    )
    audio: FileStorage = Field(
        description=f"The recording: {recordings.MIN_SPEECH_S:g} to {recordings.MAX_SPEECH_S:g} s of one person's "
        "speech, in any format that libsndfile reads (WAV, FLAC, MP3, Ogg, AIFF, CAF, ...)."
    )
    consent: str = Field(
        min_length=recordings.MIN_CONSENT_CHARS,
        max_length=recordings.MAX_CONSENT_CHARS,
        pattern=r"\w",
        description="A sentence that says who speaks in the recording, and that they agree to this use of their voice.",
    )
    language: str = Field(pattern=recordings.LANGUAGE_PATTERN, description="Spoken language, such as `en` or `en-GB`.")
    transcript: str | None = Field(None, max_length=recordings.MAX_TRANSCRIPT_CHARS, description="The spoken words.")

    @field_validator("audio")
    @classmethod
    def _require_file(cls, audio: object) -> object:
        if not hasattr(audio, "stream"):
            raise ValueError("This field is a text. Send a file.")
        return audio


class OriginalOut(BaseModel):
    """The file as uploaded."""

    format: str = Field(description="The format in libsndfile's terms, such as `WAV/PCM_16`.")
    sample_rate_hz: int
    channels: int
    duration_s: float


class RecordingOut(BaseModel):
    """An uploaded voice. Figures are `null` until it is ready."""

    state: Literal["checking", "ready", "failed"]
    created_at: datetime
    consent: str
    transcript: str | None
    duration_s: float | None = Field(description="Seconds of stored speech.")
    snr_db: float | None = Field(description="How much louder the speech is than the pauses, in dB.")
    clipped_share: float | None = Field(description="Share of the samples that are at the peak, 0 to 1.")
    peak_dbfs: float | None
    loudness_lufs: float | None
    sha256: str | None = Field(description="SHA-256 of the stored audio.")
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
                "created_at": utc_time(recording.created_at),
                "sha256": recording.sha256,
                "original": recording.original,
                "error": error,
            }
        )


class VoiceOut(BaseModel):
    """A named way to speak."""

    name: str
    id: str = Field(description="Jobs may use it instead of the name. The id of a model's voice is its name.")
    kind: Literal["model", "recording"]
    languages: list[str]
    model: str | None = Field(description="For a recording: the model that speaks with it; `null` if no model can.")
    engine: str | None
    sample_rate_hz: int | None
    speaker: str | None
    description: str
    default: bool
    recording: RecordingOut | None

    @classmethod
    def of_model(cls, voice: Voice, *, default: str) -> VoiceOut:
        """A voice of a model."""
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
        """An uploaded voice; ``speaks`` is a voice of the model that speaks with it."""
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
    """All voices that the key's owner can name: those of the models, then the uploaded ones."""

    voices: list[VoiceOut]


class VoicePath(BaseModel):
    """The voice in a path."""

    voice: str = Field(description="The name or id of the voice.")
