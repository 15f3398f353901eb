"""How long one device would take to speak what waits. Autoscalers use it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from stentor.bulks.estimate import waiting_audio_s
from stentor.devices.registry import DeviceStatus
from stentor.jobs.lanes import LaneState

#: Seconds of audio that a device is assumed to make in a second while none has made any: the slowest useful speed.
#: So the work for a first device is never 0, and rather too large than too small.
ASSUMED_SPEED: Final = 1.0


def seconds_of_work(lanes: Iterable[LaneState], devices: Sequence[DeviceStatus]) -> dict[tuple[str, str], float]:
    """Model and priority -> estimated device seconds of the waiting texts; more than 0 wherever texts wait."""
    waiting: defaultdict[tuple[str, str], list[LaneState]] = defaultdict(list)
    for state in lanes:
        if state.waiting:
            waiting[state.lane.model, state.lane.priority].append(state)
    speeds = {model: speed_of(model, devices) for model, _ in waiting}
    return {at: waiting_audio_s(states) / speeds[at[0]] for at, states in waiting.items()}


def speed_of(model: str, devices: Sequence[DeviceStatus]) -> float:
    """Seconds of audio that a device makes of this model in a second of forward passes, on average over devices.

    Devices that are gone count, too: after all were removed, theirs is the only known speed. If no device has spoken
    this model, the speed of other models is used; without any speech, ``ASSUMED_SPEED``.
    """
    spoke = [device for device in devices if device.audio_s > 0 and device.busy_s > 0]
    chosen = [device for device in spoke if model in device.sums] or spoke
    if not chosen:
        return ASSUMED_SPEED
    return sum(device.audio_s for device in chosen) / sum(device.busy_s for device in chosen)
