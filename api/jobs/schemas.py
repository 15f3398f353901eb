"""Jobs over HTTP, as pydantic models: the source of the OpenAPI description."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag

from api.http.speech_fields import speech_answer, speech_request
from stentor.jobs.job import (
    MAX_METADATA,
    MAX_METADATA_NAME_CHARS,
    MAX_METADATA_VALUE_CHARS,
    Job,
    JobState,
    Priority,
)
from stentor.speech import OneOf, SpeechParams
from stentor.times import utc_time
from stentor.webhooks.webhook import MAX_URL_CHARS

State = Annotated[JobState, OneOf(JobState)]
JobPriority = Annotated[Priority, OneOf(Priority)]
MetadataName = Annotated[str, Field(min_length=1, max_length=MAX_METADATA_NAME_CHARS)]
MetadataValue = Annotated[str, Field(max_length=MAX_METADATA_VALUE_CHARS)]


@speech_request()
class JobRequest(BaseModel):
    """One text to be spoken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(description="What to say.", examples=["Your parcel arrives on Tuesday."])
    priority: JobPriority = Field(Priority.STANDARD, description="`interactive` goes first, `bulk` last.")
    cache: bool = Field(True, description="`false`: speak it even if an equal job has been spoken.")
    metadata: dict[MetadataName, MetadataValue] = Field(
        default_factory=dict, max_length=MAX_METADATA, description="Yours; comes back with the job."
    )
    webhook_url: str | None = Field(
        None, max_length=MAX_URL_CHARS, description="Receives the outcome, in addition to your endpoints."
    )

    def speech(self, voice: str) -> SpeechParams:
        """How to speak the text, with the voice of this name."""
        return SpeechParams.pick(vars(self), voice=voice)


class JobListRequest(BaseModel):
    """Several texts to be spoken; all are accepted or none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: list[JobRequest] = Field(min_length=1)


def _one_or_many(body: Any) -> str:
    return "many" if isinstance(body, dict) and "jobs" in body else "one"


class SubmitRequest(
    RootModel[
        Annotated[
            Annotated[JobRequest, Tag("one")] | Annotated[JobListRequest, Tag("many")], Discriminator(_one_or_many)
        ]
    ]
):
    """One job, or a list of them under `jobs`."""


class ErrorOut(BaseModel):
    """Why a job failed."""

    code: str
    detail: str
    retryable: bool


class BatchOut(BaseModel):
    """The forward pass that spoke the job (its last segment, if it has several)."""

    id: str
    size: int = Field(description="Segments in the pass, of all clients.")
    padding: float = Field(description="Share of the pass that was padding, 0 to 1.")


@speech_answer()
class JobOut(BaseModel):
    """A job: what was asked, where it stands, and what became of it. Times are RFC 3339 UTC."""

    id: str
    state: State
    text_chars: int
    priority: JobPriority
    metadata: dict[str, str]
    webhook_url: str | None
    created_at: datetime
    started_at: datetime | None
    settled_at: datetime | None
    attempts: int = Field(description="How often the job was handed to a device.")
    device: str | None
    batch: BatchOut | None
    audio_s: float | None
    audio_bytes: int | None
    audio_url: str | None = Field(description="Presigned: good for a while, without a key.")
    sha256: str | None
    cached: bool
    quality: dict[str, float] | None
    error: ErrorOut | None
    bulk: str | None = Field(description="The bulk that it is a row of.")
    row: int | None = Field(description="The row, counted from 1.")

    @classmethod
    def of(cls, job: Job, audio_url: str | None) -> JobOut:
        """The job as clients see it."""
        batch = error = None
        if job.batch_id is not None:
            batch = BatchOut(id=job.batch_id, size=job.batch_size or 0, padding=job.batch_padding or 0.0)
        if job.error_code is not None:
            error = ErrorOut(code=job.error_code, detail=job.error_detail or "", retryable=bool(job.error_retryable))
        return cls.model_validate(
            {
                "id": job.id,
                "state": job.state,
                "text_chars": len(job.text),
                **job.speech.values(),
                "priority": job.priority,
                "metadata": dict(job.metadata),
                "webhook_url": job.webhook_url,
                "created_at": utc_time(job.created_at),
                "started_at": utc_time(job.started_at),
                "settled_at": utc_time(job.settled_at),
                "attempts": job.attempts,
                "device": job.device,
                "batch": batch,
                "audio_s": job.audio_s,
                "audio_bytes": job.audio_bytes,
                "audio_url": audio_url,
                "sha256": job.sha256,
                "cached": job.cached,
                "quality": job.quality,
                "error": error,
                "bulk": job.bulk,
                "row": job.row,
            }
        )


class JobsOut(BaseModel):
    """Jobs in the order in which they were sent."""

    jobs: list[JobOut]


class SubmittedOut(RootModel[JobOut | JobsOut]):
    """The job that was sent, or the list of them."""


class JobPageOut(JobsOut):
    """Part of a list, newest first; `next_cursor` asks for the rest."""

    next_cursor: str | None


class JobPath(BaseModel):
    """The job in a path."""

    job_id: str = Field(description="A job's id.")


class GetJobQuery(BaseModel):
    """How long to wait for a job's outcome."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(0, ge=0, allow_inf_nan=False, description="How many seconds to wait for the outcome.")


class GetAudioQuery(BaseModel):
    """How to get a job's audio."""

    model_config = ConfigDict(extra="forbid")

    inline: bool = Field(False, description="The bytes themselves instead of a redirect to the storage.")


class ListJobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = Field(None, description="Only jobs in this state.")
    limit: int = Field(50, ge=1, le=1000, description="Maximum number of results.")
    cursor: str | None = Field(None, pattern=r"^job_[0-9a-z]{26}$", description="`next_cursor` of the page before.")
