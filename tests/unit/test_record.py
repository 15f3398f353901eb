"""Records in Redis: what is written is read again, by this release and by its neighbours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stentor.devices import DeviceStatus
from stentor.job import Job
from stentor.record import from_fields, to_fields
from tests.factories import a_job

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
