"""Devices as the API shows them: their reports, overrides, and what the policy wants."""

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


def describe_devices(statuses: Sequence[DeviceStatus]) -> list[DeviceOut]:
    """The devices in HTTP form, in the same order.

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
            want=_parse_wish(wants.get(status.id)),
            clocks=clocks.get(status.id),
        )
        for status in statuses
    ]


def _parse_wish(raw: str | None) -> dict[str, Any]:
    """What a scheduler wrote; empty without a scheduler, or if another release wrote it in another form."""
    with contextlib.suppress(ValueError):
        wish = json.loads(raw or "")
        if isinstance(wish, dict):
            return wish
    return {}
