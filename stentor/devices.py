"""Devices as the rest of the cluster sees them: what each reported last, and whether it is still there."""

from __future__ import annotations

import dataclasses
import time
from typing import Final

import redis

from stentor import keys
from stentor.errors import DeviceNotFound
from stentor.record import from_fields, to_items
from stentor.redis_client import redis_errors, text_list

STARTING: Final = "starting"
IDLE: Final = "idle"
BUSY: Final = "busy"
UNLOADED: Final = "unloaded"
FAILED: Final = "failed"
GONE: Final = "gone"
#: States in which a device takes work, now or after it has loaded a model.
LIVE: Final = frozenset({IDLE, BUSY, UNLOADED})


def device_id(host: str, device: str) -> str:
    """The device's id, which is also its name as a consumer of lanes: ``<host>/<device>``."""
    return f"{host}/{device}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceStatus:
    """What a device's process says about itself. Times are seconds since the epoch."""

    id: str
    pid: int
    state: str
    #: Models that could be loaded here.
    models: tuple[str, ...] = ()
    #: The resident model, if any.
    model: str | None = None
    started_at: float
    seen_at: float
    #: What went wrong, while ``state`` is ``failed``.
    error: str | None = None
    batches: int = 0
    #: Audio made by this process, in seconds.
    audio_s: float = 0.0
    #: Time spent in forward passes by this process, in seconds.
    busy_s: float = 0.0


class DeviceRegistry:
    """What devices reported.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis, *, lease_s: float) -> None:
        self._client = client
        self._lease_s = lease_s

    def report(self, status: DeviceStatus) -> None:
        """Write down what a device says."""
        key = keys.device(status.id)
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.delete(key)
            pipe.hset(key, items=to_items(status))
            pipe.sadd(keys.DEVICES, status.id)
            pipe.execute()

    def list(self) -> list[DeviceStatus]:
        """All devices that ever reported, by id; one that has been silent for a lease is ``gone``."""
        with redis_errors():
            ids = sorted(text_list(self._client.smembers(keys.DEVICES)))
            pipe = self._client.pipeline(transaction=False)
            for found in ids:
                pipe.hgetall(keys.device(found))
            reports = pipe.execute()
        return [self._status(fields) for fields in reports if fields]

    def get(self, wanted: str) -> DeviceStatus:
        """What this device reported.

        Raises:
            DeviceNotFound: no device of this id ever did.
        """
        for status in self.list():
            if status.id == wanted:
                return status
        raise DeviceNotFound(f"there is no device {wanted!r}")

    def _status(self, fields: dict[str, str]) -> DeviceStatus:
        status = from_fields(DeviceStatus, fields)
        silent = time.time() - status.seen_at > self._lease_s
        return dataclasses.replace(status, state=GONE) if silent else status
