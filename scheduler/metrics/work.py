"""How long one device would take to speak what waits: by this, devices are added and taken away. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from stentor.bulks.estimate import waiting_audio_s
from stentor.devices.registry import DeviceStatus
from stentor.jobs.lanes import LaneState

#: Seconds of audio that a device makes in a second, as long as no device has made any: the slowest that is of use.
#: So what waits for a first device is never nothing, and is told too large and not too small.
ASSUMED_SPEED: Final = 1.0


def seconds_of_work(lanes: Iterable[LaneState], devices: Sequence[DeviceStatus]) -> dict[tuple[str, str], float]:
    """Model and priority -> device seconds that its waiting texts take, about; more than 0 wherever something waits."""
    waiting: defaultdict[tuple[str, str], list[LaneState]] = defaultdict(list)
    for state in lanes:
        if state.waiting:
            waiting[state.lane.model, state.lane.priority].append(state)
    speeds = {model: speed_of(model, devices) for model, _ in waiting}
    return {at: waiting_audio_s(states) / speeds[at[0]] for at, states in waiting.items()}


def speed_of(model: str, devices: Sequence[DeviceStatus]) -> float:
    """Seconds of audio that a device makes of this model in a second of forward passes, on average over devices.

    Those that are gone count, too: after all devices were taken away theirs is the only speed that is known. Where no
    device has spoken the model, that of other models is taken; where none has spoken at all, ``ASSUMED_SPEED``.
    """
    spoke = [device for device in devices if device.audio_s > 0 and device.busy_s > 0]
    chosen = [device for device in spoke if model in device.sums] or spoke
    if not chosen:
        return ASSUMED_SPEED
    return sum(device.audio_s for device in chosen) / sum(device.busy_s for device in chosen)
