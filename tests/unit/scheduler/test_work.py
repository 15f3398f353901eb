"""Seconds of work: what devices are added and taken away by."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.metrics.work import seconds_of_work
from stentor.devices.registry import DeviceState, DeviceStatus
from stentor.jobs.lanes import Lane, LaneState

SUMS = (1.0,) * 11


def waiting(texts: int, model: str = "joe", priority: str = "bulk", length: int = 0) -> LaneState:
    return LaneState(lane=Lane(model=model, priority=priority, length=length), waiting=texts, oldest_at=1.0)


def device(*models: str, **fields: Any) -> DeviceStatus:
    filled = {"id": "a/cuda:0", "pid": 1, "state": DeviceState.IDLE, "started_at": 0.0, "seen_at": 0.0, **fields}
    return DeviceStatus(**filled, sums=dict.fromkeys(models, SUMS))


def test_what_waits_takes_its_audio_over_the_speed_of_a_device() -> None:
    # 15 texts of up to 16 characters, 15 characters a second: 16 s of audio, at 40 s of audio a second.
    assert seconds_of_work([waiting(15)], [device("joe", audio_s=400.0, busy_s=10.0)]) == {("joe", "bulk"): 0.4}


def test_length_classes_of_a_model_and_a_priority_are_added_up_and_no_others() -> None:
    lanes = [waiting(15), waiting(15, length=1), waiting(15, priority="interactive"), waiting(30, model="amy")]
    found = seconds_of_work(lanes, [device("joe", "amy", audio_s=10.0, busy_s=10.0)])
    assert found == {("joe", "bulk"): 16 + 24, ("joe", "interactive"): 16, ("amy", "bulk"): 32}


def test_two_devices_do_not_halve_the_work_as_it_is_counted_in_seconds_of_one() -> None:
    two = [device("joe", audio_s=100.0, busy_s=10.0), device("joe", id="a/cuda:1", audio_s=300.0, busy_s=10.0)]
    assert seconds_of_work([waiting(15)], two) == {("joe", "bulk"): pytest.approx(16 / 20)}


def test_without_any_device_what_waits_counts_as_spoken_in_real_time() -> None:
    assert seconds_of_work([waiting(15)], []) == {("joe", "bulk"): 16}
    assert seconds_of_work([waiting(15)], [device()]) == {("joe", "bulk"): 16}


def test_the_speed_of_devices_that_were_taken_away_is_remembered() -> None:
    gone = device("joe", state=DeviceState.GONE, audio_s=400.0, busy_s=10.0)
    assert seconds_of_work([waiting(15)], [gone, device(id="a/cuda:1")]) == {("joe", "bulk"): 0.4}


def test_a_models_own_speed_goes_before_that_of_others_and_theirs_before_none() -> None:
    fast, slow = device("joe", audio_s=400.0, busy_s=10.0), device("amy", id="a/cpu", audio_s=20.0, busy_s=10.0)
    found = seconds_of_work([waiting(15, model=model) for model in ("joe", "amy", "eva")], [fast, slow])
    assert found == {("joe", "bulk"): 0.4, ("amy", "bulk"): 8, ("eva", "bulk"): pytest.approx(16 / 21)}


def test_a_lane_in_which_nothing_waits_is_no_work() -> None:
    assert seconds_of_work([waiting(0)], []) == {}
