"""What webhooks tell: thin, whole, the same at every rendering."""

from __future__ import annotations

import json
from typing import Any

from stentor.bulks.bulk import Bulk
from stentor.jobs.job import Job
from stentor.redis.record import to_fields
from stentor.webhooks.webhook import Event
from tests.support.speech.factories import a_job
from worker.webhooks.payloads import Message, message

NOW = 1_795_000_000.25


def told(record: Job | Bulk, kind: str, *, owner: str = "acme", public_url: str | None = None) -> Message | None:
    event = Event(entry="1-0", type=kind, id=record.id, owner=owner)
    return message(event, to_fields(record), public_url=public_url, now=NOW)


def body(said: Message | None) -> dict[str, Any]:
    assert said is not None
    read: dict[str, Any] = json.loads(said.body)
    return read


def a_bulk(**fields: Any) -> Bulk:
    given = {"id": "bulk_1", "owner": "acme", "state": "succeeded", "name": "may.csv", "rows": 10, "succeeded": 7}
    return Bulk(**{**given, "failed": 2, "canceled": 1, "settled": 10, "settled_at": NOW, **fields})


def test_a_job_that_succeeded_is_told_without_its_text() -> None:
    job = a_job(
        "A secret text.",
        id="job_1",
        state="succeeded",
        settled_at=NOW,
        audio_s=1.5,
        audio_bytes=48_044,
        audio_key="audio/job_1.wav",
        sha256="ab",
        metadata={"order": "17"},
        webhook_url="https://hooks.example.com/",
    )
    said = told(job, "job.succeeded", public_url="https://speech.example.com/")
    assert body(said) == {
        "type": "job.succeeded",
        "timestamp": "2026-11-18T11:06:40.250Z",
        "data": {
            "id": "job_1",
            "state": "succeeded",
            "voice": "tone",
            "audio_s": 1.5,
            "audio_bytes": 48_044,
            "sha256": "ab",
            "cached": False,
            "metadata": {"order": "17"},
            "error": None,
            "url": "https://speech.example.com/v1/jobs/job_1",
        },
    }
    assert said is not None
    assert said.webhook_url == "https://hooks.example.com/"


def test_a_job_that_failed_is_told_with_its_error() -> None:
    job = a_job(
        id="job_1",
        state="failed",
        settled_at=NOW,
        error_code="engine_failed",
        error_detail="x" * 9000,
        error_retryable=False,
    )
    data = body(told(job, "job.failed"))["data"]
    assert data["error"] == {"code": "engine_failed", "detail": "x" * 1000, "retryable": False}
    assert data["url"] == "/v1/jobs/job_1"


def test_the_id_depends_on_the_outcome_and_on_nothing_else() -> None:
    job = a_job(id="job_1", state="failed", settled_at=NOW)
    first, again, other = told(job, "job.failed"), told(job, "job.failed"), told(job, "job.canceled")
    assert first is not None
    assert again == first
    assert first.id == "msg_37e28ba4c52ebbc908d48a4878"
    assert other is not None
    assert other.id != first.id


def test_a_body_is_never_20_kb_or_more() -> None:
    metadata = {f"{number:02d}": "🎉" * 512 for number in range(16)}
    said = told(a_job(id="job_1", state="succeeded", settled_at=NOW, metadata=metadata), "job.succeeded")
    data = body(said)["data"]
    assert said is not None
    assert len(said.body.encode()) < 20_000
    assert (data["metadata"], data["metadata_omitted"]) == ({}, True)


def test_what_has_no_outcome_is_not_told() -> None:
    assert told(a_job(), "job.succeeded") is None


def test_what_is_gone_or_anothers_is_not_told() -> None:
    event = Event(entry="1-0", type="job.succeeded", id="job_1", owner="acme")
    assert message(event, {}, public_url=None, now=NOW) is None
    assert told(a_job(state="succeeded", settled_at=NOW), "job.succeeded", owner="globex") is None


def test_the_end_of_a_bulk_is_told_with_its_counts() -> None:
    data = body(told(a_bulk(audio_s=12.5, metadata={"batch": "may"}), "bulk.completed"))["data"]
    assert data == {
        "id": "bulk_1",
        "state": "succeeded",
        "name": "may.csv",
        "counts": {"rows": 10, "succeeded": 7, "failed": 2, "canceled": 1},
        "audio_s": 12.5,
        "metadata": {"batch": "may"},
        "error": None,
        "url": "/v1/bulks/bulk_1",
    }


def test_a_bulk_that_was_tried_again_ends_a_second_time() -> None:
    first, second = told(a_bulk(), "bulk.completed"), told(a_bulk(settled_at=NOW + 60, retries=1), "bulk.completed")
    assert first is not None
    assert second is not None
    assert first.id != second.id


def test_progress_goes_to_the_bulks_address_only_if_it_was_asked_for() -> None:
    running = {"state": "running", "settled_at": None, "webhook_url": "https://hooks.example.com/"}
    silent, asked = (told(a_bulk(**running, webhook_progress=wanted), "bulk.progress") for wanted in (False, True))
    assert silent is not None
    assert asked is not None
    assert (silent.webhook_url, asked.webhook_url) == (None, "https://hooks.example.com/")
    assert body(asked)["timestamp"] == "2026-11-18T11:06:40.250Z"


def test_progress_of_a_bulk_that_has_ended_since_is_not_told() -> None:
    assert told(a_bulk(), "bulk.progress") is None


def test_two_reports_of_the_same_progress_are_one_event() -> None:
    running = {"state": "running", "settled_at": None}
    one, same, more = (told(a_bulk(**running, settled=settled), "bulk.progress") for settled in (5, 5, 6))
    assert one is not None
    assert same is not None
    assert more is not None
    assert one.id == same.id
    assert one.id != more.id


def test_a_ping_is_for_one_endpoint() -> None:
    event = Event(entry="7-0", type="webhook.ping", id="whe_1", owner="acme")
    said = message(event, {}, public_url=None, now=NOW)
    assert said is not None
    assert (said.endpoint, body(said)["data"]) == ("whe_1", {"id": "whe_1"})
