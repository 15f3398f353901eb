"""The bulk: many jobs submitted as one file, its state and counts, and where its parts lie."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from ulid import ULID

from stentor.jobs.job import Priority


class BulkState(StrEnum):
    """checking -> waiting -> running <-> paused -> succeeded | canceled; a refused file: checking -> failed.

    ``succeeded`` says that every row has an outcome; rows that failed are in the counts.
    """

    CHECKING = "checking"
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


ENDED: Final = frozenset({BulkState.SUCCEEDED, BulkState.FAILED, BulkState.CANCELED})


class MakingState(StrEnum):
    """How far an archive, or the joining of groups, is."""

    WAITING = "waiting"
    PACKING = "packing"
    JOINING = "joining"
    READY = "ready"
    FAILED = "failed"


#: States in which nothing more is made.
MADE: Final = frozenset({MakingState.READY, MakingState.FAILED})

#: As ``stentor.jobs.job.VERSION``: of the bulk's hash, and of its rows in S3.
VERSION: Final = 1
#: Rows of one object in S3. They enter the lanes and leave Redis in this unit.
CHUNK_ROWS: Final = 1000


def new_id() -> str:
    """A new bulk id. Ids sort by the millisecond they were made in."""
    return f"bulk_{ULID()}".lower()


def job_id(bulk_id: str, row: int) -> str:
    """The id of the job of a row: it says where it comes from, and asking for it again gives the same."""
    return f"job_{bulk_id.removeprefix('bulk_')}_{row}"


def row_of(job_id: str) -> tuple[str, int] | None:
    """The bulk and the row of a job of this id; None if it is no row of a bulk."""
    kind, _, rest = job_id.partition("_")
    ulid, _, row = rest.partition("_")
    return (f"bulk_{ulid}", int(row)) if kind == "job" and row.isascii() and row.isdigit() else None


def chunk_of(row: int) -> int:
    """The chunk that a row (counted from 1) lies in, counted from 0."""
    return (row - 1) // CHUNK_ROWS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bulk:
    """One file of texts, how to speak them, and how far they are. Times are seconds since the epoch."""

    id: str
    version: int = 1
    owner: str
    key_id: str | None = None
    state: BulkState = BulkState.CHECKING
    #: The name that the file came with.
    name: str = ""
    #: S3 key of the file as it came; or the address that the client named, ``s3://bucket/key``.
    source: str = ""
    #: What rows get that do not say it themselves: voice, speed, seed, format, sample_rate_hz, cache, ...
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    priority: Priority = Priority.BULK
    #: ``reject``: a bad row refuses the file; ``skip``: it fails, and the others are spoken.
    on_error: str = "reject"
    dry_run: bool = False
    #: Whether to pack the audio into an archive as soon as the bulk has succeeded.
    archive: bool = False
    webhook_url: str | None = None
    #: Whether the webhook also receives progress events.
    webhook_progress: bool = False
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created_at: float = dataclasses.field(default_factory=time.time)
    started_at: float | None = None
    settled_at: float | None = None
    #: What checking found: encoding, delimiter, columns, characters, estimates, the first errors, ...
    report: Mapping[str, Any] | None = None
    #: Rows that were looked at so far, and how often checking was begun.
    checked_rows: int = 0
    checks: int = 0
    #: What its key may, as it was when the file came.
    limits: Mapping[str, Any] | None = None
    #: Whether its characters are in the key's usage; None if not.
    chars_counted: bool | None = None
    #: Why the file was refused.
    error_code: str | None = None
    error_detail: str | None = None
    rows: int = 0
    #: Rows to be spoken: those that checking found no fault with.
    chars: int = 0
    chunks: int = 0
    #: Uploaded voices that its rows speak with, by their ids.
    recordings: Sequence[str] = ()
    #: Whether rows are to be joined into one file per group.
    groups: bool = False
    #: The first chunk that no row of has entered a lane.
    next_chunk: int = 0
    #: Rows that have an outcome, and how many of each.
    settled: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    #: Of those that succeeded, how many had the audio of an equal job.
    cached: int = 0
    #: Rows that are in lanes or on a device.
    in_lanes: int = 0
    audio_s: float = 0.0
    device_s: float = 0.0
    #: Outcomes per second of late.
    rows_per_s: float | None = None
    #: How often its failed rows were tried again, and whether somebody just asked for that.
    retries: int = 0
    retry_wanted: bool = False
    #: The archive's parts in S3, as soon as it is there, and whether it is being made.
    archive_keys: Sequence[str] = ()
    archive_state: MakingState | None = None
    groups_state: MakingState | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return self.state in ENDED

    def canceled_rows(self) -> int:
        """Rows that were canceled, those that never entered a lane among them."""
        return self.rows - self.succeeded - self.failed if self.state == BulkState.CANCELED else self.canceled


def prefix(bulk_id: str) -> str:
    """Where everything of a bulk lies in S3."""
    return f"bulk/{bulk_id}/"


def source_key(bulk_id: str) -> str:
    """The file as it came."""
    return f"{prefix(bulk_id)}source"


def rows_key(bulk_id: str, chunk: int) -> str:
    """A chunk of checked rows: JSON Lines, gzip."""
    return f"{prefix(bulk_id)}rows/{chunk:06d}.jsonl.gz"


def results_key(bulk_id: str, chunk: int, kind: str) -> str:
    """A chunk of the manifest, ``kind`` ``jsonl`` or ``csv``."""
    return f"{prefix(bulk_id)}results/{chunk:06d}.{kind}"


def errors_key(bulk_id: str) -> str:
    """All errors that checking found, as CSV."""
    return f"{prefix(bulk_id)}errors.csv"


def groups_key(bulk_id: str) -> str:
    """The groups of rows that are to be joined: JSON Lines."""
    return f"{prefix(bulk_id)}groups.jsonl"


def joined_key(bulk_id: str) -> str:
    """What came of joining the groups: JSON Lines."""
    return f"{prefix(bulk_id)}joined.jsonl"


def archive_key(bulk_id: str, part: int) -> str:
    """A part of the archive, counted from 1."""
    return f"{prefix(bulk_id)}archive-{part:03d}.zip"


def group_key(bulk_id: str, name: str) -> str:
    """The joined audio of a group; ``name`` is safe and has the format's extension."""
    return f"{prefix(bulk_id)}groups/{name}"
