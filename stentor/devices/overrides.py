"""Overrides: a person's orders for a device, which take precedence over the policy until they end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Final

import redis

from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map
from stentor.redis.record import from_fields, to_items

#: The policy decides.
AUTO: Final = "auto"
RESIDENT: Final = "resident"
UNLOADED: Final = "unloaded"
LOW: Final = "low"
NORMAL: Final = "normal"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Override:
    """A person's orders for one device. Times are seconds since the epoch."""

    #: ``resident``: its model stays loaded, also in windows. ``unloaded``: it is unloaded when nothing waits for it.
    residency: str = AUTO
    #: ``low`` or ``normal``, also while a batch runs.
    clocks: str = AUTO
    #: The name of the API key that ordered it.
    by: str = ""
    at: float = 0.0
    #: When it ends by itself; None for never.
    expires_at: float | None = None

    @property
    def is_auto(self) -> bool:
        """Whether nothing is overridden."""
        return self.residency == AUTO and self.clocks == AUTO


NO_OVERRIDE: Final = Override()


class OverrideStore:
    """The overrides of all devices.

    Raises:
        RedisUnavailable: from every method, when Redis does not answer.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def of(self, device_ids: Iterable[str]) -> dict[str, Override]:
        """The overrides of these devices, by id, without devices that have none."""
        with redis_errors():
            overridden = self._client.smembers(keys.OVERRIDDEN)
            wanted = [device_id for device_id in device_ids if device_id in overridden]
            pipe = self._client.pipeline(transaction=False)
            for device_id in wanted:
                pipe.hgetall(keys.override(device_id))
            found = zip(wanted, pipe.execute(), strict=True)
        # An expired override stays in the set until the device gets another.
        return {device_id: from_fields(Override, text_map(fields)) for device_id, fields in found if fields}

    def put(
        self,
        device_id: str,
        *,
        residency: str | None = None,
        clocks: str | None = None,
        by: str,
        for_s: float | None = None,
    ) -> Override:
        """Change the override of a device; None changes nothing. ``for_s`` ends the whole override after that time.

        Without ``for_s``, an override of the other kind keeps its end, and the whole override ends with it.
        """
        now = time.time()
        before = self.of([device_id]).get(device_id, NO_OVERRIDE)
        other = before.clocks if clocks is None else before.residency if residency is None else AUTO
        ends = before.expires_at if other != AUTO else None
        wanted = Override(
            residency=residency or before.residency,
            clocks=clocks or before.clocks,
            by=by,
            at=now,
            expires_at=ends if for_s is None else now + for_s,
        )
        key = keys.override(device_id)
        with redis_errors():
            pipe = self._client.pipeline(transaction=True)
            pipe.delete(key)
            if wanted.is_auto:
                pipe.srem(keys.OVERRIDDEN, device_id)
            else:
                pipe.sadd(keys.OVERRIDDEN, device_id)
                pipe.hset(key, items=to_items(wanted))
                if wanted.expires_at is not None:
                    pipe.pexpire(key, max(1, round((wanted.expires_at - now) * 1000)))
            pipe.execute()
        return wanted
