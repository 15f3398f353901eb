"""Recordings: uploaded voices, their figures, and their S3 keys."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from stentor.errors import StentorError

#: checking -> ready | failed. Only a voice that is ready can speak.
CHECKING: Final = "checking"
READY: Final = "ready"
FAILED: Final = "failed"
#: checking -> ready | failed. Only a voice that is ready can speak.

#: Allowed names of voices; they are safe in file names and URLs.
NAME_PATTERN: Final = r"^[A-Za-z0-9._-]+$"
MAX_NAME_CHARS: Final = 64
#: A BCP 47 tag (or with ``_``, as in voices of models): ``en``, ``en-GB``, ``zh-Hans-CN``.
LANGUAGE_PATTERN: Final = r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$"
#: A consent is a statement of who agrees to what. One word is not enough.
MIN_CONSENT_CHARS, MAX_CONSENT_CHARS = 10, 1000
MAX_TRANSCRIPT_CHARS: Final = 2000
#: Seconds of speech that a voice needs, without silence at its ends.
MIN_SPEECH_S, MAX_SPEECH_S = 2.0, 60.0
#: Form of the stored audio: 16-bit PCM in a WAV file, mono, at this rate and loudness.
SAMPLE_RATE_HZ: Final = 24_000
LOUDNESS_LUFS: Final = -20.0
CONTENT_TYPE: Final = "audio/wav"


def upload_key(recording_id: str) -> str:
    """S3 key of an uploaded recording until it is checked."""
    return f"voices/{recording_id}/upload"


def audio_key(sha256: str) -> str:
    """S3 key of the audio of a voice. It depends on the audio alone, so that equal audio is stored once."""
    return f"voices/audio/{sha256}.wav"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """One uploaded voice of an owner. Times are seconds since the epoch."""

    id: str
    name: str
    owner: str
    language: str
    #: A statement of who agreed, and to what.
    consent: str
    transcript: str | None = None
    created_at: float = dataclasses.field(default_factory=time.time)
    state: str = CHECKING
    #: Of the stored audio: digest, S3 key, seconds of speech.
    sha256: str | None = None
    key: str | None = None
    duration_s: float | None = None
    #: Of the upload: ratio of speech to noise, share of samples at its peak, its peak and loudness.
    snr_db: float | None = None
    clipped_share: float | None = None
    peak_dbfs: float | None = None
    loudness_lufs: float | None = None
    #: Of the uploaded file: libsndfile's name of its format, its rate, channels and seconds.
    original: Mapping[str, Any] | None = None
    error_code: str | None = None
    error_detail: str | None = None

    @property
    def is_checked(self) -> bool:
        """Whether its check has ended."""
        return self.state != CHECKING

    def with_error(self, error: StentorError) -> Recording:
        """A copy whose check has failed with ``error``."""
        return dataclasses.replace(self, state=FAILED, error_code=error.code, error_detail=error.detail)

    def to_json(self) -> str:
        """The recording as one line of JSON, the form that Redis stores."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Recording:
        """The recording that ``to_json`` wrote; fields that this release does not know are ignored."""
        data: dict[str, Any] = json.loads(line)
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})
