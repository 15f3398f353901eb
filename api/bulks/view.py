"""A bulk as clients see it: its record, and what the rest of the service says about when it will be done."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flask import request

from api.bulks.schemas import ArchiveOut, BulkOut, CountsOut, ManifestOut
from api.jobs.schemas import ErrorOut
from api.services import services
from stentor.bulks import estimate
from stentor.bulks.bulk import Bulk, BulkState, MakingState
from stentor.devices.registry import LIVE, DeviceStatus
from stentor.jobs.lanes import LaneState
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list

#: States in which a bulk uses devices, or waits for them.
_FEEDING = frozenset({BulkState.WAITING, BulkState.RUNNING})
#: Bulks that are looked at to tell when another will be done.
MOST_OTHERS = 100


def base_url() -> str:
    """Where clients reach the API, without a slash at the end."""
    return (services().settings.public_url or request.host_url).rstrip("/")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Around:
    """What else is active at one moment."""

    active: Sequence[Bulk]
    lanes: Sequence[LaneState]
    devices: Sequence[DeviceStatus]

    @classmethod
    def now(cls) -> Around:
        """As it is now.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        found = services()
        with redis_errors():
            ids = sorted(text_list(found.client.smembers(keys.ACTIVE_BULKS)))[:MOST_OTHERS]
        bulks = [bulk for bulk in map(found.bulks.glance, ids) if bulk is not None and bulk.state in _FEEDING]
        return cls(active=bulks, lanes=found.backlog.lanes(), devices=found.devices.list())

    def others(self, bulk: Bulk) -> list[Bulk]:
        """Other bulks that want the devices."""
        return [other for other in self.active if other.id != bulk.id]


def shown(bulk: Bulk, around: Around | None = None) -> dict[str, Any]:
    """The bulk as JSON."""
    around = around or Around.now()
    at, report = f"{base_url()}/v1/bulks/{bulk.id}", dict(bulk.report or {})
    eta_s = None
    # Of a dry run: when it would be done, had it been taken now.
    if bulk.state in _FEEDING or (bulk.dry_run and bulk.state == BulkState.SUCCEEDED):
        eta_s = estimate.left_s(bulk, others=around.others(bulk), lanes=around.lanes, devices=around.devices)
    error = None
    if bulk.error_code is not None:
        error = ErrorOut(code=bulk.error_code, detail=bulk.error_detail or "", retryable=False)
    checked = bulk.state != BulkState.CHECKING and bool(report or error)
    return BulkOut(
        id=bulk.id,
        name=bulk.name,
        state=bulk.state,
        dry_run=bulk.dry_run,
        priority=bulk.priority,
        defaults=dict(bulk.defaults),
        on_error=bulk.on_error,
        metadata=dict(bulk.metadata),
        created_at=datetime.fromtimestamp(bulk.created_at, UTC),
        started_at=_time(bulk.started_at),
        settled_at=_time(bulk.settled_at),
        counts=_counts(bulk),
        rows_per_s=bulk.rows_per_s if bulk.state == BulkState.RUNNING else None,
        audio_s=round(bulk.audio_s, 3),
        estimated_audio_s=_round(report.get("estimated_audio_s")),
        device_s=round(bulk.device_s, 3),
        eta_s=_round(eta_s),
        estimated_finish_at=None if eta_s is None else _time(time.time() + eta_s),
        waits_for=waits_for(bulk, others=len(around.others(bulk)), devices=around.devices),
        errors=report.pop("errors", None) or [],
        report=report or None,
        errors_url=f"{at}/errors.csv" if checked else None,
        manifest=ManifestOut(jsonl=f"{at}/manifest.jsonl", csv=f"{at}/manifest.csv") if _has_rows(bulk) else None,
        archive=_archive(bulk, at),
        groups=_groups(bulk),
        retries=bulk.retries,
        webhook_url=bulk.webhook_url,
        error=error,
    ).model_dump(mode="json")


def waits_for(bulk: Bulk, *, others: int, devices: Sequence[DeviceStatus]) -> str | None:
    """What has to come before the bulk goes on, in words; None if it goes on, or has ended."""
    if bulk.state == BulkState.CHECKING:
        return "a check of the file"
    if bulk.state == BulkState.PAUSED:
        return "resume"
    if bulk.state not in _FEEDING:
        return None
    if not any(device.state in LIVE for device in devices):
        return "a device"
    if bulk.state == BulkState.WAITING:
        return f"its turn among {others} other bulk{'s' if others > 1 else ''}" if others else "its turn"
    return None


def _counts(bulk: Bulk) -> CountsOut:
    running = 0 if bulk.ended else min(max(0, bulk.in_lanes), bulk.rows - bulk.settled)
    return CountsOut(
        rows=bulk.rows,
        queued=0 if bulk.ended else bulk.rows - bulk.settled - running,
        running=running,
        succeeded=bulk.succeeded,
        failed=bulk.failed,
        canceled=bulk.canceled_rows(),
        cached=bulk.cached,
    )


def _has_rows(bulk: Bulk) -> bool:
    """Whether rows of it can be looked at: not of a file that was refused, or only checked."""
    return bulk.chunks > 0 and not bulk.dry_run and bulk.error_code is None


def _archive(bulk: Bulk, at: str) -> ArchiveOut:
    ready = bulk.archive_state == MakingState.READY
    parts = range(1, len(bulk.archive_keys) + 1) if ready else ()
    state = bulk.archive_state or (MakingState.WAITING if bulk.archive and not bulk.dry_run else None)
    return ArchiveOut(state=state, urls=[f"{at}/archive.zip?part={part}" for part in parts])


def _groups(bulk: Bulk) -> MakingState | None:
    waits = bulk.groups and not bulk.dry_run and bulk.state not in {BulkState.CANCELED, BulkState.FAILED}
    return bulk.groups_state or (MakingState.WAITING if waits else None)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
