"""What goes in and out over HTTP, as pydantic models: the source of the OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, RootModel, Tag

from stentor.devices.clocks import ClocksReport
from stentor.devices.overrides import Override
from stentor.devices.registry import DeviceStatus
from stentor.formats import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from stentor.jobs.job import DEFAULT_SEED, MAX_SPEED, MIN_SPEED, Job
from stentor.webhooks.webhook import MAX_URL_CHARS

State = Literal["queued", "running", "succeeded", "failed", "canceled"]
Priority = Literal["interactive", "standard", "bulk"]
Format = Literal["wav", "flac", "mp3", "ogg"]


def _whole(value: Any) -> Any:
    """JSON has one kind of number, and JSON Schema calls 2.0 an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(_whole)]
SampleRate = Annotated[int, Field(ge=MIN_SAMPLE_RATE_HZ, le=MAX_SAMPLE_RATE_HZ), BeforeValidator(_whole)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class JobRequest(BaseModel):
    """One text to be spoken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(description="What to say.", examples=["Your parcel arrives on Tuesday."])
    voice: str | None = Field(None, description="A name from `GET /v1/voices`; the service's default voice if absent.")
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False, description="2 speaks in half the time.")
    seed: Seed = Field(DEFAULT_SEED, description="The same request with the same seed gives the same audio.")
    format: Format = Field("wav", description="`wav` is 16-bit PCM, `ogg` is Opus.")
    sample_rate_hz: SampleRate | None = Field(None, description="The voice's own rate if absent.")
    priority: Priority = Field("standard", description="`interactive` goes first, `bulk` last.")
    cache: bool = Field(True, description="`false`: speak it even if an equal job has been spoken.")
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict, max_length=16, description="Yours; comes back with the job."
    )
    webhook_url: str | None = Field(
        None, max_length=MAX_URL_CHARS, description="Is told the outcome, beside your endpoints."
    )


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


class JobOut(BaseModel):
    """A job: what was asked, where it stands, and what became of it. Times are RFC 3339 UTC."""

    id: str
    state: State
    text_chars: int
    voice: str
    speed: float
    seed: int
    format: Format
    sample_rate_hz: int | None
    priority: Priority
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
                "voice": job.voice,
                "speed": job.speed,
                "seed": job.seed,
                "format": job.format,
                "sample_rate_hz": job.sample_rate_hz,
                "priority": job.priority,
                "metadata": dict(job.metadata),
                "webhook_url": job.webhook_url,
                "created_at": _time(job.created_at),
                "started_at": _time(job.started_at),
                "settled_at": _time(job.settled_at),
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


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class JobsOut(BaseModel):
    """Jobs in the order in which they were sent."""

    jobs: list[JobOut]


class SubmittedOut(RootModel[JobOut | JobsOut]):
    """The job that was sent, or the list of them."""


class JobPageOut(JobsOut):
    """Part of a list, newest first; `next_cursor` asks for the rest."""

    next_cursor: str | None


class OverrideOut(BaseModel):
    """What a person wants of a device, whatever the policy says."""

    residency: Literal["auto", "resident", "unloaded"]
    clocks: Literal["auto", "low", "normal"]
    by: str = Field(description="The name of the API key that asked for it.")
    at: datetime
    expires_at: datetime | None = Field(description="When it ends by itself; null for never.")

    @classmethod
    def of(cls, override: Override) -> OverrideOut:
        """The override as clients see it."""
        times = {"at": _time(override.at), "expires_at": _time(override.expires_at)}
        return cls.model_validate({**vars(override), **times})


class DeviceOut(BaseModel):
    """What a device reported last, and what is wanted of it."""

    id: str
    pid: int
    state: Literal["starting", "idle", "busy", "unloaded", "failed", "gone"]
    model: str | None
    models: list[str]
    started_at: datetime
    seen_at: datetime
    loaded_at: datetime | None = Field(description="When the resident model came; null without one.")
    load_s: float | None = Field(description="How long that took.")
    spoke_at: datetime | None = Field(description="When this process spoke last.")
    gpu: str | None = Field(description="The GPU's UUID, as NVML tells it.")
    node: str | None = Field(description="The machine that it is on, where `STENTOR_NODE` tells.")
    clocks: str | None = Field(description="`low`, `normal` or `unavailable`; null while no scheduler tells.")
    override: OverrideOut | None
    reason: str | None = Field(description="Why the policy wants its model to stay or to leave.")
    clocks_reason: str | None = Field(description="Why its clocks are as they are, or are to be.")
    error: str | None
    batches: int
    audio_s: float
    busy_s: float

    @classmethod
    def of(
        cls,
        status: DeviceStatus,
        *,
        override: Override | None = None,
        want: Mapping[str, Any] = MappingProxyType({}),
        clocks: ClocksReport | None = None,
    ) -> DeviceOut:
        """The device as clients see it, with what the schedulers have told of it."""
        return cls.model_validate(
            {
                **vars(status),
                "models": list(status.models),
                **{name: _time(getattr(status, name)) for name in ("started_at", "seen_at", "loaded_at", "spoke_at")},
                "override": override and OverrideOut.of(override),
                "reason": want.get("residency_reason"),
                "clocks": clocks and clocks.state,
                "clocks_reason": (clocks and clocks.reason) or want.get("clocks_reason"),
            }
        )


class DevicesOut(BaseModel):
    """All devices that ever reported."""

    devices: list[DeviceOut]


class HealthOut(BaseModel):
    """The api's process answers."""

    status: Literal["ok"] = "ok"


class CheckOut(BaseModel):
    """One thing that is needed."""

    ok: bool
    detail: str


class ReadyOut(BaseModel):
    """Whether texts sent now would be spoken now."""

    ready: bool
    checks: dict[str, CheckOut]


class FieldErrorOut(BaseModel):
    """One wrong field of a request."""

    field: str
    code: str
    detail: str


class RowErrorOut(BaseModel):
    """One thing that is wrong with a file."""

    row: int = Field(description="Counted from 1 after the header; 0 is the header, or the whole file.")
    column: str = Field(description="Empty when the whole row is meant.")
    code: str
    detail: str


class ProblemOut(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    errors: list[FieldErrorOut | RowErrorOut] | None = None
    bulk_id: str | None = Field(None, description="Of a file that was refused.")
    errors_url: str | None = Field(None, description="All errors of that file.")
    error_counts: dict[str, int] | None = Field(None, description="How often the file has which error.")


class JobPath(BaseModel):
    """The job in a path."""

    job_id: str = Field(description="A job's id.")


class DeviceWish(BaseModel):
    """How long a device is to stay as it is ordered. The body may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    for_s: float | None = Field(
        None,
        gt=0,
        le=10 * 365 * 86_400,
        allow_inf_nan=False,
        description="In seconds; null for as long as nobody says otherwise.",
    )


class ClocksWish(DeviceWish):
    """How the clocks of a device are to be."""

    clocks: Literal["low", "normal", "auto"]


class DevicePath(BaseModel):
    """The device in a path: both parts of its id."""

    host: str = Field(description="The machine it is in.")
    device: str = Field(description="Its name there: `cpu`, `cuda:0`.")


class GetJobQuery(BaseModel):
    """How long to wait for a job's outcome."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(0, ge=0, allow_inf_nan=False, description="Wait so many seconds for the outcome.")


class GetAudioQuery(BaseModel):
    """How to get a job's audio."""

    model_config = ConfigDict(extra="forbid")

    inline: bool = Field(False, description="The bytes themselves instead of a redirect to the storage.")


class ListJobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = Field(None, description="Only jobs in this state.")
    limit: int = Field(50, ge=1, le=1000, description="At most so many.")
    cursor: str | None = Field(None, pattern=r"^job_[0-9a-z]{26}$", description="`next_cursor` of the page before.")


class NoQuery(BaseModel):
    """An endpoint that takes no parameters."""

    model_config = ConfigDict(extra="forbid")
