"""Rounds of sweeps for tests, at whatever time, and all that Redis has, to compare."""

from __future__ import annotations

import time
from typing import Any

import redis
from structlog.testing import capture_logs

from scheduler.leading import Leader
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from worker.sweeps.fence import Fence
from worker.sweeps.progress import Progress
from worker.sweeps.round import Round
from worker.sweeps.sweeping import sweep_all

#: What sweeps and leaders keep for themselves, and what is noted of lanes, which follows from them.
OWN = (keys.BACKLOG, keys.LEADER, keys.FENCE, keys.SWEEP_STATE, keys.SWEEP_ASKED, keys.SWEEP_LOCK, keys.OWNERS)


def a_round(
    client: redis.Redis,
    settings: Settings,
    *,
    later_s: float = 120.0,
    fence: Fence | None = None,
    storage: Storage | None = None,
) -> Round:
    """A round of a new leader, as if it were later; it leaves S3 alone without a ``storage``."""
    if storage is None:
        settings = settings.model_copy(update={"sweep_objects": "off"})
    if fence is None:
        client.delete(keys.LEADER)
        fence = Fence(client, Leader(client, "tests").token() or 0)
    return Round(
        client=client,
        storage=storage or Storage(settings),
        settings=settings,
        fence=fence,
        progress=Progress(client),
        now_s=time.time() + later_s,
    )


def swept(client: redis.Redis, settings: Settings, *, later_s: float = 120.0) -> None:
    """All sweeps, done once, and none of them failed."""
    with capture_logs() as events:
        sweep_all(a_round(client, settings, later_s=later_s), lambda: None)
    assert [event for event in events if event["event"] == "sweep_failed"] == []


def contents(client: redis.Redis) -> dict[str, Any]:
    """All that Redis has, but for what sweeps keep for themselves: by key its value, of lanes also who holds what."""
    return {str(key): _value(client, str(key)) for key in sorted(client.scan_iter()) if key not in OWN}


def _value(client: redis.Redis, key: str) -> Any:
    kind = client.type(key)
    if kind == "stream":
        groups: list[dict[str, Any]] = client.xinfo_groups(key)
        held = [client.xpending_range(key, group["name"], "-", "+", 1000) for group in groups]
        for one in (entry for entries in held for entry in entries):
            del one["time_since_delivered"]
        return client.xrange(key), held, [group["last-delivered-id"] for group in groups]
    if kind == "hash":
        return client.hgetall(key)
    if kind == "set":
        return client.smembers(key)
    if kind == "zset":
        return client.zrange(key, 0, -1, withscores=True)
    return client.lrange(key, 0, -1) if kind == "list" else client.get(key)
