"""Waking: a device that works again tells the scheduler of its host, whose clocks may be low."""

from __future__ import annotations

from typing import Final

import redis

from stentor import log
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.redis import keys

_log = log.get(__name__)

#: A device that was idle for no longer than this had no low clocks, in seconds.
IDLE_S: Final = 1.0
#: What a scheduler that is not there leaves unread: as many words, and for so long in seconds.
KEPT, KEPT_S = 100, 60


def wakes(before: DeviceStatus, now: float) -> bool:
    """Whether a device that begins to work now was idle before, or has just got its model."""
    if before.state == DeviceState.BUSY:
        return False
    fresh = before.spoke_at is None or (before.loaded_at is not None and before.spoke_at < before.loaded_at)
    return fresh or now - before.state_at > IDLE_S


def tell(client: redis.Redis, device_id: str, machine: str) -> None:
    """Tell the scheduler of this machine; if that fails, its next tick sees it a second later."""
    key = keys.wakes(machine)
    try:
        pipe = client.pipeline(transaction=False)
        pipe.rpush(key, device_id)
        pipe.ltrim(key, -KEPT, -1)
        pipe.expire(key, KEPT_S)
        pipe.execute()
    except redis.RedisError as exc:
        _log.warning("wake_not_told", reason=str(exc))
