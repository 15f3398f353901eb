"""When a device that begins to work tells its scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from stentor.devices.registry import DeviceState, DeviceStatus
from worker.device.wakes import wakes


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ({"state": DeviceState.IDLE, "state_at": 100.0, "spoke_at": 100.0}, True),
        ({"state": DeviceState.IDLE, "state_at": 109.5, "spoke_at": 109.5}, False),
        ({"state": DeviceState.BUSY, "state_at": 100.0, "spoke_at": 100.0}, False),
        ({"state": DeviceState.UNLOADED, "state_at": 109.5}, True),
        ({"state": DeviceState.IDLE, "state_at": 109.5, "loaded_at": 109.5}, True),
        ({"state": DeviceState.IDLE, "state_at": 109.5, "loaded_at": 109.5, "spoke_at": 90.0}, True),
        ({"state": DeviceState.IDLE, "state_at": 109.5, "loaded_at": 90.0, "spoke_at": 109.5}, False),
    ],
)
def test_it_wakes_after_idling_and_after_a_load(before: dict[str, Any], answer: bool) -> None:
    status = DeviceStatus(id="h/cuda:0", pid=1, started_at=0.0, seen_at=0.0, **before)
    assert wakes(status, 110.0) is answer
