"""What a bench recorded about texts and devices, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from stentor.client.types import JobJson

#: State of a text that the API refused, and of one without an outcome when the bench stopped waiting.
REFUSED, UNSETTLED = "refused", "unsettled"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TextResult:
    """The result of one text. Times are seconds since the epoch by the service's clocks."""

    job_id: str | None
    priority: str
    state: str
    error: str | None = None
    audio_s: float = 0.0
    created_at: float | None = None
    started_at: float | None = None
    settled_at: float | None = None
    batch_id: str | None = None
    #: Number of segments in the forward pass, including those of other clients.
    batch_size: int = 0
    batch_padding: float = 0.0
    #: Seconds from sending until the client got the outcome, by the bench's clock; None if it was not watched.
    seen_after_s: float | None = None

    @classmethod
    def of(cls, job: JobJson, *, seen_after_s: float | None = None) -> Self:
        """The result of a settled job from the API."""
        batch, error = job["batch"], job["error"]
        return cls(
            job_id=job["id"],
            priority=job["priority"],
            state=job["state"],
            error=error["code"] if error else None,
            audio_s=job["audio_s"] or 0.0,
            created_at=_moment(job["created_at"]),
            started_at=_moment(job["started_at"]),
            settled_at=_moment(job["settled_at"]),
            batch_id=batch["id"] if batch else None,
            batch_size=batch["size"] if batch else 0,
            batch_padding=batch["padding"] if batch else 0.0,
            seen_after_s=seen_after_s,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """A report of a device. Its counters start at 0 with each process."""

    device: str
    pid: int
    state: str
    seen_at: float
    busy_s: float
    batches: int

    @classmethod
    def of(cls, device: Mapping[str, Any]) -> Self:
        """The report of a device from the API."""
        return cls(
            device=device["id"],
            pid=device["pid"],
            state=device["state"],
            seen_at=_moment(device["seen_at"]) or 0.0,
            busy_s=device["busy_s"],
            batches=device["batches"],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchRecording:
    """Everything that was recorded in one run."""

    texts: list[TextResult]
    beats: list[Beat]
    #: Maximum delay of a request against the plan, in seconds: then the bench itself was too slow.
    late_s: float


def _moment(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
