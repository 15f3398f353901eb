"""Devices that have vanished: after a day their records and orders are removed."""

from __future__ import annotations

from stentor import log
from stentor.days import DAY_S
from stentor.doorbell import device_queue
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_list
from worker.sweeps.round import Round

_log = log.get(__name__)


def sweep_devices(sweep: Round) -> None:
    """Forget devices that were not heard of for a day. One that comes back is known again with its first report.

    Raises:
        SweepOvertaken: a later leader has come.
        RedisUnavailable: Redis does not answer.
    """
    since_s = sweep.now_s - DAY_S
    with redis_errors():
        ids = sorted(text_list(sweep.client.smembers(keys.DEVICES)))
        pipe = sweep.client.pipeline(transaction=False)
        for device_id in ids:
            pipe.hget(keys.device(device_id), "seen_at")
        seen_at = pipe.execute()
    for device_id, seen_s in zip(ids, seen_at, strict=True):
        if float(seen_s or 0) <= since_s and _forget(sweep, device_id, since_s):
            _log.info("device_forgotten", device=device_id)


def _forget(sweep: Round, device_id: str, since_s: float) -> bool:
    places = (keys.DEVICES, keys.device(device_id), keys.OVERRIDDEN)
    others = (
        keys.wanted_residency(device_id),
        keys.override(device_id),
        keys.last_order(device_id),
        keys.budgets(device_id),
        keys.queue(device_queue(device_id)),
    )
    return bool(sweep.fence.run("sweeps/device", places, device_id, since_s, *others))
