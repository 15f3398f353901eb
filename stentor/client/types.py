"""The types of the API's answers about jobs."""

from __future__ import annotations

from typing import TypedDict


class BatchJson(TypedDict):
    """The batch in which a job was spoken."""

    id: str
    size: int
    padding: float


class ErrorJson(TypedDict):
    """Why a job failed."""

    code: str
    detail: str
    retryable: bool


class JobJson(TypedDict):
    """A job in an answer of the API."""

    id: str
    state: str
    text_chars: int
    voice: str
    speed: float
    seed: int
    format: str
    sample_rate_hz: int | None
    priority: str
    metadata: dict[str, str]
    webhook_url: str | None
    created_at: str
    started_at: str | None
    settled_at: str | None
    attempts: int
    audio_s: float | None
    audio_bytes: int | None
    audio_url: str | None
    sha256: str | None
    cached: bool
    device: str | None
    batch: BatchJson | None
    quality: dict[str, float] | None
    error: ErrorJson | None
    bulk: str | None
    row: int | None


class JobPageJson(TypedDict):
    """One page of a list of jobs."""

    jobs: list[JobJson]
    next_cursor: str | None
