"""Estimates: how long texts will be as speech, and when a bulk will be done. Pure; nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Iterable

from stentor.bulks.bulk import Bulk
from stentor.devices.registry import LIVE, DeviceStatus
from stentor.jobs.lanes import LaneState, class_chars
from stentor.speech import CHARS_PER_S


def audio_s(chars: int, speed: float = 1.0) -> float:
    """Estimated length of the audio of a text with this number of characters, in seconds."""
    return chars / CHARS_PER_S / speed


def waiting_audio_s(lanes: Iterable[LaneState]) -> float:
    """Seconds of audio that wait in lanes, each text taken for as long as its length class allows."""
    return sum(lane.waiting * audio_s(class_chars(lane.lane.length)) for lane in lanes)


def speed_of(devices: Iterable[DeviceStatus]) -> float | None:
    """Seconds of audio per second that the live devices make together when busy; None if none has made any."""
    rates = [
        device.audio_s / device.busy_s
        for device in devices
        if device.state in LIVE and device.busy_s > 0 and device.audio_s > 0
    ]
    return sum(rates) if rates else None


def left_audio_s(bulk: Bulk) -> float:
    """Seconds of audio of the rows that have no outcome and are in no lane, about."""
    left = max(0, bulk.rows - bulk.settled - max(0, bulk.in_lanes))
    return audio_s(bulk.chars) * left / bulk.rows if bulk.rows else 0.0


def left_s(
    bulk: Bulk, *, others: Iterable[Bulk], lanes: Iterable[LaneState], devices: Iterable[DeviceStatus]
) -> float | None:
    """Seconds until the bulk is done; None if nothing is known to tell by.

    By its own rate, where it has one. Else by what the devices have made so far: they speak what is in the lanes, the
    bulk's own rows, and of every other bulk as much as of this one, for bulks share the devices evenly.
    """
    if bulk.rows_per_s:
        return (bulk.rows - bulk.settled) / bulk.rows_per_s
    speed = speed_of(devices)
    if speed is None:
        return None
    own_s = left_audio_s(bulk)
    beside_s = sum(min(own_s, left_audio_s(other)) for other in others)
    return (waiting_audio_s(lanes) + own_s + beside_s) / speed
