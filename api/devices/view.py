"""Devices as the API shows them: what each reported, and beside it what people and the policy want of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from api.devices.schemas import DeviceOut
from api.services import services
from stentor.devices.registry import DeviceStatus
from stentor.redis import keys
from stentor.redis.client import redis_errors, text_map


def shown(statuses: Sequence[DeviceStatus]) -> list[DeviceOut]:
    """These devices, in the same order.

    Raises:
        RedisUnavailable: Redis does not answer.
    """
    overrides = services().overrides.of(status.id for status in statuses)
    clocks = services().clocks.of({status.machine for status in statuses})
    with redis_errors():
        wants = text_map(services().client.hgetall(keys.WANTS))
    return [
        DeviceOut.of(
            status,
            override=overrides.get(status.id),
            want=_told(wants.get(status.id)),
            clocks=clocks.get(status.id),
        )
        for status in statuses
    ]


def _told(raw: str | None) -> dict[str, Any]:
    """What a scheduler wrote; nothing if it is none, or one of another release that says it in another way."""
    with contextlib.suppress(ValueError):
        told = json.loads(raw or "")
        if isinstance(told, dict):
            return told
    return {}
