"""Bulks over HTTP: a file of texts going in, and what became of it coming out."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.schemas import RowErrorOut
from api.http.speech_fields import speech_answer, speech_request
from api.jobs.schemas import ErrorOut, JobPriority, MetadataName, MetadataValue
from stentor.bulks.bulk import BulkState, MakingState
from stentor.bulks.manifest import speech_columns
from stentor.jobs.job import MAX_METADATA, JobState, Priority
from stentor.speech import OneOf

ListedState = Annotated[BulkState, OneOf(BulkState)]
#: A row is never shown as running: it is so only in its lane.
RowState = Annotated[JobState, OneOf(state for state in JobState if state != JobState.RUNNING)]
ArchiveState = Annotated[MakingState, OneOf(state for state in MakingState if state != MakingState.JOINING)]
GroupsState = Annotated[MakingState, OneOf(state for state in MakingState if state != MakingState.PACKING)]
#: Longest name of a bulk, and longest address that is called back.
NAME_CHARS, URL_CHARS = 200, 2048


def _as_object(value: Any) -> Any:
    """A form has texts only: an object in it is written as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"it is not a JSON object ({exc})") from exc


def _as_flag(value: Any) -> Any:
    """`true` and `false`, as JSON has them; not `0`, `on` or `yes`, which the description does not know."""
    if isinstance(value, str) and value.lower() not in {"true", "false"}:
        raise ValueError("use true or false")
    return value


Flag = Annotated[bool, BeforeValidator(_as_flag)]
Metadata = Annotated[dict[MetadataName, MetadataValue], Field(max_length=MAX_METADATA), BeforeValidator(_as_object)]


@speech_request()
class BulkFields(BaseModel):
    """How the texts of a file are to be spoken; a row may say otherwise for itself."""

    model_config = ConfigDict(extra="forbid")

    cache: Flag = Field(True, description="`false`: speak rows even if equal jobs have been spoken.")
    priority: JobPriority = Field(Priority.BULK, description="Of all rows. `bulk` goes after everything else.")
    on_error: Literal["reject", "skip"] = Field(
        "reject", description="`reject`: a bad row refuses the file. `skip`: it fails, and the others are spoken."
    )
    dry_run: Flag = Field(False, description="Check the file and tell what came of it, and no more.")
    archive: Flag = Field(False, description="Pack the audio into an archive when all is spoken.")
    name: str | None = Field(None, max_length=NAME_CHARS, description="What to call it; the file's name if absent.")
    webhook_url: str | None = Field(None, max_length=URL_CHARS, description="URL that is notified when the bulk ends.")
    webhook_progress: Flag = Field(False, description="Tell `webhook_url` about progress too.")
    metadata: Metadata = Field(default_factory=dict, description="Yours; comes back with the bulk.")


class BulkForm(BulkFields):
    """The form without its file."""


class BulkSource(BulkFields):
    """A file that lies in S3 already."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: str = Field(
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+$",
        max_length=1200,
        description="`s3://bucket/key`; the bucket is one of `STENTOR_BULK_SOURCES`.",
    )


class CountsOut(BaseModel):
    """Rows by state; together they are `rows`. Those that are `cached` have succeeded."""

    rows: int
    queued: int
    running: int = Field(description="In lanes, or on a device.")
    succeeded: int
    failed: int
    canceled: int
    cached: int


class ManifestOut(BaseModel):
    """Where the manifest is."""

    jsonl: str
    csv: str


class ArchiveOut(BaseModel):
    """The archive, if it was asked for."""

    state: ArchiveState | None
    urls: list[str] = Field(description="Of its parts, when it is ready.")


class BulkOut(BaseModel):
    """A bulk: what was asked, how far it is, and where its results are. Times are RFC 3339 UTC."""

    id: str
    name: str
    state: ListedState
    dry_run: bool
    priority: JobPriority
    defaults: dict[str, Any]
    on_error: Literal["reject", "skip"]
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    settled_at: datetime | None
    counts: CountsOut
    rows_per_s: float | None
    audio_s: float = Field(description="Of the rows that have succeeded.")
    estimated_audio_s: float | None = Field(description="Of all rows.")
    device_s: float
    eta_s: float | None
    estimated_finish_at: datetime | None
    waits_for: str | None = Field(description="In words.")
    report: dict[str, Any] | None = Field(description="What checking the file has found.")
    errors: list[RowErrorOut] = Field(description="The first 100 of the file's errors.")
    errors_url: str | None
    manifest: ManifestOut | None
    archive: ArchiveOut
    groups: GroupsState | None
    retries: int
    webhook_url: str | None
    error: ErrorOut | None = Field(description="Why the file was refused.")


class BulkPageOut(BaseModel):
    """Part of a list, newest first; `next_cursor` asks for the rest."""

    bulks: list[BulkOut]
    next_cursor: str | None


@speech_answer(only=speech_columns())
class RowOut(BaseModel):
    """A line of the manifest."""

    row: int
    id: str
    state: RowState
    audio_key: str | None = None
    audio_url: str | None = None
    audio_s: float | None = None
    audio_bytes: int | None = None
    sha256: str | None = None
    error_code: str | None = None
    error_detail: str | None = None
    settled_at: datetime | None = None
    device: str | None = None
    attempts: int = 0
    cached: bool = False
    quality: dict[str, float] | None = None
    filename: str | None = None
    group: str | None = None
    job_id: str
    metadata: dict[str, Any]


class RowPageOut(BaseModel):
    """Part of a bulk's rows, in order; `next_cursor` asks for the rest."""

    rows: list[RowOut]
    next_cursor: int | None


class GroupOut(BaseModel):
    """The rows of one group as one file."""

    group: str
    state: Literal["waiting", "succeeded", "failed"]
    rows: int
    url: str | None = None
    audio_s: float | None = None
    audio_bytes: int | None = None
    sha256: str | None = None
    error: ErrorOut | None = None


class GroupPageOut(BaseModel):
    """Part of a bulk's groups; `next_cursor` asks for the rest."""

    groups: list[GroupOut]
    next_cursor: int | None


class BulkPath(BaseModel):
    """The bulk in a path."""

    bulk_id: str = Field(description="A bulk's id.")


class GroupPath(BulkPath):
    """The group in a path."""

    name: str = Field(description="The group, as in its column.")


class GetBulkQuery(BaseModel):
    """How long to wait for a bulk's end."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(0, ge=0, allow_inf_nan=False, description="Maximum number of seconds to wait for the end.")


class ListBulksQuery(BaseModel):
    """Which bulks to list."""

    model_config = ConfigDict(extra="forbid")

    state: ListedState | None = Field(None, description="Only bulks in this state.")
    limit: int = Field(50, ge=1, le=1000, description="Maximum number of results.")
    cursor: str | None = Field(None, pattern=r"^bulk_[0-9a-z]{26}$", description="`next_cursor` of the page before.")


class ListRowsQuery(BaseModel):
    """Which rows to list."""

    model_config = ConfigDict(extra="forbid")

    state: RowState | None = Field(None, description="Only rows in this state.")
    limit: int = Field(100, ge=1, le=1000, description="Maximum number of results.")
    cursor: int = Field(0, ge=0, le=2**53, description="`next_cursor` of the page before: rows after this one.")


class ListGroupsQuery(BaseModel):
    """Which groups to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=1000, description="Maximum number of results.")
    cursor: int = Field(0, ge=0, le=2**53, description="`next_cursor` of the page before.")


class ArchiveQuery(BaseModel):
    """Which part of an archive."""

    model_config = ConfigDict(extra="forbid")

    part: int = Field(1, ge=1, le=9999, description="Large archives have several.")
