"""Requests that are made to cost much, to break something, or to be understood in two ways."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import psutil
import pytest
import redis
from flask.testing import FlaskClient

from stentor.jobs.job import JobState, Outcome
from stentor.jobs.lanes import Lane
from stentor.settings import Settings
from stentor.storage.s3 import Storage
from tests.support.speech.factories import TONE
from worker.claiming.claims import Claims


def problem_of(http: FlaskClient, path: str, body: bytes, status: int) -> dict[str, Any]:
    response = http.post(path, data=body, content_type="application/json")
    problem: dict[str, Any] = json.loads(response.get_data())
    assert response.status_code == status, problem
    assert len(response.get_data()) < 100_000
    return problem


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/jobs", {"text": "hi", "voice": "\ud800"}, "voice"),
        ("/v1/jobs", {"text": "hi", "\udfff": "x"}, "\\udfff"),
        ("/v1/jobs", {"jobs": [{"text": "hi"}, {"text": "hi", "metadata": {"a": "\ud800"}}]}, "jobs.1.metadata.a"),
        ("/v1/audio/speech", {"model": "tts-1", "voice": "\ud800", "input": "hi"}, "voice"),
        ("/v1/audio/speech", {"model": "tts-1", "voice": {"id": "\ud800"}, "input": "hi"}, "voice.id"),
        ("/v1/bulks", {"source": "s3://a/\ud800"}, "source"),
        ("/v1/webhooks", {"url": "https://example.com/\ud800"}, "url"),
    ],
)
def test_a_lone_surrogate_is_refused_wherever_it_stands(
    http: FlaskClient, path: str, body: dict[str, Any], field: str
) -> None:
    problem = problem_of(http, path, json.dumps(body).encode(), 400 if path == "/v1/audio/speech" else 422)
    said = problem["error"]["message"] if "error" in problem else problem["detail"]
    assert said.startswith(f"{field}: The string has a lone surrogate")


def test_a_nul_is_refused_in_metadata(http: FlaskClient) -> None:
    problem = problem_of(http, "/v1/jobs", rb'{"text": "hi", "metadata": {"a": "b\u0000"}}', 422)
    assert problem["errors"][0]["field"] == "metadata.a"


def test_a_name_twice_in_an_object_is_refused(http: FlaskClient) -> None:
    problem = problem_of(http, "/v1/jobs", b'{"text": "Sell.", "text": "Buy."}', 422)
    assert "'text' occurs twice" in problem["detail"]


def measured(http: FlaskClient, body: bytes, status: int) -> dict[str, Any]:
    """The problem, which must come soon and without much memory."""
    process = psutil.Process()
    before, began = process.memory_info().rss, time.process_time()
    problem = problem_of(http, "/v1/jobs", body, status)
    assert time.process_time() - began < 2
    assert process.memory_info().rss - before < 100 * 2**20
    return problem


def test_a_million_empty_jobs_are_counted_and_not_checked(http: FlaskClient) -> None:
    problem = measured(http, b'{"jobs":[' + b"{}," * 999_999 + b"{}]}", 422)
    assert problem["code"] == "too_many_jobs"


def test_many_unknown_fields_are_refused_as_a_whole(http: FlaskClient) -> None:
    body = json.dumps({"text": "hi", **{f"field{number}": 1 for number in range(200_000)}}).encode()
    assert "more than 40000 fields" in measured(http, body, 422)["detail"]


def test_of_many_wrong_fields_the_first_hundred_are_named(http: FlaskClient) -> None:
    body = json.dumps({"jobs": [{f"field{number}": 1 for number in range(20)}] * 1000}).encode()
    problem = measured(http, body, 422)
    assert len(problem["errors"]) == 100
    assert problem["error_count"] == 21_000


def test_a_form_with_too_many_parts_names_the_limit_that_was_hit(http: FlaskClient) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="part"\r\n\r\nx\r\n'
    response = http.post("/v1/bulks", data=part * 10_000 + b"--x--\r\n", content_type="multipart/form-data; boundary=x")
    assert response.status_code == 413
    assert "At most 1000 parts" in response.get_json()["detail"]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_voice_is_not_named_like_a_folder(http: FlaskClient, name: str) -> None:
    fields = {
        "name": name,
        "language": "en",
        "consent": "Jane Roe agrees to this.",
        "audio": (io.BytesIO(b"RIFF"), "a.wav"),
    }
    response = http.post("/v1/voices", data=fields, content_type="multipart/form-data")
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["field"] == "name"


@pytest.mark.parametrize("host", ['a"><script>', "a b", "a/b", "@", "a:b"])
def test_a_host_that_is_none_is_refused(http: FlaskClient, host: str) -> None:
    response = http.get("/v1/jobs", headers={"Host": host})
    assert response.status_code == 400
    assert response.get_json()["code"] == "host_invalid"


@pytest.mark.parametrize("host", ["api", "api.example.com:8080", "127.0.0.1", "[::1]:8080"])
def test_names_and_addresses_are_hosts(http: FlaskClient, host: str) -> None:
    assert http.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/nothing", "/healthz", "/openapi.json", "/v1/webhooks/secret"])
def test_no_answer_is_stored_or_taken_for_another_type(http: FlaskClient, path: str) -> None:
    headers = http.get(path).headers
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_audio_is_private_and_comes_in_ranges_and_only_if_it_changed(
    http: FlaskClient, client: redis.Redis, settings: Settings, storage: Storage
) -> None:
    job_id = http.post("/v1/jobs", json={"text": "hi"}).get_json()["id"]
    claims = Claims(client, settings, "testhost/cpu")
    (claim,) = claims.claim(Lane.of(model=TONE, priority="standard", text_chars=2), 1)
    storage.put("audio/a.wav", b"0123456789", content_type="audio/wav")
    fields = {"audio_key": "audio/a.wav", "audio_s": 1.5, "audio_bytes": 10, "sha256": "ab" * 32}
    assert claims.settle(claim, Outcome(state=JobState.SUCCEEDED, fields=fields))
    path = f"/v1/jobs/{job_id}/audio?inline=1"
    whole = http.get(path)
    assert (whole.get_data(), whole.headers["Cache-Control"]) == (b"0123456789", "private, no-cache")
    part = http.get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.get_data(), part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert http.get(path, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
