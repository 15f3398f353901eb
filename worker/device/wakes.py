"""Wakes: a device that works again reports this to the scheduler of its host, whose clocks may be low."""

from __future__ import annotations

from typing import Final

import redis

from stentor import log
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.redis import keys

_log = log.get(__name__)

#: A device that was idle for no longer than this has normal clocks, in seconds.
IDLE_S: Final = 1.0
#: Maximum number of wakes that are kept while no scheduler reads them, and their lifetime in seconds.
KEPT, KEPT_S = 100, 60


def wakes(before: DeviceStatus, now: float) -> bool:
    """Whether a device that begins to work now was idle before, or has just loaded its model."""
    if before.state == DeviceState.BUSY:
        return False
    fresh = before.spoke_at is None or (before.loaded_at is not None and before.spoke_at < before.loaded_at)
    return fresh or now - before.state_at > IDLE_S


def report_wake(client: redis.Redis, device_id: str, machine: str) -> None:
    """Report the wake to the scheduler of this machine; if that fails, its next tick sees it a second later."""
    key = keys.wakes(machine)
    try:
        pipe = client.pipeline(transaction=False)
        pipe.rpush(key, device_id)
        pipe.ltrim(key, -KEPT, -1)
        pipe.expire(key, KEPT_S)
        pipe.execute()
    except redis.RedisError as exc:
        _log.warning("wake_not_told", reason=str(exc))
