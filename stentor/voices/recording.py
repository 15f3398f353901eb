"""The recording: an uploaded voice, what is known of it, and where it lies."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from stentor.errors import StentorError

CHECKING: Final = "checking"
READY: Final = "ready"
FAILED: Final = "failed"
#: checking -> ready | failed. Only a voice that is ready can speak.

#: What a voice may be called; as file names and URLs take it.
NAME_PATTERN: Final = r"^[A-Za-z0-9._-]+$"
MAX_NAME_CHARS: Final = 64
#: A tag as BCP 47 writes it (or with ``_``, as voices of models do): ``en``, ``en-GB``, ``zh-Hans-CN``.
LANGUAGE_PATTERN: Final = r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$"
#: A consent is a statement: who agrees to what. One word is none.
MIN_CONSENT_CHARS, MAX_CONSENT_CHARS = 10, 1000
MAX_TRANSCRIPT_CHARS: Final = 2000
#: Seconds of speech, silence at the ends aside, that a voice is made of.
MIN_SPEECH_S, MAX_SPEECH_S = 2.0, 60.0
#: What is kept of a recording: 16-bit PCM in a WAV file, mono, at this rate and loudness.
SAMPLE_RATE_HZ: Final = 24_000
LOUDNESS_LUFS: Final = -20.0
CONTENT_TYPE: Final = "audio/wav"


def upload_key(recording_id: str) -> str:
    """Where a recording lies in S3 as it came, until it is checked."""
    return f"voices/{recording_id}/upload"


def audio_key(sha256: str) -> str:
    """Where the audio of a voice lies in S3: it depends on the audio alone, so that the same is kept once."""
    return f"voices/audio/{sha256}.wav"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """One uploaded voice of an owner. Times are seconds since the epoch."""

    id: str
    name: str
    owner: str
    language: str
    #: Who agreed, and to what, in words.
    consent: str
    transcript: str | None = None
    created_at: float = dataclasses.field(default_factory=time.time)
    state: str = CHECKING
    #: Of the audio that is kept: digest, S3 key, seconds of speech.
    sha256: str | None = None
    key: str | None = None
    duration_s: float | None = None
    #: Of the recording as it came: speech over noise, share of samples at its own peak, its peak and loudness.
    snr_db: float | None = None
    clipped_share: float | None = None
    peak_dbfs: float | None = None
    loudness_lufs: float | None = None
    #: Of the file as it came: what libsndfile calls it, its rate, channels and seconds.
    original: Mapping[str, Any] | None = None
    error_code: str | None = None
    error_detail: str | None = None

    @property
    def checked(self) -> bool:
        """Whether it is known if it can be a voice."""
        return self.state != CHECKING

    def failed(self, error: StentorError) -> Recording:
        """The recording that ``error`` keeps from being a voice."""
        return dataclasses.replace(self, state=FAILED, error_code=error.code, error_detail=error.detail)

    def to_json(self) -> str:
        """The recording as one line of JSON, the form in which Redis keeps it."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Recording:
        """The recording that ``to_json`` wrote; fields that this release does not know are passed over."""
        data: dict[str, Any] = json.loads(line)
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})
