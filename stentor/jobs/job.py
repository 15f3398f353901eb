"""The job: one text to be spoken with one voice, its state, and how Redis keeps it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from ulid import ULID

from stentor.errors import StentorError
from stentor.speech import SpeechParams


class JobState(StrEnum):
    """queued -> running -> succeeded | failed | canceled; a crash moves running back to queued."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


#: States in which a job has its outcome.
SETTLED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})


class Priority(StrEnum):
    """Which jobs go first, from the most to the least urgent."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BULK = "bulk"


PRIORITIES: Final[tuple[str, ...]] = tuple(Priority)

#: Metadata of a job, a row or a bulk: most entries, longest name, longest value.
MAX_METADATA, MAX_METADATA_NAME_CHARS, MAX_METADATA_VALUE_CHARS = 16, 64, 512
#: How a job's record is to be read. It grows when an older release would read it wrongly, not for a new field that an
#: older one may pass over (docs/why/decisions/mixed-releases.md). Jobs without a version are of version 1; since
#: version 2 the speech parameters are one field.
VERSION: Final = 2


def new_id() -> str:
    """A new job id. Ids sort by the millisecond they were made in."""
    return f"job_{ULID()}".lower()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One text, how to speak it, and what became of it. Times are seconds since the epoch."""

    id: str
    version: int = 1
    owner: str
    #: The API key that submitted it, by its id; its limits and its usage count.
    key_id: str | None = None
    state: JobState = JobState.QUEUED
    text: str
    speech: SpeechParams
    model: str
    lane: str
    priority: Priority = Priority.STANDARD
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created_at: float = dataclasses.field(default_factory=time.time)
    #: URL that is notified of the outcome, in addition to the owner's endpoints.
    webhook_url: str | None = None
    #: The uploaded voice that it speaks with, by its id, and where that lies in S3.
    recording: str | None = None
    recording_key: str | None = None
    #: The bulk that it is a row of, the row (counted from 1), and the chunk that the row lies in.
    bulk: str | None = None
    row: int | None = None
    chunk: int | None = None
    #: Equal for jobs whose audio is the same; None if the job wants audio of its own.
    fingerprint: str | None = None
    #: The stream entry that holds the job in its lane; Redis gives it at submission.
    entry: str | None = None
    started_at: float | None = None
    settled_at: float | None = None
    #: How often the job was handed to a device.
    attempts: int = 0
    device: str | None = None
    batch_id: str | None = None
    #: Segments in the forward pass that spoke the job's last segment.
    batch_size: int | None = None
    #: Share of that pass's padded cost that was padding, 0..1.
    batch_padding: float | None = None
    audio_key: str | None = None
    audio_s: float | None = None
    audio_bytes: int | None = None
    sha256: str | None = None
    #: Time of a device that went into it: its share, by cost, of the forward passes that spoke it.
    device_s: float | None = None
    #: Whether the audio is that of an equal job.
    cached: bool = False
    quality: Mapping[str, float] | None = None
    error_code: str | None = None
    error_detail: str | None = None
    error_retryable: bool | None = None

    @property
    def settled(self) -> bool:
        """Whether the job has its outcome."""
        return self.state in SETTLED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What settling writes into a job: the audio, or the error that took its place."""

    state: JobState
    fields: Mapping[str, Any]

    @classmethod
    def failed(cls, error: StentorError) -> Outcome:
        """The outcome of a job that ``error`` ended."""
        return cls(
            state=JobState.FAILED,
            fields={
                "error_code": error.code,
                "error_detail": error.detail,
                "error_retryable": error.retryable,
            },
        )
