"""What a bench has seen of texts and devices, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from stentor.client.types import JobJson

#: State of a text that the API did not take, and of one that had no outcome when the bench gave up.
REFUSED, UNSETTLED = "refused", "unsettled"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """What became of one text. Moments are seconds since the epoch by the service's clocks."""

    job_id: str | None
    priority: str
    state: str
    error: str | None = None
    audio_s: float = 0.0
    created_at: float | None = None
    started_at: float | None = None
    settled_at: float | None = None
    batch_id: str | None = None
    #: Segments in the forward pass, those of other clients included.
    batch_size: int = 0
    batch_padding: float = 0.0
    #: From sending to seeing the outcome by the bench's own clock; None for a text that was not watched.
    seen_after_s: float | None = None

    @classmethod
    def of(cls, job: JobJson, *, seen_after_s: float | None = None) -> Self:
        """What the API tells of a settled job."""
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
    """What a device reported at one moment; its counters begin at 0 with each of its processes."""

    device: str
    pid: int
    state: str
    seen_at: float
    busy_s: float
    batches: int

    @classmethod
    def of(cls, device: Mapping[str, Any]) -> Self:
        """What the API tells of a device."""
        return cls(
            device=device["id"],
            pid=device["pid"],
            state=device["state"],
            seen_at=_moment(device["seen_at"]) or 0.0,
            busy_s=device["busy_s"],
            batches=device["batches"],
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything that was seen in one run."""

    texts: list[Spoken]
    beats: list[Beat]
    #: How much later than planned a request was sent, at most: the bench itself was too slow then.
    late_s: float


def _moment(time: str | None) -> float | None:
    return None if time is None else datetime.fromisoformat(time).timestamp()
