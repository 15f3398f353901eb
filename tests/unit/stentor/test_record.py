"""Records in Redis: what is written is read again, by this release and by its neighbours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stentor.devices.registry import DeviceStatus
from stentor.jobs.job import Job
from stentor.redis.record import from_fields, from_json, to_fields, to_json
from tests.support.speech.factories import a_job

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    texts,
    st.floats(0.25, 4),
    st.integers(0, 2**32 - 1),
    st.dictionaries(texts, texts, max_size=4),
    st.none() | st.booleans(),
    st.none() | st.floats(0, 1e9),
)
def test_a_job_survives_its_hash(
    text: str, speed: float, seed: int, metadata: dict[str, str], retryable: bool | None, audio_s: float | None
) -> None:
    job = a_job(
        text, speed=speed, seed=seed, metadata=metadata, error_retryable=retryable, audio_s=audio_s, cached=True
    )
    assert from_fields(Job, to_fields(job)) == job


def test_a_text_that_looks_like_json_stays_a_text() -> None:
    assert from_fields(Job, to_fields(a_job("42"))).text == "42"
    assert from_fields(Job, to_fields(a_job("null"))).text == "null"


def test_absent_values_are_left_out_and_unknown_fields_passed_over() -> None:
    fields = to_fields(a_job())
    assert "audio_key" not in fields
    assert from_fields(Job, {**fields, "of_a_later_release": "1"}).state == "queued"


def test_a_device_survives_its_hash() -> None:
    status = DeviceStatus(
        id="host/cpu", pid=17, state="idle", models=("joe", "amy"), started_at=1.5, seen_at=2.5, batches=3
    )
    assert from_fields(DeviceStatus, to_fields(status)) == status


def a_device() -> DeviceStatus:
    return DeviceStatus(
        id="host/cpu", pid=17, state="idle", models=("joe", "ümläut"), started_at=1.5, seen_at=2.5,
        sizes=(1, 0, 2), sums={"joe": [1.0, 2.5]},
    )  # fmt: skip


def test_a_device_survives_its_json() -> None:
    assert from_json(DeviceStatus, to_json(a_device())) == a_device()


def test_what_a_later_release_says_more_is_passed_over_and_what_an_earlier_one_does_not_say_has_its_default() -> None:
    told = json.loads(to_json(a_device()))
    del told["sizes"]
    read = from_json(DeviceStatus, json.dumps({**told, "of_a_later_release": [1]}))
    assert (read.pid, read.sizes) == (17, (0, 0, 0, 0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize("text", ["", "[]", '{"id": "host/cpu"}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="DeviceStatus"):
        from_json(DeviceStatus, text)
