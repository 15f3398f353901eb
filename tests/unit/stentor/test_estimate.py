"""Estimates, held against sums made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from stentor.bulks import estimate
from stentor.bulks.bulk import Bulk
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.jobs.lanes import Lane, LaneState


def a_bulk(**fields: Any) -> Bulk:
    return Bulk(**{"id": "bulk_1", "owner": "acme", "state": "running", **fields})


def a_device(**fields: Any) -> DeviceStatus:
    return DeviceStatus(
        **{"id": "h/cpu", "pid": 1, "state": DeviceState.BUSY, "started_at": 0.0, "seen_at": 0.0, **fields}
    )


def a_lane(length: int, waiting: int) -> LaneState:
    return LaneState(lane=Lane(model="joe", priority="bulk", length=length), waiting=waiting, oldest_at=0.0)


def test_fifteen_characters_are_a_second() -> None:
    assert estimate.audio_s(30) == 2.0
    assert estimate.audio_s(30, speed=2.0) == 1.0


def test_what_waits_counts_by_its_length_class() -> None:
    # Class 0 is up to 16 characters, class 2 up to 36.
    assert estimate.waiting_audio_s([a_lane(0, 30), a_lane(2, 5)]) == pytest.approx(32 + 12)


def test_the_speed_is_that_of_the_live_devices_that_have_spoken() -> None:
    devices = [
        a_device(audio_s=100.0, busy_s=10.0),
        a_device(audio_s=60.0, busy_s=20.0, state=DeviceState.UNLOADED),
        a_device(audio_s=900.0, busy_s=1.0, state=DeviceState.GONE),
        a_device(),
    ]
    assert estimate.speed_of(devices) == 13.0
    assert estimate.speed_of([a_device()]) is None


def test_rows_in_lanes_are_not_counted_twice() -> None:
    bulk = a_bulk(rows=100, chars=1500, settled=20, in_lanes=30)
    assert estimate.left_audio_s(bulk) == 50.0
    assert estimate.left_audio_s(a_bulk()) == 0.0


def test_a_bulk_with_a_rate_of_its_own_is_done_by_that() -> None:
    bulk = a_bulk(rows=100, chars=1500, settled=20, rows_per_s=4.0)
    assert estimate.left_s(bulk, others=[], lanes=[], devices=[]) == 20.0


def test_a_bulk_that_has_not_begun_is_done_after_the_lanes_itself_and_its_share_of_others() -> None:
    bulk = a_bulk(rows=100, chars=1500)
    larger, smaller = a_bulk(rows=1000, chars=150_000), a_bulk(rows=10, chars=300)
    left_s = estimate.left_s(
        bulk, others=[larger, smaller], lanes=[a_lane(0, 30)], devices=[a_device(audio_s=20.0, busy_s=10.0)]
    )
    # 32 s in lanes, 100 s of its own, 100 s of the larger one, 20 s of the smaller one; 2 s of audio a second.
    assert left_s == 126.0


def test_without_a_device_that_has_spoken_nobody_can_tell() -> None:
    assert estimate.left_s(a_bulk(rows=10, chars=10), others=[], lanes=[], devices=[]) is None
