"""The job: one text to be spoken with one voice, its state, and how Redis keeps it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Final

from ulid import ULID

from stentor.errors import StentorError

QUEUED: Final = "queued"
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELED: Final = "canceled"
#: queued -> running -> succeeded | failed | canceled; a crash moves running back to queued.
STATES: Final = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED)
SETTLED: Final = frozenset({SUCCEEDED, FAILED, CANCELED})

#: From the most to the least urgent.
PRIORITIES: Final = ("interactive", "standard", "bulk")
#: How what a job asks for is to be read. It grows when an older release would read it wrongly, not for a new field
#: that an older one may pass over (docs/why/decisions/mixed-releases.md). Jobs without a version are of 1.
VERSION: Final = 1
#: Who does not choose a seed gets this one, so that the same request gives the same bytes.
DEFAULT_SEED: Final = 0
#: How much faster or slower than its own pace a voice can be asked to speak.
MIN_SPEED, MAX_SPEED = 0.25, 4.0


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
    state: str = QUEUED
    text: str
    voice: str
    model: str
    lane: str
    speed: float = 1.0
    seed: int = DEFAULT_SEED
    format: str = "wav"
    #: Sample rate that was asked for; None keeps the voice's own.
    sample_rate_hz: int | None = None
    priority: str = "standard"
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created_at: float = dataclasses.field(default_factory=time.time)
    #: Where the outcome is told, beside the owner's endpoints.
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

    state: str
    fields: Mapping[str, Any]

    @classmethod
    def failed(cls, error: StentorError) -> Outcome:
        """The outcome of a job that ``error`` ended."""
        return cls(
            state=FAILED,
            fields={
                "error_code": error.code,
                "error_detail": error.detail,
                "error_retryable": error.retryable,
            },
        )
