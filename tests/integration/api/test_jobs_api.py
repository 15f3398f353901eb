"""The jobs API against a real Redis and S3, with nobody who speaks."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from stentor.jobs.job import JobState, Outcome
from stentor.jobs.lanes import Lane
from stentor.jobs.store import JobStore
from stentor.owners.access import KeyStore
from stentor.redis import keys
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.speech.factories import TONE, a_job
from worker.claiming.claims import Claims

TEXT = "Your parcel arrives on Tuesday."


def refused(response: TestResponse, status: int, code: str) -> dict[str, object]:
    """The problem that the answer must be."""
    assert response.content_type == "application/problem+json", response.get_data(as_text=True)
    problem: dict[str, object] = json.loads(response.get_data())
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    return problem


def test_a_submitted_job_is_queued_in_the_lane_of_its_model_priority_and_length(
    http: FlaskClient, client: redis.Redis
) -> None:
    response = http.post("/v1/jobs", json={"text": TEXT, "priority": "interactive", "metadata": {"order": "17"}})
    assert response.status_code == 202
    job = response.get_json()
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["text_chars"] == 31
    assert job["voice"] == TONE
    assert job["seed"] == 0
    assert job["format"] == "wav"
    assert job["metadata"] == {"order": "17"}
    assert job["created_at"].endswith("Z")
    assert job["batch"] is None
    assert job["error"] is None
    assert http.get(response.headers["Location"]).get_json() == job
    assert client.xlen("stentor:lane:tone:interactive:2") == 1
    assert client.llen(keys.queue("synthesis")) == 1


def test_a_list_of_jobs_is_answered_in_the_order_given(http: FlaskClient) -> None:
    texts = [f"This is text number {number}." for number in range(100)]
    response = http.post("/v1/jobs", json={"jobs": [{"text": text, "seed": at} for at, text in enumerate(texts)]})
    assert response.status_code == 202
    assert [job["seed"] for job in response.get_json()["jobs"]] == list(range(100))


def test_many_submissions_leave_one_doorbell_per_device(http: FlaskClient, client: redis.Redis) -> None:
    for _ in range(5):
        assert http.post("/v1/jobs", json={"text": TEXT}).status_code == 202
    assert client.llen(keys.queue("synthesis")) == 1


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"text": ""}, "text_empty", "text"),
        ({"text": "   \n\t "}, "text_empty", "text"),
        ({"text": "🎉🎊"}, "text_unspeakable", "text"),
        ({"text": "a" * 1_000_000}, "text_too_long", "text"),
        ({"text": "nul \x00 byte"}, "text_invalid", "text"),
        ({"text": TEXT, "voice": "nobody"}, "voice_unknown", "voice"),
        ({"text": TEXT, "speed": 0}, "field_invalid", "speed"),
        ({"text": TEXT, "speed": 99}, "field_invalid", "speed"),
        ({"text": TEXT, "speed": "fast"}, "field_invalid", "speed"),
        ({"text": TEXT, "seed": -1}, "field_invalid", "seed"),
        ({"text": TEXT, "seed": 2**32}, "field_invalid", "seed"),
        ({"text": TEXT, "format": "aiff"}, "field_invalid", "format"),
        ({"text": TEXT, "sample_rate_hz": 96_000}, "field_invalid", "sample_rate_hz"),
        ({"text": TEXT, "priority": "asap"}, "field_invalid", "priority"),
        ({"text": TEXT, "metadata": {"a": 1}}, "field_invalid", "metadata.a"),
        ({"text": TEXT, "voise": TONE}, "field_invalid", "voise"),
        ({"text": 7}, "field_invalid", "text"),
        ({"text": None}, "field_invalid", "text"),
        ({}, "field_invalid", "text"),
        ({"jobs": []}, "field_invalid", "jobs"),
        ({"jobs": [{"text": TEXT}, {"text": ""}]}, "text_empty", "jobs.1.text"),
        ({"jobs": [{"text": TEXT}, {"txt": TEXT}]}, "field_invalid", "jobs.1.text"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(
    http: FlaskClient, client: redis.Redis, body: dict[str, object], code: str, field: str
) -> None:
    before = set(client.keys("*"))
    problem = refused(http.post("/v1/jobs", json=body), 422, code)
    assert problem["errors"][0]["field"] == field  # type: ignore[index]
    assert problem["retryable"] is False
    assert set(client.keys("*")) == before


def test_a_lone_surrogate_is_named(http: FlaskClient) -> None:
    body = b'{"text": "lone \\ud800 surrogate"}'
    refused(http.post("/v1/jobs", data=body, content_type="application/json"), 422, "text_invalid")
    body = b'{"text": "hello", "metadata": {"\\udfff": "x"}}'
    refused(http.post("/v1/jobs", data=body, content_type="application/json"), 422, "text_invalid")


def test_too_many_jobs_are_refused_with_both_numbers(http: FlaskClient) -> None:
    problem = refused(http.post("/v1/jobs", json={"jobs": [{"text": TEXT}] * 1001}), 422, "too_many_jobs")
    assert problem["detail"] == "The request has 1001 jobs. At most 1000 are allowed."


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'{"text": "hel', "application/json", 400, "json_invalid"),
        (b'{"text": "\xff"}', "application/json", 400, "json_invalid"),
        (b"[" * 100_000, "application/json", 400, "json_invalid"),
        (b"", "application/json", 400, "json_invalid"),
        (b'["hello"]', "application/json", 422, "field_invalid"),
        (b'"{\\"text\\": \\"hello\\"}"', "application/json", 422, "field_invalid"),
        (b"null", "application/json", 422, "field_invalid"),
        (b'{"text": "hello"}', "text/plain", 415, "content_type_unsupported"),
        (b"text=hello", "application/x-www-form-urlencoded", 415, "content_type_unsupported"),
        (b'{"text": "hello", "speed": NaN}', "application/json", 422, "field_invalid"),
        (b'{"text": "' + b"x" * 17_000_000 + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_named(
    http: FlaskClient, body: bytes, content_type: str, status: int, code: str
) -> None:
    refused(http.post("/v1/jobs", data=body, content_type=content_type), status, code)


def test_a_request_without_a_key_or_with_a_wrong_one_is_refused(http: FlaskClient) -> None:
    http.environ_base["HTTP_AUTHORIZATION"] = ""
    response = http.post("/v1/jobs", json={"text": TEXT})
    refused(response, 401, "key_missing")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    for wrong in ("Bearer stk_wrong", "Bearer caf\u00e9", "Bearer  ", "Basic dXNlcjpwYXNz"):
        http.environ_base["HTTP_AUTHORIZATION"] = wrong
        assert http.get("/v1/jobs").status_code == 401


def test_a_key_is_not_stored(http: FlaskClient, client: redis.Redis, api_key: str) -> None:
    assert api_key not in str(client.hgetall(keys.API_KEYS))


def test_a_revoked_key_is_refused(http: FlaskClient, client: redis.Redis) -> None:
    store = KeyStore(client)
    (key,) = store.list()
    assert store.revoke(key.id)
    refused(http.get("/v1/jobs"), 401, "key_invalid")


def test_another_owners_job_is_not_found(http: FlaskClient, client: redis.Redis) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    http.environ_base["HTTP_AUTHORIZATION"] = "Bearer " + KeyStore(client).create(owner="other", name="theirs")
    for response in (
        http.get(f"/v1/jobs/{job['id']}"),
        http.get(f"/v1/jobs/{job['id']}/audio"),
        http.delete(f"/v1/jobs/{job['id']}"),
    ):
        refused(response, 404, "job_not_found")
    assert http.get("/v1/jobs").get_json()["jobs"] == []


def test_jobs_are_listed_newest_first_in_pages_and_by_state(http: FlaskClient, client: redis.Redis) -> None:
    made = []
    for number in range(7):
        made.append(http.post("/v1/jobs", json={"text": f"text {number}"}).get_json()["id"])
        time.sleep(0.002)  # ids sort by the millisecond they were made in
    http.delete(f"/v1/jobs/{made[3]}")
    seen: list[str] = []
    query = "limit=3"
    while query:
        page = http.get(f"/v1/jobs?{query}").get_json()
        seen += [job["id"] for job in page["jobs"]]
        query = f"limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == made[::-1]
    assert [job["id"] for job in http.get("/v1/jobs?state=canceled").get_json()["jobs"]] == [made[3]]
    refused(http.get("/v1/jobs?cursor=nonsense"), 422, "field_invalid")
    refused(http.get("/v1/jobs?limit=0"), 422, "field_invalid")
    refused(http.get("/v1/jobs?sort=up"), 422, "field_invalid")


def test_queued_and_running_jobs_are_told_apart_though_they_share_an_index(
    http: FlaskClient, client: redis.Redis, settings: Settings
) -> None:
    ids = [job["id"] for job in http.post("/v1/jobs", json={"jobs": [{"text": TEXT}] * 9}).get_json()["jobs"]]
    claims = Claims(client, settings, "testhost/cpu")
    claimed = claims.claim(Lane.of(model=TONE, priority="standard", text_chars=len(TEXT)), 4)
    running = sorted(claim.job.id for claim in claimed)

    def listed(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = http.get(f"/v1/jobs?{query}&limit=2{cursor}").get_json()
            assert len(page["jobs"]) <= 2
            found += [job["id"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                return sorted(found)
            cursor = f"&cursor={page['next_cursor']}"

    assert listed("state=running") == running
    assert listed("state=queued") == sorted(set(ids) - set(running))
    assert listed("") == sorted(ids)
    claims.give_back(claimed[:2])
    assert claims.settle(claimed[2], Outcome(state=JobState.SUCCEEDED, fields={"audio_s": 1.0}))
    http.delete(f"/v1/jobs/{claimed[3].job.id}")
    assert listed("state=running") == []
    assert len(listed("state=queued")) == 7
    assert listed("state=succeeded") == [claimed[2].job.id]
    assert listed("state=canceled") == [claimed[3].job.id]


def test_an_expired_job_leaves_the_list(http: FlaskClient, client: redis.Redis) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    client.delete(keys.job(job["id"]))
    assert http.get("/v1/jobs").get_json() == {"jobs": [], "next_cursor": None}
    assert client.zcard("stentor:jobs:acme:open") == 0


def test_a_queued_job_is_canceled_once_and_leaves_its_lane(http: FlaskClient, client: redis.Redis) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    canceled = http.delete(f"/v1/jobs/{job['id']}")
    assert (canceled.status_code, canceled.get_json()["state"]) == (200, "canceled")
    assert client.xlen("stentor:lane:tone:standard:2") == 0
    problem = refused(http.delete(f"/v1/jobs/{job['id']}"), 409, "job_settled")
    assert problem["detail"] == "the job is canceled; only a queued or running job can be canceled"
    refused(http.get(f"/v1/jobs/{job['id']}/audio"), 404, "audio_not_found")


def test_a_running_job_is_canceled_and_its_delivery_becomes_void(
    http: FlaskClient, client: redis.Redis, settings: Settings
) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    claims = Claims(client, settings, "testhost/cpu")
    (claim,) = claims.claim(Lane.of(model=TONE, priority="standard", text_chars=len(TEXT)), 5)
    assert http.get(f"/v1/jobs/{job['id']}").get_json()["state"] == "running"
    assert http.delete(f"/v1/jobs/{job['id']}").get_json()["state"] == "canceled"
    assert not claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields={"audio_s": 1.0}))
    assert http.get(f"/v1/jobs/{job['id']}").get_json()["state"] == "canceled"


def test_audio_is_a_redirect_or_the_bytes(
    http: FlaskClient, client: redis.Redis, settings: Settings, storage: Storage
) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    refused(http.get(f"/v1/jobs/{job['id']}/audio"), 409, "audio_not_ready")
    claims = Claims(client, settings, "testhost/cpu")
    (claim,) = claims.claim(Lane.of(model=TONE, priority="standard", text_chars=len(TEXT)), 5)
    storage.put("audio/x.wav", b"RIFF....", content_type="audio/wav")
    fields = {"audio_key": "audio/x.wav", "audio_s": 1.5, "audio_bytes": 8, "sha256": "ab" * 32}
    assert claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields=fields))

    inline = http.get(f"/v1/jobs/{job['id']}/audio?inline=1")
    assert (inline.status_code, inline.get_data(), inline.content_type) == (200, b"RIFF....", "audio/wav")
    redirect = http.get(f"/v1/jobs/{job['id']}/audio")
    assert redirect.status_code == 302
    shown = http.get(f"/v1/jobs/{job['id']}").get_json()
    assert shown["audio_s"] == 1.5
    assert shown["audio_url"].startswith(settings.s3_endpoint)
    storage.delete("audio/x.wav")
    refused(http.get(f"/v1/jobs/{job['id']}/audio?inline=1"), 404, "audio_not_found")


def test_wait_ends_with_the_outcome_and_not_with_the_time(
    http: FlaskClient, client: redis.Redis, settings: Settings
) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    claims = Claims(client, settings, "testhost/cpu")
    (claim,) = claims.claim(Lane.of(model=TONE, priority="standard", text_chars=len(TEXT)), 5)
    settle = threading.Timer(
        0.5, lambda: claims.settle(claim, Outcome(state=JobState.FAILED, fields={"error_code": "engine_failed"}))
    )
    settle.start()
    started = time.monotonic()
    answer = http.get(f"/v1/jobs/{job['id']}?wait=30").get_json()
    took_s = time.monotonic() - started
    settle.join()
    assert answer["state"] == "failed"
    assert answer["error"] == {"code": "engine_failed", "detail": "", "retryable": False}
    assert 0.4 < took_s < 4  # the listener's own look would come after 5


def test_wait_ends_with_the_time_when_nothing_happens(http: FlaskClient) -> None:
    job = http.post("/v1/jobs", json={"text": TEXT}).get_json()
    assert http.get(f"/v1/jobs/{job['id']}?wait=0.2").get_json()["state"] == "queued"


def test_a_submission_that_is_sent_twice_adds_nothing(client: redis.Redis) -> None:
    store = JobStore(client, retention_s=60)
    jobs = [a_job(), a_job()]
    store.submit(jobs)
    store.submit(jobs)
    assert client.xlen(jobs[0].lane) == 2


def test_without_any_voice_a_submission_is_refused_for_now(http: FlaskClient, client: redis.Redis) -> None:
    client.delete(keys.VOICES)
    response = http.post("/v1/jobs", json={"text": TEXT})
    refused(response, 503, "voices_unknown")
    assert response.headers["Retry-After"] == "5"


def test_unknown_paths_and_methods_are_problems(http: FlaskClient) -> None:
    refused(http.get("/v2/jobs"), 404, "path_unknown")
    response = http.patch("/v1/jobs", json={})
    refused(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_readyz_says_what_is_missing(http: FlaskClient) -> None:
    response = http.get("/readyz")
    assert response.status_code == 503
    checks = response.get_json()["checks"]
    assert {name: check["ok"] for name, check in checks.items()} == {"redis": True, "storage": True, "device": False}
    assert http.get("/healthz").get_json() == {"status": "ok"}


def test_the_description_and_its_page_are_served(http: FlaskClient) -> None:
    described = http.get("/openapi.json").get_json()
    assert described["openapi"] == "3.1.0"
    rules = [re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", rule.rule) for rule in http.application.url_map.iter_rules()]
    assert sorted(described["paths"]) == sorted(
        {rule for rule in rules if rule.startswith(("/v1/", "/healthz", "/readyz"))}
    )
    assert {"/v1/jobs/{job_id}", "/v1/usage", "/readyz"} <= set(described["paths"])
    page = http.get("/docs", follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert "http" not in page.get_data(as_text=True)
